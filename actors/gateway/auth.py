"""Who a request comes from, by its token, key or login; and whether it was made where it says.

Knows secrets by their digests alone. A page of another site must not reach a gateway that takes no token:
so its Host has to be this machine's, and what changes something must come from the page's own origin.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmgine.actors.gateway.errors import Forbidden, Unauthorised
from llmgine.actors.gateway.options import LOCAL, GatewayOptions, digest, is_loopback

COOKIE = "llmgine_login"

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who may ask; None says that there is no such limit."""

    name: str
    requests_per_minute: float | None = None
    concurrent: int | None = None
    operator: bool = True
    """Whether it may look at the runtime and change it, or ask models and sessions alone."""
    sessions: str = ""
    """What the ids of the sessions that it may ask begin with."""


class Door:
    """Lets requests in, or raises why not. `secrets` are digests by the name of who has them."""

    def __init__(self, options: GatewayOptions, secrets: Mapping[str, str], seal: bytes) -> None:
        self._guarded = options.is_guarded
        self._digests = {name: one.encode() for name, one in secrets.items()}
        self._seal = seal
        self._lasting = options.login_hours * 3600
        self._clients = {
            name: Client(name, one.requests_per_minute, one.concurrent, one.operator, one.sessions or "")
            for name, one in options.clients.items()
        }

    def client(self, headers: Mapping[str, str], cookies: Mapping[str, str], now: float) -> Client:
        """Who asks; `Unauthorised` where a token is needed and none that is known came."""
        if not self._guarded:
            return Client(LOCAL)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        name = self.holder(given) if given else self._logged_in(cookies.get(COOKIE, ""), now)
        if name is None:
            raise Unauthorised(
                "the token is not known here" if given else "this needs a token",
                hint="send `Authorization: Bearer …` or `x-api-key: …`, or log in at the page",
            )
        return self._clients.get(name, Client(name))

    def check_place(self, method: str, headers: Mapping[str, str]) -> None:
        """`Forbidden` where a page of another place has sent the request."""
        host = headers.get("host", "")
        if not self._guarded and not is_loopback(_name_of(host)):
            raise Forbidden(
                f"the Host header names {host[:100]!r}, and without a token this machine alone is served",
                hint="use http://127.0.0.1 or http://localhost, or set gateway.token",
            )
        if method in _SAFE:
            return
        origin = headers.get("origin")
        foreign = origin is not None and _place_of(origin) != host.lower()
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Forbidden(
                "what changes something is not taken from pages of another origin",
                hint="call the gateway from its own page, or from a program",
            )

    def holder(self, secret: str) -> str | None:
        """Whose the secret is; every one is compared, and each in the same time."""
        given = digest(secret).encode()
        found = [name for name, known in self._digests.items() if hmac.compare_digest(given, known)]
        return found[0] if found else None

    def login(self, secret: str, now: float) -> tuple[str, str, int]:
        """Whose the secret is, the value of a cookie that stands for them, and how many seconds it does."""
        name = self.holder(secret)
        if name is None:
            raise Unauthorised("the token is not known here", hint="it is gateway.token of the settings")
        if name in self._clients and not self._clients[name].operator:
            raise Forbidden(
                f"client {name} may ask models and sessions alone", hint=f"gateway.clients.{name}.operator"
            )
        until = int(now + self._lasting)
        return name, f"{until}.{name}.{self._signed(until, name)}", int(self._lasting)

    def _logged_in(self, cookie: str, now: float) -> str | None:
        until, _, rest = cookie.partition(".")
        name, _, signature = rest.rpartition(".")
        if not until.isascii() or not until.isdigit() or len(until) > 12 or name not in self._digests:
            return None
        sound = hmac.compare_digest(self._signed(int(until), name).encode(), signature.encode())
        return name if sound and now < int(until) else None

    def _signed(self, until: int, name: str) -> str:
        # The digest is in it, so that a secret that was changed ends its logins.
        known = self._digests[name]
        return hmac.new(self._seal, b"%d %s %s" % (until, name.encode(), known), hashlib.sha256).hexdigest()


def _place_of(origin: str) -> str | None:
    """The host and port that the Origin header names; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _name_of(host: str) -> str:
    """The Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] or host if host.count(":") == 1 else host
