"""Recording never waits, keeps within its bounds, and tells no key."""

from __future__ import annotations

import errno
import logging
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import SecretStr

from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.options import RecordOptions
from llmgine.providers.recording import Interaction, Recorder, read_recording

KEY = "sk-secret-0123456789"
BODY = b'{"model":"m"}'


def recorder(folder: Path, **options: Any) -> Recorder:
    return Recorder("there", RecordOptions(folder=folder, **options), SecretStr(KEY))


def exchange(source: Recorder, session: str = "s", *, chunks: tuple[bytes, ...] = (b"a", b"bc")) -> None:
    tap = source.tap(session, f"http://h/v1?key={KEY}", {"X-Api-Key": KEY, "x-team": "blue"}, BODY)
    if tap is None:
        return
    tap.answered(200, {"Content-Type": "text/event-stream", "x-told": KEY})
    for chunk in chunks:
        tap.chunk(chunk)
    tap.ended(None)


def found(folder: Path) -> list[Interaction]:
    return [one for path in sorted(folder.glob("*.json")) for one in read_recording(path)]


def test_an_exchange_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Request, head, every piece and the session are there once the recorder is closed, for its owner."""
    source = recorder(tmp_path / "new" / "folder")
    exchange(source, "s/1")
    source.close()
    (path,) = (tmp_path / "new" / "folder").iterdir()
    (one,) = read_recording(path)
    assert (one.request, one.status, one.session, one.provider) == ({"model": "m"}, 200, "s/1", "there")
    assert one.pieces() == [b"a", b"bc"]
    assert one.request_headers == {"x-team": "blue"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (source.written, source.dropped) == (1, 0)


def test_no_key_is_in_the_file(tmp_path: Path) -> None:
    """The key is taken out of URL, headers, request, answer and error."""
    source = recorder(tmp_path)
    tap = source.tap("s", f"http://h/{KEY}", {}, f'{{"prompt": "{KEY}"}}'.encode())
    assert tap is not None
    tap.answered(400, {"x-told": KEY})
    tap.chunk(f"no {KEY[:5]}".encode())
    tap.chunk(KEY[5:].encode())
    tap.ended(ProviderError(f"bad {KEY}", kind=ErrorKind.TIMEOUT, phase=ErrorPhase.MID_STREAM))
    source.close()
    (path,) = tmp_path.iterdir()
    assert KEY not in path.read_text()


@pytest.mark.parametrize("key", ["s3cr3t", "model", "x"])
def test_a_short_key_is_hidden_too(tmp_path: Path, key: str) -> None:
    """Where it stands as a word it is taken out; parts of words and names of fields stay."""
    source = Recorder("there", RecordOptions(folder=tmp_path), SecretStr(key))
    said = f'{{"model": "m", "{key}": 1, "said": "my {key}, not {key}s", "told": "{key}"}}'.encode()
    tap = source.tap("s", "http://h/v1", {}, said)
    assert tap is not None
    tap.answered(401, {"x-told": f"<{key}>"})
    tap.chunk(f"wrong key {key}".encode())
    tap.ended(ProviderError(f"bad {key}", kind=ErrorKind.AUTHENTICATION))
    source.close()
    (kept,) = found(tmp_path)
    stars = "*" * len(key)
    assert kept.request == {"model": "m", key: 1, "said": f"my {stars}, not {key}s", "told": stars}
    assert (kept.headers["x-told"], kept.body) == ("<[key]>", f"wrong key {stars}".encode())
    assert kept.error is not None
    assert kept.error["message"] == "bad [key]"


def test_a_word_in_place_of_a_key_is_no_secret(tmp_path: Path) -> None:
    """What a server that needs no key is given for one is not cut out of what is said."""
    source = Recorder("there", RecordOptions(folder=tmp_path), SecretStr("none"))
    tap = source.tap("s", "http://h/v1", {}, b'{"tool_choice": "none"}')
    assert tap is not None
    tap.ended(None)
    source.close()
    assert found(tmp_path)[0].request == {"tool_choice": "none"}


def test_the_keys_of_a_provider_share_what_may_be_written(tmp_path: Path) -> None:
    """A second recorder of the same provider, for another key, goes on where the first has come to."""
    first = recorder(tmp_path, max_written_bytes=2500)
    for _ in range(10):
        exchange(first)
    first.close()
    assert first.dropped
    second = recorder(tmp_path, max_written_bytes=2500)
    exchange(second)
    second.close()
    assert (second.written, second.dropped) == (0, 1)


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    """Sessions and providers that are not listed are not recorded; without a folder nobody is."""
    source = recorder(tmp_path, sessions=("mine",))
    exchange(source, "mine")
    exchange(source, "yours")
    source.close()
    assert [one.session for one in found(tmp_path)] == ["mine"]
    assert source.dropped == 0
    assert Recorder.of("there", RecordOptions(), None) is None
    assert Recorder.of("there", RecordOptions(folder=tmp_path, providers=("other",)), None) is None
    assert Recorder.of("there", RecordOptions(folder=tmp_path, providers=("there",)), None) is not None


def test_a_slow_disk_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While nothing can be written, calls go on; what does not fit is counted and told at the end."""
    go_on = threading.Event()
    write = Recorder._write
    monkeypatch.setattr(Recorder, "_write", lambda self, one: go_on.wait(30) and write(self, one))
    source = recorder(tmp_path, max_queued_bytes=2000)
    for _ in range(20):
        exchange(source, chunks=(b"x" * 300,))
    exchange(source, chunks=(b"x" * 5000,))
    assert source.dropped > 15
    go_on.set()
    with caplog.at_level(logging.WARNING):
        source.close()
    assert source.written == len(found(tmp_path)) == 21 - source.dropped
    assert f"{source.dropped} exchanges of there were not recorded" in caplog.text


