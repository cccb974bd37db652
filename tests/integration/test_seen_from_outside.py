# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a night sends to OpenTelemetry: workers and the triggerer of a whole Airflow, and a real receiver."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_versions import HAS_HISTOGRAMS, HAS_TASK_SPANS
from nights import Nights
from otlp_receiver import Receiver, Span

from batchy_provider.local.rest import wait_for

SCRIPT = """\
echo "parent=${TRACEPARENT:-none}"
echo '::batchy {"progress": 0.5}'
"""
WORKFLOW = """\
wait_for: [seen_source]
defaults: {retries: 0}
jobs:
  extract: {bundle: seen}
  load: {bash: "echo password=hunter2 >&2; exit 3"}
"""


@pytest.fixture(scope="module")
def night(airflow: Nights) -> tuple[str, str]:
    """A night that waits for another workflow in the triggerer, then runs a job that succeeds and one that fails."""
    airflow.add("seen_source", 'jobs: {a: {bash: "true"}}\n')
    workflow = airflow.add("seen", WORKFLOW, scripts={"seen": SCRIPT})
    run_id = airflow.start(workflow)
    reached = wait_for(lambda: _waits_or_has_ended(airflow, workflow, run_id), "the wait", timeout=600)
    assert reached == "deferred", airflow.log(workflow, run_id, "wait_for_seen_source")
    assert airflow.run("seen_source", timeout=300)[1] == "success"
    assert airflow.client.wait_for_run(workflow, run_id, timeout=300) == "failed"
    return workflow, run_id


def _waits_or_has_ended(airflow: Nights, workflow: str, run_id: str) -> str | None:
    state = airflow.tasks(workflow, run_id).get("wait_for_seen_source")
    return state if state in ("deferred", "success", "failed") else None


def one(receiver: Receiver, name: str, **attributes: Any) -> Span:
    def found() -> list[Span]:
        return [span for span in receiver.spans(**attributes) if span.name == name]

    spans = wait_for(found, f"span {name} {attributes}", timeout=240)
    assert len(spans) == 1, spans
    return spans[0]


def total(receiver: Receiver, name: str, **tags: Any) -> float:
    """What all processes have counted together, or measured."""
    points = wait_for(lambda: receiver.points(f"airflow.{name}", **tags), f"{name} {tags}", timeout=240)
    assert all(point.is_delta or (name.endswith(".duration") and not HAS_HISTOGRAMS) for point in points)
    return sum(point.value for point in points)


def gauge(receiver: Receiver, name: str, **tags: Any) -> list[float]:
    """All values of a gauge, in the order in which they came."""
    points = wait_for(lambda: receiver.points(f"airflow.{name}", **tags), f"{name} {tags}", timeout=240)
    return [point.value for point in points]


def test_a_night_counts(night: tuple[str, str], airflow: Nights, otlp: Receiver) -> None:
    assert total(otlp, "batchy.batch.opened", workflow="seen", kind="live", reason="next") == 1
    assert total(otlp, "batchy.batch.closed", workflow="seen", status="failed") == 1
    assert total(otlp, "batchy.batch.closed", workflow="seen_source", status="success") == 1
    assert total(otlp, "batchy.execution.ended", workflow="seen", job="extract", state="success") == 1
    assert total(otlp, "batchy.execution.ended", workflow="seen", job="load", state="failed") == 1
    assert total(otlp, "batchy.execution.output_bytes", workflow="seen", job="extract") > 0
    assert 0.5 in gauge(otlp, "batchy.execution.progress", workflow="seen", job="extract")
    assert total(otlp, "batchy.batch.duration", workflow="seen", status="failed") > 0
    assert max(gauge(otlp, "batchy.batch.window_seconds", workflow="seen")) > 0


def test_a_wait_in_the_triggerer_counts(night: tuple[str, str], otlp: Receiver) -> None:
    assert total(otlp, "batchy.wait.ended", workflow="seen_source", state="done") == 1
    assert total(otlp, "batchy.wait.duration", workflow="seen_source", state="done") > 0
    # The last value says that nobody waits.
    wait_for(
        lambda: gauge(otlp, "batchy.waits.running", workflow="seen_source")[-1] == 0, "the gauge at 0", timeout=240
    )
    assert 1 in gauge(otlp, "batchy.waits.running", workflow="seen_source")


def test_what_a_person_does_by_rest_counts(night: tuple[str, str], airflow: Nights, otlp: Receiver) -> None:
    client = airflow.rest()
    assert client.post("/batchy/api/v1/workflows/seen/batches", json={}).status_code in (200, 201)
    assert total(otlp, "batchy.changes", workflow="seen", action="open", source="rest") == 1
    assert client.get("/batchy/fail_batch/seen").status_code == 200


@pytest.mark.skipif(not HAS_TASK_SPANS, reason="Airflow 3.1 sets up no tracing in tasks")
class TestSpans:
    def test_open_jobs_and_close_are_children_of_their_tasks(
        self, night: tuple[str, str], airflow: Nights, otlp: Receiver
    ) -> None:
        workflow, run_id = night
        batch = airflow.batch(workflow, run_id)
        opened = one(otlp, "batchy.open", workflow=workflow, batch_id=batch.batch_id)
        extract = one(otlp, "batchy.execution", workflow=workflow, job="extract", exit_code=0)
        load = one(otlp, "batchy.execution", workflow=workflow, job="load", exit_code=3)
        closed = one(otlp, "batchy.close", workflow=workflow, status="failed")
        assert extract.attributes["batchy.batch_id"] == batch.batch_id
        assert extract.attributes["batchy.from_date"] == batch.from_date
        assert {span.trace_id for span in (opened, extract, load, closed)} == {opened.trace_id}
        names = {span.span_id: span.name for span in otlp.all_spans()}
        assert [names.get(span.parent_id) for span in (opened, extract, load, closed)] == [
            "worker.open",
            "worker.extract",
            "worker.load",
            "worker.close",
        ]

    def test_a_wait_is_as_long_as_it_was(self, night: tuple[str, str], otlp: Receiver) -> None:
        wait = one(otlp, "batchy.wait", state="done", workflows=["seen_source"])
        assert wait.seconds > 0.5

    def test_a_script_gets_the_span_it_runs_in(self, night: tuple[str, str], airflow: Nights, otlp: Receiver) -> None:
        span = one(otlp, "batchy.execution", workflow=night[0], job="extract")
        assert f"parent=00-{span.trace_id}-{span.span_id}-" in airflow.log(*night, "extract")

    def test_a_failure_is_sent_without_what_the_script_wrote(self, night: tuple[str, str], otlp: Receiver) -> None:
        span = one(otlp, "batchy.execution", workflow=night[0], job="load")
        assert (span.failed, "exit code 3" in span.message) == (True, True)
        assert "hunter2" not in f"{span}"
