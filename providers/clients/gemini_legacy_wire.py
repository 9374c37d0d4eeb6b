"""The blocking transport below google-generativeai, made so that another thread can break a call off."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_here = threading.local()


class Line:
    """The connection of one call, as far as it is known. `cut` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cut = False

    def run(self, work: Callable[[], Any]) -> Any:
        """The result of a piece of the call's work, done in this thread."""
        _here.line = self
        try:
            return work()
        finally:
            _here.line = None

    def note(self, connected: socket.socket | None) -> None:
        with self._lock:
            self._socket = connected
            cut = self._cut
        if cut:
            self.cut()

    def cut(self) -> None:
        """Shut the connection down: whoever waits for it wakes, and the server sees it close."""
        with self._lock:
            self._cut = True
            connected = self._socket
        if connected is not None:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)


def _note(connection: Any) -> None:
    line: Line | None = getattr(_here, "line", None)
    if line is not None:
        line.note(connection.sock)


class _Http(HTTPConnection):
    def getresponse(self) -> Any:
        _note(self)
        return super().getresponse()


class _Https(HTTPSConnection):
    def getresponse(self) -> Any:
        _note(self)
        return super().getresponse()


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


_POOLS = {"http": _HttpPool, "https": _HttpsPool}


class _Adapter(HTTPAdapter):
    """Keeps the line of a call informed. A call's time limit is that of its connecting alone."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: Any, stream: bool = False, timeout: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]
        return super().send(request, stream, (timeout, None), **kwargs)


def prepare(session: requests.Session, max_connections: int, *, local: bool) -> None:
    """Makes a session neither retry nor follow redirects, and its calls such as can be cut."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_maxsize=max_connections, max_retries=0))
    session.max_redirects = 0  # a redirect to another host would take the key and the prompt along
    session.trust_env = not local
