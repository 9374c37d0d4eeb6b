"""Keeps what a provider sends and gets, without ever holding up a call.

An exchange only appends to memory; a thread writes. What does not fit into `max_queued_bytes` or
`max_written_bytes` is counted as dropped, a whole exchange at a time. Each exchange is one file that is
put in its place when it is complete, so whatever ends the process, what stands there can be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from llmgine.providers.errors import ProviderError
from llmgine.providers.keys import KeyMask
from llmgine.providers.options import RecordOptions
from llmgine.providers.recording.interaction import Interaction
from llmgine.providers.recording.scrubbing import kept_headers, without_secrets
from llmgine.providers.recording.tap import Tap

log = logging.getLogger(__name__)

# Bytes that this process has written, for a provider into a folder: each of its keys has a recorder.
_written: Counter[tuple[str, Path]] = Counter()
_writing = threading.Lock()
_OVERHEAD = 128  # bytes that are counted for a chunk beside its own
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_REASON = 200


class Recorder:
    """Records the exchanges of one provider into `options.folder`."""

    def __init__(
        self,
        provider: str,
        options: RecordOptions,
        key: SecretStr | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        assert options.folder is not None
        self._provider = provider
        self._options = options
        self._folder = options.folder.expanduser()
        self._mask = KeyMask(key)
        self.clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Tape | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._queued_bytes = 0
        self._told: set[str] = set()
        self.written = 0
        self.dropped = 0

    @classmethod
    def of(cls, provider: str, options: RecordOptions, key: SecretStr | None) -> Recorder | None:
        """The recorder of a provider; None where the options do not ask for it."""
        wanted = options.folder is not None and (not options.providers or provider in options.providers)
        return cls(provider, options, key) if wanted else None

    def tap(self, session: str, url: str, headers: Mapping[str, str], body: bytes) -> Tap | None:
        """What sees one exchange; None where its session is not recorded, or there is no room."""
        if self._closed or (self._options.sessions and session not in self._options.sessions):
            return None
        tape = _Tape(self, session, url, headers, body, self._now())
        return tape if tape.take(len(body)) else None

    async def aclose(self) -> None:
        """Write what is queued, for no longer than `close_timeout`."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        self._queue.put(None)
        if thread is not None:
            thread.join(self._options.close_timeout)
        if thread is not None and thread.is_alive():
            log.warning("recordings of %s were not all written: the disk is too slow", self._provider)
        if self.dropped:
            log.warning("%d exchanges of %s were not recorded", self.dropped, self._provider)

    def take(self, size: int) -> bool:
        """Count bytes as queued; False where they do not fit."""
        with self._lock:
            if self._queued_bytes + size > self._options.max_queued_bytes:
                return False
            self._queued_bytes += size
            return True

    def lose(self, size: int, reason: str) -> None:
        """Give up an exchange of which so many bytes were queued; each reason is told once."""
        with self._lock:
            self._queued_bytes -= size
            self.dropped += 1
            told = reason in self._told
            self._told.add(reason)
        if not told:
            log.warning("an exchange of %s is not recorded: %s", self._provider, reason)

    def put(self, tape: _Tape) -> None:
        with self._lock:
            if self._closed:
                self.dropped += 1
                return
            if self._thread is None:
                name = f"record {self._provider}"
                self._thread = threading.Thread(target=self._write_all, name=name, daemon=True)
                self._thread.start()
            self._queue.put(tape)

    def _write_all(self) -> None:
        while (tape := self._queue.get()) is not None:
            try:
                self._write(tape.interaction(self._provider, self._mask))
            except OSError as error:  # a full disk, or no leave to write: the calls go on
                reason = error.strerror or type(error).__name__
                self.lose(tape.size, f"{self._folder}, which is providers.record.folder: {reason}")
            except _Full as error:
                self.lose(tape.size, str(error))
            except Exception as error:
                self.lose(tape.size, f"{type(error).__name__}: {error}"[:_LONGEST_REASON])
            else:
                with self._lock:
                    self._queued_bytes -= tape.size

    def _write(self, interaction: Interaction) -> None:
        content = {"source": "llmgine", "interactions": [interaction.to_json()]}
        data = json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
        with _writing:
            if _written[self._provider, self._folder] + len(data) > self._options.max_written_bytes:
                raise _Full("what may be written has been: raise providers.record.max_written_bytes")
            _written[self._provider, self._folder] += len(data)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(interaction.time))
        session = _UNFIT.sub("_", interaction.session)[:64] or "no-session"
        # Actors on other nodes may write into the same folder, and their process ids are no names there.
        name = f"{stamp}-{self._provider}-{session}-{uuid.uuid4().hex[:16]}.json"
        _put_in_place(self._folder / name, data)
        self.written += 1


class _Full(Exception):
    """The recorder has written all that it may."""


class _Tape:
    """One exchange while it goes on."""

    def __init__(
        self,
        recorder: Recorder,
        session: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        now: float,
    ) -> None:
        self._recorder = recorder
        self._session = session
        self._url = url
        self._request_headers = headers
        self._body = body
        self._time = now
        self._begun = recorder.clock()
        self._status: int | None = None
        self._headers: Mapping[str, str] = {}
        self._chunks: list[tuple[float, bytes]] = []
        self._error: dict[str, Any] | None = None
        self._void = False
        self.size = 0

    def take(self, size: int) -> bool:
        """Make room for bytes; where there is none this exchange is not recorded."""
        if not self._void and self._recorder.take(size + _OVERHEAD):
            self.size += size + _OVERHEAD
        elif not self._void:
            self._void = True
            self._chunks.clear()
            self._recorder.lose(
                self.size, "too much waits to be written: raise providers.record.max_queued_bytes"
            )
        return not self._void

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = dict(headers)

    def chunk(self, data: bytes) -> None:
        if self.take(len(data)):
            self._chunks.append((self._recorder.clock() - self._begun, data))

    def ended(self, error: ProviderError | None) -> None:
        if self._void:
            return
        if error is not None:
            self._error = {
                "kind": error.kind.value,
                "phase": error.phase.value,
                "message": error.message,
                "status": error.status,
            }
        self._recorder.put(self)

    def interaction(self, provider: str, mask: KeyMask) -> Interaction:
        """What is written of it, with the key nowhere in it."""
        return Interaction(
            url=mask.text(self._url),
            request=without_secrets(json.loads(mask.body(self._body))),
            status=self._status,
            headers=kept_headers(self._headers, mask),
            body=mask.body(b"".join(data for _, data in self._chunks)),
            chunks=tuple((at, len(data)) for at, data in self._chunks),
            error=self._error and {**self._error, "message": mask.text(self._error["message"])},
            time=self._time,
            provider=provider,
            session=self._session,
            request_headers=kept_headers(self._request_headers, mask),
        )


def _put_in_place(path: Path, data: bytes) -> None:
    """A file that only its owner reads, whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
