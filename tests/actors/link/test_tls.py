"""Encrypted links between nodes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from llmgine.actors.link import Identity, LinkError, SocketTransport, Stream, Tls, request

SECRET = b"s" * 32
US = Identity("client", "driver")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make(folder: Path, authority: str) -> Tls:
    """A certificate for the loopback address under an authority of that name."""
    folder.mkdir()
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1")
    new = ["-newkey", "rsa:2048", "-nodes"]
    openssl(folder, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", f"/CN={authority}")
    openssl(folder, "req", *new, "-keyout", "s.key", "-out", "s.csr", "-subj", "/CN=node")
    sign = ["x509", "-req", "-in", "s.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl(folder, *sign, "-out", "s.crt", "-extfile", "extensions")
    return Tls(folder / "s.crt", folder / "s.key", folder / "ca.crt")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], NoReturn]) -> tuple[Tls, Tls]:
    if shutil.which("openssl") is None:
        missing("openssl makes the certificates of this test")
    folder = tmp_path_factory.mktemp("tls")
    return make(folder / "ours", "ours"), make(folder / "theirs", "theirs")


async def hello(stream: Stream) -> None:
    await stream.send(b"x" * 300_000)


async def test_links_of_one_authority_work(folder: Path, files: tuple[Tls, Tls]) -> None:
    """Two nodes with certificates of one authority talk over TLS."""
    here = SocketTransport(SECRET, "here", folder, tcp_host="127.0.0.1", tls=files[0])
    there = SocketTransport(SECRET, "there", folder, tls=files[0])
    endpoint = await here.listen(Identity("server", "actor"), {"hello": hello})
    connection = await there.dial(endpoint.address, US)
    assert await request(connection, "hello", timeout=5) == b"x" * 300_000
    connection.close()
    await connection.wait_closed()
    await endpoint.close()


@pytest.mark.parametrize("other", ["none", "foreign"])
async def test_others_are_refused(folder: Path, files: tuple[Tls, Tls], other: str) -> None:
    """Without TLS, or with a certificate of another authority, dialling is a LinkError."""
    here = SocketTransport(SECRET, "here", folder, tcp_host="127.0.0.1", tls=files[0])
    there = SocketTransport(SECRET, "there", folder, tls=files[1] if other == "foreign" else None)
    endpoint = await here.listen(Identity("server", "actor"), {"hello": hello})
    with pytest.raises(LinkError):
        await there.dial(endpoint.address, US, timeout=5)
    assert not endpoint.connections
    await endpoint.close()


def test_missing_files_are_named(folder: Path) -> None:
    """A file that is not there is named at once, not at the first connection."""
    nowhere = folder / "nowhere.pem"
    with pytest.raises(LinkError, match=r"nowhere\.pem"):
        SocketTransport(SECRET, "here", folder, tls=Tls(nowhere, nowhere, nowhere))
