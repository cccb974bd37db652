# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What tests ask Airflow for, by the names of its oldest and of its newest version."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from airflow import __version__
from airflow.sdk import DAG


def has_provider_commands() -> bool:
    """Whether ``airflow batchy`` is there: Airflow 3.1 takes no commands of providers."""
    from airflow.providers_manager import ProvidersManager

    return hasattr(ProvidersManager, "cli_command_functions")


def has_connection_fields() -> bool:
    """Whether a connection's form has fields of its own: Airflow 3.1 makes them with FAB's widgets."""
    return has_provider_commands() or find_spec("flask_appbuilder") is not None


def serialized(dag: DAG) -> dict[str, Any]:
    """A DAG as Airflow stores it."""
    return _serialization().to_dict(dag)


def deserialized(data: dict[str, Any]) -> Any:
    """The same again, as the API server has it, with the links of its tasks."""
    serialization = _serialization()
    # Airflow clears tasks without links, and leaves the class like that for all that follows in the process.
    serialization._load_operator_extra_links = True
    return serialization.from_dict(data)


def _serialization() -> Any:
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization
    return DagSerialization


def core_timetable(dag: DAG) -> Any:
    """What the scheduler asks when the next run is due."""
    return as_core(dag.timetable)


def as_core(timetable: Any) -> Any:
    """A timetable of the SDK as the scheduler has it."""
    try:
        from airflow.serialization.encoders import coerce_to_core_timetable
    except ImportError:  # Airflow 3.1 has the core's alone
        return timetable
    return coerce_to_core_timetable(timetable)


def next_run_of(dag: Any, last: Any) -> Any:
    """The next run of a DAG as the scheduler has it, after the run `last`; None after the last one."""
    try:
        return dag.next_dagrun_info(last_automated_run_info=last)
    except TypeError:  # Airflow 3.1 and 3.2
        return dag.next_dagrun_info(None if last is None else last.data_interval)


def _timetables() -> SimpleNamespace:
    names = (
        "CronDataIntervalTimetable",
        "CronTriggerTimetable",
        "DeltaDataIntervalTimetable",
        "MultipleCronTriggerTimetable",
    )
    from airflow import sdk
    from airflow.timetables import interval, trigger

    def find(name: str) -> Any:
        return next(getattr(module, name) for module in (sdk, interval, trigger) if hasattr(module, name))

    return SimpleNamespace(**{name: find(name) for name in names})


TIMETABLES = _timetables()
"""What a DAG may be scheduled with: the SDK's, or, on Airflow 3.1, the core's."""


def cron_of(timetable: Any) -> tuple[str, str]:
    """Expression and timezone; Airflow 3.1 has the core's timetables, and keeps them under other names."""
    if hasattr(timetable, "expression"):
        return timetable.expression, str(timetable.timezone)
    return timetable._expression, timetable._timezone.name


HAS_TASK_SPANS = not __version__.startswith("3.1.")
"""What tracing there is in Airflow 3.1 is not of tasks."""


LOGIN_LEADS_BACK = not __version__.startswith(("3.1.", "3.2."))
"""After a login one comes to the page that one wanted: the simple auth manager of Airflow 3.1 and 3.2 forgets it."""


LATE_WEIGHT_RULES = not __version__.startswith("3.1.")
"""An unknown weight rule of a task is refused when its DAG is stored; by Airflow 3.1, when the task is made."""


CLEARS_SETUPS = not __version__.startswith(("3.1.", "3.2."))
"""A task that is cleared takes its setup and teardown along."""


HAS_HISTOGRAMS = not __version__.startswith(("3.1.", "3.2."))
"""Airflow sends a measured time as a histogram; before, as a gauge."""


HAS_SYNC_DEADLINES = not __version__.startswith("3.1.")
"""A notifier of a deadline may be a plain function."""


def telemetry(url: str) -> dict[str, str]:
    """Variables that let Airflow tell all to a collector of OpenTelemetry."""
    given = {
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__TRACES__OTEL_ON": str(HAS_TASK_SPANS),
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
        # Also the time that the last export of a process may take: one second is too little on a busy machine.
        "OTEL_METRIC_EXPORT_INTERVAL": "4000",
        # Each task is a process of its own: only differences can be added up.
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
    }
    if not HAS_TASK_SPANS:
        host, port = url.removeprefix("http://").split(":")
        given |= {
            "AIRFLOW__METRICS__OTEL_HOST": host,
            "AIRFLOW__METRICS__OTEL_PORT": port,
            "AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS": "4000",
        }
    return given


def use_stats_backend(backend: Callable[[], Any] | None) -> None:
    """Let Airflow's `Stats` make its backend by a class; None: it tells nobody."""
    from batchy_provider.compat import airflow_stats

    stats = airflow_stats()
    try:
        from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
    except ImportError:  # Airflow 3.1
        from airflow.metrics.base_stats_logger import NoStatsLogger

        type(stats).factory, stats.instance = backend or NoStatsLogger, None
        return
    try:
        stats.initialize(factory=backend or NoStatsLogger, export_legacy_names=True)
    except TypeError:  # Airflow 3.2
        stats.initialize(factory=backend or NoStatsLogger)


def store_dags() -> None:
    """Read the DAGs folder into the metadata database; `DAG.test` of Airflow 3.1 and 3.2 does so for a new DAG only."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    try:
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import BundleDagBag, sync_bag_to_db

        named: Any = {}
    else:
        named = {"bundle_name": "dags-folder"}

    for name in ("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "_AIRFLOW_PARSING_CONTEXT_TASK_ID"):
        os.environ.pop(name, None)  # the same versions leave behind that a task starts: then only its DAG is read
    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        found = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, **named)
        sync_bag_to_db(found, bundle.name, bundle.version)
