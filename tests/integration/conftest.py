# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One Airflow for all integration tests: starting it takes longer than most of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_versions import telemetry
from nights import Nights
from otlp_receiver import Receiver, receiver

from batchy_provider.local.stack import LocalStack, remove_database

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on one Airflow run in one process, beside those that need none."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("airflow"))


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
        options={
            # A worker that was killed is to be missed within seconds, not after five minutes.
            "scheduler.task_instance_heartbeat_sec": "2",
            "scheduler.task_instance_heartbeat_timeout": "10",
            "scheduler.task_instance_heartbeat_timeout_detection_interval": "3",
            "scheduler.job_heartbeat_sec": "2",
            # And a scheduler that was killed, when the next one looks whose tasks it may take over.
            "scheduler.scheduler_health_check_threshold": "10",
            "scheduler.orphaned_tasks_check_interval": "5",
            "dag_processor.min_file_process_interval": "15",
            "batchy.kill_grace_seconds": "2",
            "batchy.recheck_seconds": "5",
            "batchy.allow_upload": "True",
        },
        environment=telemetry(otlp.url),
    )
    try:
        with stack:
            yield Nights(stack)
    finally:
        remove_database(stack.folder)
