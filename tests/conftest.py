"""What holds for the whole suite: no network, an explicit Ray, and who may skip."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, NoReturn

# Ray reads both when it is imported, and so do the processes that tests start.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import hypothesis
import pytest
import pytest_asyncio

from tests.scripts import SCRIPTS

# How long an example takes says how busy the machine is, no more.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")

# A script's shell ignores Ctrl-C for what it starts in the background, and all processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Of the gateway of the runtime that tests share.
TOKEN = "the token of whoever launched it"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """All that the suite imports lives as long as the suite: garbage is not looked for in it."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


_attempts: list[str] = []
_dashboards: list[str] = []


def _is_outside(address: Any) -> bool:
    if not isinstance(address, tuple) or not address:
        return False
    host = str(address[0]).partition("%")[0]
    if host in ("", "localhost"):
        return False
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return True
    return not (ip.is_loopback or ip.is_unspecified or _is_our_own(ip))


def _is_our_own(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this machine has the address: then it can be bound, and Ray's processes meet over it."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError:
            return False
    return True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    # A UDP "connect" sends nothing; it is how libraries ask for this machine's own address.
    if event != "socket.connect" or arguments[0].type == socket.SOCK_DGRAM or not _is_outside(arguments[1]):
        return
    _attempts.append(str(arguments[1]))
    raise OSError(f"tests use no network: connect to {arguments[1]} refused")


sys.addaudithook(_watch)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` finds the files with tests on Ray by these two words."""
    for path in {item.path for item in items if item.get_closest_marker("cluster")}:
        if not re.search(r"mark\.cluster|on_ray", path.read_text()):
            raise pytest.UsageError(f"{path} has tests on Ray and neither says mark.cluster nor uses on_ray")


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
    from llmgine.providers.local.weights import check_engine, find_weights
    from llmgine.providers.options import LocalOptions

    try:
        find_weights("smollm2", LocalOptions())
        check_engine()
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
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(scope="session")
def ray_cluster() -> Any:
    """The address of the one Ray that the cluster tests of this run share; it ends with the run."""
    import ray

    context = ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=True,
        log_to_driver=False,
        logging_level="ERROR",
        namespace="llmgine-tests",
    )
    _dashboards.append(context.dashboard_url)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def shared_runtime(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Joins the one runtime that is on that Ray for this run; each file does, with a driver of its own.

    Whoever joins it ends the sessions that it lets stay, and leaves each pool with one actor.
    """
    from llmgine.runtime import Runtime

    folder = tmp_path_factory.mktemp("shared")
    (folder / "token").write_text(TOKEN)
    settings = {
        "data_dir": folder,
        "gateway": {"enabled": True, "port": 0, "token_file": folder / "token"},
        "telemetry": {"death_grace": 0.5},
        "providers": {"scripts": SCRIPTS},
    }
    async with Runtime.launch(settings, name="shared", detached=True):
        pass
    yield lambda: Runtime.connect(ray_cluster, name="shared")
    await (await Runtime.connect(ray_cluster, name="shared")).stop()


@pytest.fixture(scope="module", params=["in process", pytest.param("on Ray", marks=pytest.mark.cluster)])
def on_ray(request: pytest.FixtureRequest) -> Any:
    """For what holds in one process and on Ray alike: None at first, then joins the shared runtime."""
    return None if request.param == "in process" else request.getfixturevalue("shared_runtime")


@pytest.fixture(scope="session")
def ray_dashboard(ray_cluster: str) -> str:
    """Where that Ray takes jobs, as host:port."""
    return _dashboards[-1]


async def until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """The condition's first true value; fails when it does not come in time."""
    give_up = time.monotonic() + timeout
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < give_up, f"{condition} did not become true within {timeout} s"
        await asyncio.sleep(0.1)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return until