def test_a_full_folder_ends_recording(tmp_path: Path) -> None:
    """No more is written than the bound says; each file that is there is whole."""
    source = recorder(tmp_path, max_written_bytes=2500)
    for _ in range(10):
        exchange(source)
    source.close()
    files = list(tmp_path.iterdir())
    assert sum(path.stat().st_size for path in files) <= 2500
    assert 0 < len(files) == len(found(tmp_path)) == source.written == 10 - source.dropped


def test_a_stop_waits_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that hangs does not hang the stop."""
    go_on = threading.Event()
    monkeypatch.setattr(Recorder, "_write", lambda self, one: go_on.wait(30))
    source = recorder(tmp_path, close_timeout=0.01)
    exchange(source)
    source.close()
    source.close()
    assert "not all written" in caplog.text
    exchange(source)
    go_on.set()


def test_a_folder_that_takes_nothing_fails_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be written, each exchange is counted and the reason told once, other losses or not."""
    (tmp_path / "taken").write_text("a file")
    source = recorder(tmp_path / "taken", max_queued_bytes=2000)
    exchange(source, chunks=(b"x" * 5000,))
    for _ in range(3):
        exchange(source)
    source.close()
    assert (source.written, source.dropped) == (0, 4)
    assert caplog.text.count("providers.record.max_queued_bytes") == 1
    assert caplog.text.count("providers.record.folder") == 1


def test_a_full_disk_leaves_no_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What could not be written to its end is taken away."""
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Path, "replace", Mock(side_effect=full))
    source = recorder(tmp_path)
    exchange(source)
    source.close()
    assert not list(tmp_path.iterdir())
    assert (source.written, source.dropped) == (0, 1)
    assert "No space left on device" in caplog.text


def test_recorders_share_a_folder(tmp_path: Path) -> None:
    """Actors on several nodes, whose process ids may be the same, overwrite nothing of each other's."""
    folder = tmp_path / "shared"
    script = (
        "import os; os.getpid = lambda: 7\n"
        "from pathlib import Path\n"
        "from llmgine.providers.options import RecordOptions\n"
        "from llmgine.providers.recording import Recorder\n"
        f"source = Recorder('there', RecordOptions(folder=Path({str(folder)!r})), None, now=lambda: 1.0)\n"
        "source.tap('s', 'http://h', {}, b'{}').ended(None)\n"
        "source.close()\n"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script], check=True)
    assert len(found(folder)) == 2


def test_a_call_without_an_answer_is_kept(tmp_path: Path) -> None:
    """A server that was not reached is recorded as such."""
    source = recorder(tmp_path)
    tap = source.tap("", "http://h/v1", {}, BODY)
    assert tap is not None
    tap.ended(ProviderError("refused", kind=ErrorKind.CONNECTION, phase=ErrorPhase.CONNECT))
    source.close()
    (one,) = found(tmp_path)
    assert one.status is None
    assert one.error == {"kind": "connection", "phase": "connect", "message": "refused", "status": None}
