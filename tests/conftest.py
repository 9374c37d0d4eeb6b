"""What holds for the whole suite: no network, an explicit Ray, and who may skip."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NoReturn

# Ray reads both when it is imported, and so do the processes that tests start.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import pytest

_attempts: list[str] = []


def _is_outside(address: Any) -> bool:
    if not isinstance(address, tuple) or not address:
        return False
    host = str(address[0])
    if host in ("", "localhost"):
        return False
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return not (ip.is_loopback or ip.is_unspecified or host in _own_addresses())


def _own_addresses() -> set[str]:
    """This machine's own addresses: Ray's processes reach each other over them."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, proto=socket.IPPROTO_TCP)
    except OSError:
        return set()
    return {str(entry[4][0]) for entry in found}


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    # A UDP "connect" sends nothing; it is how libraries ask for this machine's own address.
    if event != "socket.connect" or arguments[0].type == socket.SOCK_DGRAM or not _is_outside(arguments[1]):
        return
    _attempts.append(str(arguments[1]))
    raise OSError(f"tests use no network: connect to {arguments[1]} refused")


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def no_network() -> Any:
    """A test that tries to reach another machine fails, also where the code under test hides the error."""
    _attempts.clear()
    yield
    attempts, _attempts[:] = list(_attempts), []
    assert not attempts, f"the test tried to reach {', '.join(attempts)}"


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI this must be there", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Called with a reason where a test lacks something: skips at home, fails in CI."""
    return _missing


@pytest.fixture(scope="session")
def weights() -> None:
    """The local model is installed."""
    from llmgine.providers.errors import ModelNotInstalled
    from llmgine.providers.options import LocalOptions
    from llmgine.providers.weights import check_installed

    try:
        check_installed("smollm2", LocalOptions())
    except ModelNotInstalled as error:
        _missing(str(error))


@pytest.fixture
def clean_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """No settings from outside: no LLMGINE_ variable, no RAY_ADDRESS, an empty home and working folder."""
    for name in list(os.environ):
        if name.upper().startswith("LLMGINE_") or name == "RAY_ADDRESS":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
