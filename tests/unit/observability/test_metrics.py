# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What each backend of Airflow's metrics gets, and that its errors never reach a task."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from airflow_versions import use_stats_backend
from redis import Redis

from batchy_provider.core.values import (
    Actor,
    Batch,
    BatchRecord,
    CloseRequest,
    Holder,
    OpenRequest,
    Window,
    WorkflowConfig,
)
from batchy_provider.core.vocabulary import Reason
from batchy_provider.observability import metrics
from batchy_provider.services.answers import Audit
from batchy_provider.state.store import Store

CONFIG = WorkflowConfig(name="sales.eu", jobs={"load": {}})
Sent = list[tuple[str, str, Any, dict[str, str] | None]]


class Backend:
    """What Airflow hands metrics to; it keeps them."""

    def __init__(self) -> None:
        self.sent: Sent = []

    def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
        self.sent.append(("counter", stat, count, tags))

    def gauge(self, stat: str, value: float, rate: float = 1, delta: bool = False, *, tags: Any = None) -> None:
        self.sent.append(("gauge", stat, value, tags))

    def timing(self, stat: str, dt: Any, *, tags: Any = None) -> None:
        self.sent.append(("timer", stat, dt, tags))


@pytest.fixture
def forget() -> Iterator[None]:
    """What was found out about the configuration is found out anew."""
    caches = (metrics._stats, metrics._without_tags)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def backend(forget: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Sent]]:
    """Airflow's own `Stats`, with a backend that keeps what it gets; takes the option that switches it on."""
    with suppress(ImportError):  # it sets up `Stats` when it is imported; Airflow 3.1 has none
        import airflow.sdk.serde  # noqa: F401
    made = Backend()

    def switch_on(option: str) -> Sent:
        monkeypatch.setenv(f"AIRFLOW__METRICS__{option}", "True")
        use_stats_backend(type("Made", (), {"__new__": lambda cls: made}))
        return made.sent

    yield switch_on
    use_stats_backend(None)


@pytest.fixture
def store(redis_client: Redis) -> Store:
    return Store(redis_client)


def test_why_a_batch_has_its_window(store: Store, backend: Any) -> None:
    sent = backend("OTEL_ON")

    def night(run: str, **request: Any) -> str:
        before = len(sent)
        holder = Holder(dag_id="sales.eu", run_id=run)
        metrics.opened(store.open("sales.eu", OpenRequest(config=CONFIG, holder=holder, **request)))
        return " ".join(tags["reason"] for _, stat, _, tags in sent[before:] if stat == metrics.OPENED.name)

    def close(run: str) -> None:
        batch = store.batch_of_run("sales.eu", run)
        assert batch is not None
        store.close("sales.eu", CloseRequest(result="success", batch_id=batch.batch_id))

    old = Window(from_date="2026-01-01", to_date="2026-01-02")
    assert night("r1") == "next"
    assert night("r1") == "", "it was open already"
    close("r1")
    assert night("r1") == "again"
    assert night("r2", if_open="take_over") == "taken_over"
    close("r2")
    assert night("r3", window=old) == "asked"
    assert night("r4", window=old, move_watermark=True) == "asked"
    close("r4")
    assert night("r5", window=old, backfill=True) == "backfill"


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_for_a_window_has_a_tag(backend: Any, reason: Reason) -> None:
    sent = backend("OTEL_ON")
    moment = "2026-01-02T00:00:00.000000"
    record = BatchRecord(
        kind="live", started=moment, to_date=moment, day="2026-01-02", reason="", reason_code=reason.value
    )
    metrics.opened(Batch(workflow="sales", batch_id=1, status="open", kind="live", jobs={}, record=record))
    assert [tags["reason"] for _, stat, _, tags in sent if stat == metrics.OPENED.name] != []


