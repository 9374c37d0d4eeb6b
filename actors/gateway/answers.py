"""Refusals as responses, in the words of the interface that was asked."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from llmgine.actors.gateway import vendor
from llmgine.actors.gateway.errors import HeadTooLarge, Refusal, TooLarge, TooSlow, Unauthorised, WrongMethod
from llmgine.actors.gateway.failures import wait_of

VENDOR = "/v1"

_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_SECURE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_page(path: str) -> bool:
    """Whether the path is the dashboard's, which anybody may load: it holds nothing but code."""
    return path == "/" or path.startswith("/static/")


def refused(path: str, refusal: Refusal) -> Response:
    """The refusal as an answer to a request for that path."""
    said: dict[str, Any] = {"type": refusal.type, "message": refusal.message, "hint": refusal.hint}
    is_vendors = path.startswith(f"{VENDOR}/")
    content = vendor.error_body(path, refusal) if is_vendors else {"error": said}
    headers = {"cache-control": "no-store"}
    if refusal.retry_after is not None:
        headers["retry-after"] = wait_of(refusal.retry_after)
    if isinstance(refusal, WrongMethod):
        headers["allow"] = ", ".join(refusal.allowed)
    if isinstance(refusal, Unauthorised):
        headers["www-authenticate"] = 'Bearer realm="llmgine"'
    if isinstance(refusal, HeadTooLarge | TooLarge | TooSlow):
        headers["connection"] = "close"  # what else would come is not wanted
    return JSONResponse(content, refusal.status, headers)


def secure_headers(path: str) -> list[tuple[bytes, bytes]]:
    """What each answer says to browsers about itself."""
    policy = _PAGE_POLICY if is_page(path) else _API_POLICY
    said = {**_SECURE, "content-security-policy": policy}
    # Files of the page change with the version that is installed, and their names do not.
    said["cache-control"] = "no-cache" if is_page(path) else "no-store"
    return [(name.encode(), value.encode()) for name, value in said.items()]
