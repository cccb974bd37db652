# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One Airflow for all integration tests: starting it takes longer than most of them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import telemetry
from browser import Reader, chromium
from grouping import group
from nights import QUICK, Nights
from otlp_receiver import Receiver, receiver
from playwright.sync_api import Browser

from batchy_provider.local.stack import LocalStack, remove_database

ROOT = Path(__file__).parents[2]
_RUNNING: list[tuple[Nights, contextlib.ExitStack]] = []
"""The one that runs now, and what ends it."""


@pytest.fixture(scope="session")
def otlp() -> Iterator[Receiver]:
    """What Airflow and this package tell OpenTelemetry."""
    with receiver() as found:
        yield found


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, otlp: Receiver) -> Nights:
    """A running Airflow with the project's example workflows, and with what tests add.

    It outlives a file, and is there until the tests of its group are over: see `pytest_runtest_teardown`.
    """
    if not _RUNNING:
        folder = tmp_path_factory.mktemp("stack")
        for name in ("cfg", "dags"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        stack = LocalStack(
            folder / "home",
            dags=folder / "dags",
            cfg=folder / "cfg",
            options=QUICK,
            environment=telemetry(otlp.url),
        )
        # A program that does not find it when it starts never looks again.
        (stack.folder / "plugins").mkdir(parents=True, mode=0o700)
        with contextlib.ExitStack() as starting:
            starting.callback(remove_database, stack.folder)
            starting.enter_context(stack)
            _RUNNING.append((Nights(stack), starting.pop_all()))
    return _RUNNING[0][0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the Airflow after the last of its tests: what comes next wants the machine for itself."""
    if nextitem is None or group(nextitem.nodeid) != group(item.nodeid):
        _end()


def pytest_sessionfinish() -> None:
    _end()


def _end() -> None:
    while _RUNNING:
        _RUNNING.pop()[1].close()


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
