"""Who a request comes from, and from where."""

from __future__ import annotations

import pytest

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.auth import COOKIE, Door
from llmgine.actors.gateway.errors import Forbidden, Unauthorised
from llmgine.actors.gateway.options import ClientOptions
from llmgine.actors.gateway.secrets import find_secrets

OWNER, APP = "the owner's own token", "the key of the app"
HOST = {"host": "127.0.0.1:8700"}


def door(options: GatewayOptions | None = None, seal: bytes = b"seal") -> Door:
    options = options or GatewayOptions()
    return Door(options, find_secrets(options), seal)


@pytest.fixture
def guarded() -> GatewayOptions:
    return GatewayOptions(
        token=OWNER, clients={"app": ClientOptions(key=APP, concurrent=2, operator=True)}, login_hours=1
    )


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"authorization": f"Bearer {OWNER}"}, "owner"),
        ({"authorization": f"bearer  {OWNER} "}, "owner"),
        ({"x-api-key": OWNER}, "owner"),
        ({"authorization": f"Bearer {APP}"}, "app"),
        ({"x-api-key": APP}, "app"),
    ],
)
def test_a_token_or_key_says_who_asks(guarded: GatewayOptions, headers: dict[str, str], name: str) -> None:
    """In either header, as the vendors' clients send them."""
    assert door(guarded).client(headers, {}, 0.0).name == name


def test_a_client_has_its_own_limits(guarded: GatewayOptions) -> None:
    """The owner has none."""
    assert door(guarded).client({"x-api-key": APP}, {}, 0.0).concurrent == 2
    assert door(guarded).client({"x-api-key": OWNER}, {}, 0.0).concurrent is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {OWNER}"},
        {"authorization": OWNER},
        {"x-api-key": OWNER[:-1]},
        {"x-api-key": OWNER + "x"},
        {"x-api-key": "sha256:" + "0" * 64},
    ],
)
def test_anything_else_is_unauthorised(guarded: GatewayOptions, headers: dict[str, str]) -> None:
    """The refusal says nothing of what was sent."""
    with pytest.raises(Unauthorised) as refused:
        door(guarded).client(headers, {}, 0.0)
    assert OWNER[:-1] not in str(refused.value)


def test_the_digest_of_a_token_is_no_token(guarded: GatewayOptions) -> None:
    """What stands in the settings lets nobody in."""
    with pytest.raises(Unauthorised):
        door(guarded).client({"x-api-key": str(guarded.token)}, {}, 0.0)


def test_a_login_lasts_as_long_as_set(guarded: GatewayOptions) -> None:
    """And stands for whoever logged in."""
    name, value, seconds = door(guarded).login(APP, 1000.0)
    assert (name, seconds) == ("app", 3600)
    assert door(guarded).client({}, {COOKIE: value}, 4599.0).name == "app"
    with pytest.raises(Unauthorised):
        door(guarded).client({}, {COOKIE: value}, 4600.0)


@pytest.mark.parametrize(
    "change", [lambda v: v[:-1] + "0", lambda v: "9" + v, lambda v: v.replace("app", "owner")]
)
def test_a_login_that_was_changed_does_not_count(guarded: GatewayOptions, change: object) -> None:
    """Neither its time, nor its name, nor its signature."""
    _, value, _ = door(guarded).login(APP, 1000.0)
    assert callable(change)
    changed = change(value)
    assert changed != value
    with pytest.raises(Unauthorised):
        door(guarded).client({}, {COOKIE: changed}, 1001.0)


@pytest.mark.parametrize("cookie", ["", ".", "..", "x.app.y", "99999999999999999999.app.0", "１.app.0"])
def test_a_cookie_of_any_other_form_does_not_count(guarded: GatewayOptions, cookie: str) -> None:
    """Whatever it holds, it is no error of ours."""
    with pytest.raises(Unauthorised):
        door(guarded).client({}, {COOKIE: cookie}, 0.0)


def test_a_login_ends_with_its_secret_and_its_seal(guarded: GatewayOptions) -> None:
    """A token that was changed, or another gateway, knows it no more."""
    _, value, _ = door(guarded).login(OWNER, 0.0)
    other = guarded.model_copy(update={"token": GatewayOptions(token=OWNER + "!").token})
    for elsewhere in (door(other), door(guarded, b"another")):
        with pytest.raises(Unauthorised):
            elsewhere.client({}, {COOKIE: value}, 1.0)


@pytest.mark.parametrize("host", ["127.0.0.1:8700", "localhost", "[::1]:8700", "127.0.0.1"])
def test_without_a_token_this_machine_is_served(host: str) -> None:
    """By each of its names."""
    door().check_place("POST", {"host": host})
    assert door().client({}, {}, 0.0).name == "local"


@pytest.mark.parametrize("host", ["evil.example:8700", "127.0.0.1.evil.example", "", "192.168.0.5:8700"])
def test_without_a_token_no_other_name_is_served(host: str) -> None:
    """A name that was bound to this machine's address from outside reaches nothing."""
    for method in ("GET", "POST"):
        with pytest.raises(Forbidden, match="Host"):
            door().check_place(method, {"host": host})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1"},
        {"origin": ""},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("with_token", [False, True])
def test_a_page_of_another_origin_changes_nothing(
    guarded: GatewayOptions, headers: dict[str, str], with_token: bool
) -> None:
    """Whether there is a token or not; looking is up to the browser's own rules."""
    checked = door(guarded if with_token else None)
    checked.check_place("GET", {**HOST, **headers})
    for method in ("POST", "DELETE", "PATCH"):
        with pytest.raises(Forbidden, match="origin"):
            checked.check_place(method, {**HOST, **headers})


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://127.0.0.1:8700", "sec-fetch-site": "same-origin"}]
)
def test_the_page_itself_and_programs_may(headers: dict[str, str]) -> None:
    """The page's own origin, and what is no browser."""
    door().check_place("POST", {**HOST, **headers})


def test_only_who_may_operate_logs_in(guarded: GatewayOptions) -> None:
    """The page is for whoever may look at the runtime and change it."""
    app = ClientOptions(key=APP)
    only_asks = guarded.model_copy(update={"clients": {"app": app}})
    assert not door(only_asks).client({"x-api-key": APP}, {}, 0.0).operator
    assert door(only_asks).client({"x-api-key": OWNER}, {}, 0.0).operator
    with pytest.raises(Forbidden):
        door(only_asks).login(APP, 0.0)
    with pytest.raises(Unauthorised):
        door(only_asks).login(APP + "!", 0.0)
