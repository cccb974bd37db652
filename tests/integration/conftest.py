# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One Airflow for all integration tests: starting it takes longer than most of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_versions import telemetry
from nights import QUICK, Nights
from otlp_receiver import Receiver, receiver

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
