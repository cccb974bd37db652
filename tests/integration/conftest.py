# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Airflows of the integration tests: starting one takes longer than most tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import grouping
import pytest
from airflow_host import own_stack, shared_stack
from airflow_versions import telemetry
from browser import Reader, chromium
from nights import QUICK, Nights
from otlp_receiver import Receiver, receiver
from playwright.sync_api import Browser

_RUNNING: dict[str, tuple[Nights, contextlib.ExitStack]] = {}
"""The Airflow that this process uses, by its name in `grouping`, and what ends that."""


@pytest.fixture(scope="session")
def otlp() -> Iterator[Receiver]:
    """What Airflow and this package send to OpenTelemetry."""
    with receiver() as found:
        yield found


@pytest.fixture(scope="module")
def airflow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """A running Airflow with the project's example workflows.

    All processes share it. Files in `grouping.STRUCK` have another one, which no other process uses. Both outlive a
    file: see `pytest_runtest_teardown`.
    """
    name = grouping.airflow(request.node.nodeid)
    if name not in _RUNNING:
        with contextlib.ExitStack() as starting:
            if name == "struck":
                otlp: Receiver = request.getfixturevalue("otlp")
                folder = tmp_path_factory.mktemp("struck")
                stack = starting.enter_context(own_stack(folder, options=QUICK, environment=telemetry(otlp.url)))
                found = Nights(stack)
            else:
                base = tmp_path_factory.getbasetemp()
                base = base.parent if hasattr(request.config, "workerinput") else base
                found = Nights(starting.enter_context(shared_stack(base / "shared")))
            _RUNNING[name] = (found, starting.pop_all())
    return _RUNNING[name][0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Leave the Airflow after the last of its tests: what comes next wants the machine for itself."""
    if nextitem is None or grouping.airflow(nextitem.nodeid) != grouping.airflow(item.nodeid):
        _leave()


def pytest_sessionfinish() -> None:
    _leave()


def _leave() -> None:
    while _RUNNING:
        _RUNNING.popitem()[1][1].close()


@pytest.fixture(scope="module")  # while it is there, this thread has a running event loop
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def reader(browser: Browser, airflow: Nights) -> Iterator[Callable[..., Reader]]:
    """Opens the page as a person would; in the end nothing has failed in it."""
    opened: list[Reader] = []

    def open_page(**options: Any) -> Reader:
        opened.append(Reader(browser, airflow.stack, **options))
        return opened[-1]

    yield open_page
    faults = [fault for each in opened for fault in each.faults]
    for each in opened:
        each.close()
    assert not faults