def test_a_batch_that_is_closed(store: Store, backend: Any) -> None:
    sent = backend("OTEL_ON")
    store.open("sales.eu", OpenRequest(config=CONFIG))
    time.sleep(0.01)
    metrics.closed(store.close("sales.eu", CloseRequest(result="failed")), attempt=3)
    tags = {"workflow": "sales.eu", "kind": "live", "status": "failed"}
    retried = ("counter", "batchy.batch.retried", 1, {"workflow": "sales.eu", "step": "close"})
    assert sent[:2] == [retried, ("counter", "batchy.batch.closed", 1, tags)]
    ((kind, stat, took, with_tags),) = sent[2:]
    assert (kind, stat, with_tags) == ("timer", "batchy.batch.duration", tags)
    assert timedelta() < took < timedelta(minutes=1)


def test_plain_statsd_gets_names_with_the_values_too(backend: Any) -> None:
    sent = backend("STATSD_ON")
    metrics.waited(["sales.eu"], "done", 2.5)
    assert [stat for _, stat, _, _ in sent] == [
        "batchy.wait.ended",
        "batchy.wait.ended.sales__eu.done",
        "batchy.wait.duration",
        "batchy.wait.duration.sales__eu.done",
    ]


@pytest.mark.parametrize("option", ["OTEL_ON", "STATSD_DATADOG_ENABLED", "STATSD_INFLUXDB_ENABLED"])
def test_other_backends_get_tags_only(backend: Any, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if option == "STATSD_INFLUXDB_ENABLED":
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    sent = backend(option)
    metrics.emit(metrics.REDIS_LOST, 1)
    metrics.emit(metrics.OUTPUT, 5, workflow="sales", job="load")
    assert [stat for _, stat, _, _ in sent] == ["batchy.waits.redis_lost", "batchy.execution.output_bytes"]


def test_a_dot_in_a_name_adds_no_level() -> None:
    tags = {"workflow": "sales.eu", "kind": "live", "reason": "next"}
    assert metrics.dotted_name(metrics.OPENED, tags) == "batchy.batch.opened.sales__eu.live.next"


def test_gauges_of_waits_end_at_0(backend: Any) -> None:
    sent = backend("OTEL_ON")
    gauges = metrics.WaitGauges()
    now = time.monotonic()
    gauges.report({"sales": [now - 100, now]})
    values = {(stat, tags["workflow"]): value for _, stat, value, tags in sent}
    assert values["batchy.waits.running", "sales"] == 2
    assert 100 <= values["batchy.waits.oldest_seconds", "sales"] < 160
    sent.clear()
    gauges.report({})
    assert [(stat, value) for _, stat, value, _ in sent] == [
        ("batchy.waits.running", 0),
        ("batchy.waits.oldest_seconds", 0),
    ]
    sent.clear()
    gauges.report({})
    assert sent == []


def test_a_change_by_a_person(backend: Any) -> None:
    sent = backend("OTEL_ON")
    metrics.changed(Audit(workflow="sales", action="set_window", actor=Actor("ann", "web")))
    tags = {"workflow": "sales", "action": "set_window", "source": "web"}
    assert sent == [("counter", "batchy.changes", 1, tags)]


def test_an_error_of_the_backend_does_not_reach_the_task(forget: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    called = []

    class Broken:
        def __init__(self) -> None:
            called.append(1)
            raise ValueError("a port that is none")

    use_stats_backend(Broken)
    try:
        record = BatchRecord(kind="live", started="?", to_date="?", day="?", reason="next window")
        metrics.opened(Batch(workflow="sales", batch_id=1, status="open", kind="live", jobs={}, record=record))
    finally:
        use_stats_backend(None)
    assert called


@pytest.mark.slow
def test_with_metrics_off_nothing_is_imported() -> None:
    program = (
        "import sys, airflow.sdk; from airflow.providers.common.compat.sdk import conf\n"
        "before = set(sys.modules)\n"
        "from batchy_provider.observability import metrics, traces\n"
        "metrics.emit(metrics.REDIS_LOST, 1)\n"
        "with traces.span('x', a=1) as span: span.set(b=2); span.failed('no')\n"
        "traces.record('y', 0.0); print(traces.carrier())\n"
        "print([name for name in set(sys.modules) - before if not name.startswith('batchy_provider')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["{}", "[]"]
