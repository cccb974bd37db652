# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One Airflow for all integration tests: starting it takes longer than most of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow_versions import telemetry
from browser import Reader, chromium
from nights import QUICK, Nights
from otlp_receiver import Receiver, receiver
from playwright.sync_api import Browser

from batchy_provider.local.stack import LocalStack, remove_database

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def otlp() -> Iterator[Receiver]:
    """What Airflow and this package tell OpenTelemetry."""
    with receiver() as found:
        yield found


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, otlp: Receiver) -> Iterator[Nights]:
    """A running Airflow with the project's example workflows, and with what tests add."""
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
    try:
        with stack:
            yield Nights(stack)
    finally:
        remove_database(stack.folder)


@pytest.fixture(scope="session")
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
