"""What the gateway answers in place of what was asked, and why it could not come up; one picklable tree.

LlmgineError
├── GatewayError             the gateway cannot be what its settings say
│   ├── SecretMissing        the token, or a client's key, is not where the settings say
│   └── PortTaken            somebody else listens on its port
└── Refusal                  has the HTTP status and the name of its kind
    ├── MalformedRequest     400  the body is no JSON, or the head is none of HTTP
    ├── Unauthorised         401  no token or key, or not one that is known here
    ├── Forbidden            403  the Host or Origin header names another place
    ├── NotFound             404  there is no such path, session, letter, approval, trace or pool
    ├── WrongMethod          405  the path is there and takes other methods
    ├── TooSlow              408  the body did not come in time
    ├── Conflict             409  it cannot be done as things stand
    ├── TooLarge             413  the body has more bytes than are taken
    ├── WrongContentType     415  a body is JSON
    ├── Unprocessable        422  the JSON is not what the call takes
    ├── TooManyRequests      429  more than the client's key may ask for; says when to come again
    ├── HeadTooLarge         431  the line and headers have more bytes than are taken
    ├── Internal             500  our own mistake; the log has it
    ├── Unfinished           500  the turn did not come to its end
    ├── Upstream             502  the model's provider failed
    └── NotReady             503  the runtime is not there yet, or not any more
"""

from __future__ import annotations

from typing import ClassVar

from llmgine.providers.errors import LlmgineError


class GatewayError(LlmgineError):
    """The gateway cannot be what its settings say; the message names the setting."""


class SecretMissing(GatewayError):
    """The token, or a client's key, is not where the settings say."""


class PortTaken(GatewayError):
    """Somebody else listens on the gateway's port."""


class Refusal(LlmgineError):
    """The answer to a request that is not served: `hint` says what mends it, headers go with it."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal"

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after


class MalformedRequest(Refusal):
    """The body is no JSON, or the head is none of HTTP."""

    status = 400
    type = "malformed_request"


class Unauthorised(Refusal):
    """No token or key came with the request, or not one that is known here."""

    status = 401
    type = "unauthorised"


class Forbidden(Refusal):
    """The Host or Origin header names another place than this gateway."""

    status = 403
    type = "forbidden"


class NotFound(Refusal):
    """There is no such thing."""

    status = 404
    type = "not_found"


class WrongMethod(Refusal):
    """The path is there and takes other methods."""

    status = 405
    type = "wrong_method"

    def __init__(self, method: str, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{method} is not for {path}; it takes {', '.join(allowed)}")
        self.allowed = allowed


class TooSlow(Refusal):
    """The body did not come in time."""

    status = 408
    type = "too_slow"


class Conflict(Refusal):
    """It cannot be done as things stand."""

    status = 409
    type = "conflict"


class TooLarge(Refusal):
    """The body has more bytes than are taken."""

    status = 413
    type = "too_large"


class WrongContentType(Refusal):
    """A body is JSON."""

    status = 415
    type = "wrong_content_type"


class Unprocessable(Refusal):
    """The JSON, or the query, is not what the call takes; the message names the field."""

    status = 422
    type = "unprocessable"


class TooManyRequests(Refusal):
    """More than the client may ask for; `retry_after` says in seconds when to come again."""

    status = 429
    type = "too_many_requests"


class HeadTooLarge(Refusal):
    """The request's line and headers have more bytes than are taken."""

    status = 431
    type = "too_large"


class Internal(Refusal):
    """Our own mistake; the log has it."""

    status = 500
    type = "internal"


class Unfinished(Refusal):
    """The turn did not come to its end; the message says why."""

    status = 500
    type = "turn_failed"


class Upstream(Refusal):
    """The model's provider failed."""

    status = 502
    type = "upstream"


class NotReady(Refusal):
    """The runtime is not there yet, or not any more."""

    status = 503
    type = "not_ready"
