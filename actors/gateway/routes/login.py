"""Logging in at the page: a token for a cookie that scripts cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmgine.actors.gateway.auth import COOKIE, Door
from llmgine.actors.gateway.errors import WrongMethod
from llmgine.actors.gateway.routes.table import read_body
from llmgine.actors.gateway.shapes import Shape


class LoginBody(Shape):
    """The token, or the key of a client that may operate."""

    token: str = Field(min_length=1, max_length=1000)


def login_routes(door: Door, clock: Callable[[], float]) -> list[Route]:
    """`POST /login {token}` sets the cookie, `POST /logout` takes it back."""

    async def login(request: Request) -> Response:
        _only_post(request)
        body = await read_body(LoginBody, request)
        name, value, seconds = door.login(body.token, clock())
        answer = JSONResponse({"client": name})
        answer.set_cookie(COOKIE, value, max_age=seconds, **_how(request))
        return answer

    async def logout(request: Request) -> Response:
        _only_post(request)
        answer = JSONResponse({"client": None})
        answer.delete_cookie(COOKIE, **_how(request))
        return answer

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
    return [Route("/login", login, methods=methods), Route("/logout", logout, methods=methods)]


def _how(request: Request) -> dict[str, Any]:
    return {"httponly": True, "samesite": "strict", "path": "/", "secure": request.url.scheme == "https"}


def _only_post(request: Request) -> None:
    if request.method != "POST":
        raise WrongMethod(request.method, request.url.path, ("POST",))
