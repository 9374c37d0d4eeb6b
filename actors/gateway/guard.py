"""What stands in front of every route: who may ask, how much, and what each answer says to browsers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect, HTTPConnection

from llmgine.actors.gateway.answers import VENDOR, is_page, refused, secure_headers
from llmgine.actors.gateway.auth import Client, Door
from llmgine.actors.gateway.bodies import BoundedBody
from llmgine.actors.gateway.errors import Forbidden, HeadTooLarge
from llmgine.actors.gateway.failures import refusal_of
from llmgine.actors.gateway.limits import Allowance
from llmgine.actors.gateway.options import GatewayOptions
from llmgine.actors.gateway.routes.table import PREFIX
from llmgine.actors.gateway.tally import Tally
from llmgine.actors.gateway.watching import Watching

# What whoever watches over machines may ask without a token, and what the page needs to ask for one.
OPEN = frozenset({"/health", "/ready", "/login", "/logout"})
# Bytes that a body may have where nobody is asked for: a token is not longer.
_OPEN_BODY = 4 << 10


class Guard:
    """An ASGI application around another; no error leaves it but as an answer."""

    def __init__(
        self,
        inner: Any,
        door: Door,
        options: GatewayOptions,
        watching: Watching,
        tally: Tally,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._inner = inner
        self._door = door
        self._options = options
        self._clock = clock
        self._wall_clock = wall_clock
        self._allowances: dict[str, Allowance] = {}
        self._watching = watching
        self._tally = tally

    def end_watches(self) -> None:
        """Live views end, which by themselves never do."""
        self._watching.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        answer = _Answer(send, path)
        try:
            _check_head(scope, self._options.max_head)
            connection = HTTPConnection(scope)
            headers = connection.headers
            self._door.check_place(scope["method"], headers)
            with self._admitted(scope, headers, connection.cookies):
                limit = self._options.max_body
                bound = min(limit, _OPEN_BODY) if _is_open(path) else limit
                body = BoundedBody(receive, headers, bound, self._options.body_timeout)
                await self._inner(_routed(scope, path), body, answer)
        except ClientDisconnect:
            return  # it went before its request was whole, and hears no answer
        except Exception as error:
            if answer.begun:
                raise  # the server cuts the connection, which is all that can still be said
            refusal = refusal_of(error)
            self._tally.add(refusal.type)
            await refused(path, refusal)(scope, receive, answer)

    @contextmanager
    def _admitted(self, scope: Any, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Iterator[None]:
        path = scope["path"]
        if _is_open(path):
            yield
            return
        client = self._door.client(headers, cookies, self._wall_clock())
        if not client.operator and not path.startswith(f"{VENDOR}/"):
            raise Forbidden(
                f"client {client.name} may ask models and sessions below {VENDOR} alone",
                hint=f"gateway.clients.{client.name}.operator lets it in",
            )
        scope["client_name"] = client.name
        scope["client_sessions"] = client.sessions
        allowance = self._allowance(client)
        allowance.enter(self._clock())
        try:
            yield
        finally:
            allowance.leave()

    def _allowance(self, client: Client) -> Allowance:
        """There are as many as the settings name clients, and two."""
        found = self._allowances.get(client.name)
        if found is None:
            found = Allowance(client.requests_per_minute, client.concurrent, self._clock())
            self._allowances[client.name] = found
        return found


class _Answer:
    """A `send` that adds what browsers are to know, and notes that the answer has begun."""

    def __init__(self, send: Any, path: str) -> None:
        self._send = send
        self._path = path
        self.begun = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            said = [one for one in secure_headers(self._path) if one[0] not in names]
            message = {**message, "headers": [*given, *said]}
        await self._send(message)


def _is_open(path: str) -> bool:
    """Whether anybody may ask for it."""
    return path in OPEN or is_page(path)


def _check_head(scope: Any, limit: int) -> None:
    """The server in front bounds what it waits for; what comes in one piece is counted here."""
    size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size > limit:
        raise HeadTooLarge(f"the head has more than {limit} bytes", hint="gateway.max_head says how many")


def _routed(scope: Any, path: str) -> Any:
    """Our own interface is routed by its path as it was sent: an id may hold a slash."""
    if not path.startswith(f"{PREFIX}/"):
        return scope
    raw: bytes = scope.get("raw_path") or path.encode()
    return {**scope, "path": raw.partition(b"?")[0].decode("ascii", "replace")}
