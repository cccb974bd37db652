# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One Airflow for all integration tests: starting it takes longer than most of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow import __version__
from nights import Nights
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
            "metrics.otel_on": "True",
            # What tracing there is in Airflow 3.1 is not of tasks.
            "traces.otel_on": str(not __version__.startswith("3.1.")),
        },
        environment=_telemetry(otlp.url),
    )
    try:
        with stack:
            yield Nights(stack)
    finally:
        remove_database(stack.folder)


def _telemetry(url: str) -> dict[str, str]:
    host, port = url.removeprefix("http://").split(":")
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        # Each task is a process of its own: only differences can be added up.
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        # Airflow 3.1 knows none of these.
        "AIRFLOW__METRICS__OTEL_HOST": host,
        "AIRFLOW__METRICS__OTEL_PORT": port,
        "AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS": "1000",
    }
