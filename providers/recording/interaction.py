"""One recorded exchange with a model server, and the file that holds it.

A file is a JSON object `{"source", "interactions": [...]}`; an interaction has `method`, `url`, `request`,
`status`, `headers` and `body` (`body_base64` where the body is not text). What our recorder writes adds when
it was (`time`, seconds since 1970), how the body came in (`chunks`: seconds since the call began, bytes),
the `error` that ended it, `request_headers`, `provider` and `session`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError


@dataclass(frozen=True, slots=True)
class Interaction:
    """What was sent and what came back; `status` is None where no answer began."""

    url: str | None
    request: Any
    status: int | None
    headers: Mapping[str, str]
    body: bytes
    chunks: tuple[tuple[float, int], ...] = ()
    error: Mapping[str, Any] | None = None
    time: float = 0.0
    provider: str = ""
    session: str = ""
    method: str = "POST"
    request_headers: Mapping[str, str] = field(default_factory=dict)

    def pieces(self) -> list[bytes]:
        """The body as it came in: one piece where that is not known."""
        pieces: list[bytes] = []
        begin = 0
        for _, size in self.chunks:
            pieces.append(self.body[begin : begin + size])
            begin += size
        return [piece for piece in (*pieces, self.body[begin:]) if piece]

    def failure(self) -> ProviderError | None:
        """What broke the exchange off, None where it ended or where the server's own bytes say so."""
        if self.error is None or self.error.get("status") is not None:
            return None
        kind = ErrorKind(self.error["kind"])
        message = str(self.error.get("message", ""))
        if kind is ErrorKind.CANCELLED:
            kind, message = ErrorKind.CONNECTION, "the recorded call was cancelled here"
        phase = ErrorPhase(self.error["phase"])
        return ProviderError(message, kind=kind, phase=phase, scope=ErrorScope.ENDPOINT)

    def to_json(self) -> dict[str, Any]:
        """The interaction as it stands in a file."""
        try:
            body = {"body": self.body.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(self.body).decode()}
        return {
            "method": self.method,
            "url": self.url,
            "request_headers": dict(self.request_headers),
            "request": self.request,
            "status": self.status,
            "headers": dict(self.headers),
            **body,
            "chunks": [[round(at, 6), size] for at, size in self.chunks],
            "error": self.error,
            "time": self.time,
            "provider": self.provider,
            "session": self.session,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Interaction:
        """The interaction that a file holds; fields of other recorders may be missing."""
        encoded = value.get("body_base64")
        body = base64.b64decode(encoded) if encoded is not None else (value.get("body") or "").encode()
        return cls(
            url=value.get("url"),
            request=value.get("request"),
            status=value.get("status"),
            headers={name.lower(): text for name, text in (value.get("headers") or {}).items()},
            body=body,
            chunks=tuple((at, size) for at, size in value.get("chunks") or ()),
            error=value.get("error"),
            time=value.get("time") or 0.0,
            provider=value.get("provider") or "",
            session=value.get("session") or "",
            method=value.get("method") or "POST",
            request_headers=value.get("request_headers") or {},
        )


def read_recording(path: Path) -> list[Interaction]:
    """The interactions of one file, none in JSON without any; `ValueError` where it is no recording."""
    try:
        value = json.loads(path.read_bytes())
        found = value.get("interactions") if isinstance(value, dict) else None
        return [Interaction.from_json(one) for one in found or ()]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no recording: {error}") from None
