# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Valkey for all tests, a Redis beside it where there is one, and an AIRFLOW_HOME that is nobody's."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from distribution import Groups, ProcessorTime, Progress, processor_seconds
from grouping import group, rank
from redis_server import KIND, Server, programs
from thoroughness import PROFILE, load_profile
from xdist.remote import Producer

from batchy_provider.local.settings import clean_environment

if TYPE_CHECKING:
    from redis import Redis

# What is imported and collected stays until the end. Looking through it for garbage takes a third of that time.
gc.disable()

# A shell that starts this in the background lets it ignore Ctrl-C, and with it all programs that tests stop that way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before anything imports Airflow: it reads these once, and would make its files in the user's home.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="batchy-tests-")
for _name in set(os.environ) - set(clean_environment()):
    if not _name.startswith("BATCHY_TEST_"):
        del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = f"{_AIRFLOW_HOME}/dags"

load_profile()

PROGRAMS = programs()
KINDS = list(PROGRAMS)
AIRFLOWS = Path(__file__).parent / "integration"
LEAVE_OUT = pytest.StashKey[str]()
"""Marks of the tests that are left out: none, "long", or "long and slow"."""


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "where no file is named: all tests but those marked long, not only the quick ones"
    parser.addoption("--all", action="store_true", dest="all_tests", help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEAVE_OUT] = _left_out(config)
    config.pluginmanager.register(Progress(config))
    config.pluginmanager.register(ProcessorTime())


def _left_out(config: pytest.Config) -> str:
    """Return which tests are left out. The processes of xdist read the same arguments, and come to the same."""
    if config.option.markexpr:
        return ""
    if config.args_source != pytest.Config.ArgsSource.TESTPATHS:
        return "long" if _are_folders(config) else ""
    return "long" if config.option.all_tests else "long and slow"


def _are_folders(config: pytest.Config) -> bool:
    return all(Path(name).is_dir() for name in config.args)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Folders are tested on all cores; what is asked for by name in this process, where a debugger can hold it.

    Many tests wait for a timer of a server's, which needs no core; those on a whole Airflow do little else.
    """
    if not _are_folders(config):
        return 0
    cores = os.cpu_count() or 1
    return cores * 2 if _has_airflow(config) and "slow" not in _left_out(config) else cores + cores // 2


def _has_airflow(config: pytest.Config) -> bool:
    named = [Path(name).resolve() for name in config.args]
    return any(AIRFLOWS.is_relative_to(name) or name.is_relative_to(AIRFLOWS) for name in named)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long. On many processes begin with the longest; in one, folders have their own order."""
    left_out = [item for item in items if _is_left_out(item, config.stash[LEAVE_OUT])]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


def _is_left_out(item: pytest.Item, leave_out: str) -> bool:
    if "long" in leave_out and item.get_closest_marker("long"):
        return True
    if "slow" not in leave_out or item.get_closest_marker("night"):
        return False
    on_another_server = getattr(item, "callspec", None) and item.callspec.params.get("any_redis_url", KIND) != KIND
    on_an_airflow = item.path.is_relative_to(AIRFLOWS)
    return bool(on_another_server or on_an_airflow or item.get_closest_marker("slow"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Look for garbage from here on, and only in what the tests make."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    shutil.rmtree(_AIRFLOW_HOME, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    lines = [f"Redis-like servers: {', '.join(KINDS)}, mostly {KIND}; hypothesis profile: {PROFILE}"]
    if "slow" in config.stash[LEAVE_OUT]:
        lines.append(f"the quick tests, with one night on a whole Airflow, on {KIND} alone; all: ./run test --all")
    return lines


@pytest.fixture(autouse=True)
def _log_level() -> None:
    """Airflow sets the root logger to INFO when it is first imported: a test must not depend on who was before it."""
    logging.getLogger().setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def _results_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty Redis: with the archive of another test, that would be one that lost its data."""
    monkeypatch.setenv("AIRFLOW__BATCHY__RESULTS_URL", f"{_AIRFLOW_HOME}/results/{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Servers by kind, each started when it is first asked for."""
    started: dict[str, Server] = {}

    class OnDemand(dict[str, Server]):
        def __missing__(self, kind: str) -> Server:
            started[kind] = self[kind] = Server(PROGRAMS[kind], tmp_path_factory.mktemp(kind))
            started[kind].start()
            return started[kind]

    yield OnDemand()
    for server in started.values():
        server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server of one test's own, to be stopped, killed and started as it likes."""
    server = Server(PROGRAMS[KIND], tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def lasting_server(tmp_path: Path) -> Iterator[Server]:
    """The same, and it has everything again when it is started after a kill."""
    server = Server(PROGRAMS[KIND], tmp_path, keeps=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_servers: dict[str, Server]) -> str:
    """URL of a server without any key: Valkey, unless BATCHY_TEST_KIND says otherwise."""
    return _emptied(_servers[KIND])


@pytest.fixture
def redis_client(_servers: dict[str, Server], redis_url: str) -> Iterator[Redis]:
    """A client of the same."""
    with _servers[KIND].client() as client:
        yield client


@pytest.fixture(params=KINDS)
def any_redis_url(request: pytest.FixtureRequest, _servers: dict[str, Server]) -> str:
    """URL of an empty server; a test runs with it once for Valkey and once for each Redis that is here."""
    return _emptied(_servers[request.param])


@pytest.fixture
def any_redis_client(any_redis_url: str) -> Iterator[Redis]:
    """A client of the same."""
    import redis

    with redis.Redis.from_url(any_redis_url) as client:
        yield client


def _emptied(server: Server) -> str:
    with server.client() as client:
        client.flushall()
    return server.url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which groups of tests take longest: one process works through each, so the slowest sets the pace."""
    seconds: dict[str, float] = defaultdict(float)
    processor: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[group(report.nodeid)] += report.duration
                processor[group(report.nodeid)] += processor_seconds(report)
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:12]
    if terminalreporter.config.getoption("durations") and slowest:
        terminalreporter.section("slowest groups")
        for name, taken in slowest:
            terminalreporter.line(f"{taken:8.1f}s {processor[name]:8.1f} cpu  {name}")
