# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Two schedulers on one database, one of them killed: each run opens one batch, and each warning is heard once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from browser import Reader
from nights import Nights
from playwright.sync_api import expect
from world_stores import Clock

from batchy_provider.config.reader import WARNINGS_DAG
from batchy_provider.config.reader import Reader as FileReader
from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.local.process import Guard, Service
from batchy_provider.local.rest import wait_for
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

NOTIFIER = """\
from airflow.sdk import BaseNotifier


class Writer(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, file, text):
        super().__init__()
        self.file = file
        self.text = text

    def notify(self, context):
        with open(self.file, "a") as file:
            file.write(self.text + "\\n")

    async def async_notify(self, context):
        self.notify(context)
"""
SOURCE = """\
schedule: "{minute} {hour} * * *"
timezone: UTC
jobs:
  load:
    retries: 5
    retry_delay: 1s
    bash: |
      until test -e {marker}; do sleep 0.5; done
"""
REPORT = """\
schedule: "{minute} {hour} * * *"
timezone: UTC
wait_for: {{workflow: warned_source, scope: due}}
deadline:
  within: 85m
  warn: true
  notify:
    notifier: warning_notifiers.Writer
    args: {{file: {heard}, text: "{{{{ warning.kind }}}} {{{{ warning.workflow }}}}: {{{{ warning.text }}}}"}}
jobs: {{load: {{bash: "true"}}}}
"""


@pytest.fixture
def second(airflow: Nights) -> Iterator[Service]:
    """A second scheduler, with workers of its own; the first one runs again afterwards."""
    guard = Guard()
    stack = airflow.stack
    service = Service(
        "Airflow's second scheduler",
        [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"],
        log=stack.folder / "logs" / "scheduler-2.log",
        env=stack.environment,
        watch=lambda pid: guard.watch(1, pid),
    )
    service.start()

    def both() -> bool:
        asked = {"job_type": "SchedulerJob", "is_alive": True}
        return bool(stack.client.request("GET", "/jobs", params=asked)["total_entries"] >= 2)

    try:
        wait_for(both, "two schedulers to be alive", timeout=240)
        yield service
    finally:
        if not stack.service("scheduler").alive():
            stack.restart("scheduler")
        service.stop()
        guard.dismiss()


def test_each_run_opens_one_batch_whichever_scheduler_is_killed(airflow: Nights, second: Service) -> None:
    airflow.add(
        "shared",
        """
        schedule: null
        defaults: {retries: 5, retry_delay: 1s}
        jobs:
          load: {bash: "sleep 0.5"}
        """,
    )
    runs = [airflow.start("shared") for _ in range(3)]
    wait_for(lambda: airflow.tasks("shared", runs[0]).get("open") == "success", "a batch to be open", timeout=240)
    airflow.stack.service("scheduler").kill()
    assert airflow.client.wait_for_run("shared", runs[0], timeout=240) == "success"
    airflow.stack.restart("scheduler")
    second.kill()
    for run in runs[1:]:
        assert airflow.client.wait_for_run("shared", run, timeout=240) == "success"
    batches = sorted(airflow.store.history("shared"), key=lambda batch: batch.batch_id)
    assert [batch.record.run for batch in batches if batch.record] == runs, "one batch for each run, in order"
    assert {batch.status for batch in batches} == {"success"}
    for before, after in pairwise(batches):
        assert after.from_date == before.to_date


def past(airflow: Nights, name: str, seconds: float) -> None:
    """Let each of the last five nights have taken about so long."""
    clock = Clock()
    store = Store(open_client(airflow.stack.redis_url), clock=clock.read)
    found, diagnostics = FileReader(airflow.cfg).read(airflow.cfg / f"{name}.yaml")
    assert found is not None, diagnostics
    for nights in range(5, 0, -1):
        clock.now = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=nights)
        batch = store.open(name, OpenRequest(config=found.config()))
        took = {"load": seconds * (0.9 + nights / 20)}
        store.close(name, CloseRequest(result="success", batch_id=batch.batch_id, seconds=took))


def scheduled(airflow: Nights, dag_id: str) -> str:
    """Wait for the run that a scheduler makes by itself, and return its id."""

    def found() -> str | None:
        return next((run["dag_run_id"] for run in airflow.client.runs(dag_id, run_type="scheduled")), None)

    return str(wait_for(found, f"a scheduled run of {dag_id}", timeout=240))


def test_a_warning_comes_before_the_deadline_and_once_if_either_scheduler_is_killed(
    airflow: Nights, second: Service, reader: Callable[..., Reader], tmp_path: Path
) -> None:
    heard, marker = tmp_path / "heard", tmp_path / "loaded"
    heard.touch()
    (airflow.plugins / "warning_notifiers.py").write_text(dedent(NOTIFIER))
    # They begin an hour late. The deadline is in 25 minutes, and the source usually takes 40: tonight a miss is likely,
    # and tomorrow it is not.
    due = datetime.now(timezone.utc) - timedelta(minutes=60)
    at = {"minute": due.minute, "hour": due.hour, "marker": marker, "heard": heard}
    files = {"warned_source": SOURCE.format(**at), "warned_report": REPORT.format(**at)}
    for name, text in files.items():
        (airflow.cfg / f"{name}.yaml").write_text(text)
    past(airflow, "warned_source", 2400)
    past(airflow, "warned_report", 60)
    airflow.add_all(files)
    airflow.ready(WARNINGS_DAG)
    source, report = scheduled(airflow, "warned_source"), scheduled(airflow, "warned_report")
    wait_for(lambda: airflow.tasks("warned_source", source).get("open") == "success", "its batch", timeout=240)
    waits = "wait_for_warned_source"
    wait_for(lambda: airflow.tasks("warned_report", report).get(waits) == "deferred", "its wait", timeout=240)

    def evaluate() -> list[str]:
        """Evaluate, beside what the schedule does, and return what was heard so far."""
        assert airflow.run(WARNINGS_DAG)[1] == "success"
        return [line.partition(":")[0] for line in heard.read_text().splitlines()]

    danger = "danger warned_report"
    assert evaluate() == [danger]
    assert "warned_source" in heard.read_text(), "it names the upstream"
    with airflow.rest() as rest:

        def get(path: str) -> Any:
            return rest.get(f"/batchy/api/v1/{path}").raise_for_status().json()

        (warning,) = get("workflows/warned_report/warnings")
        assert warning["since"] < f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}" < warning["deadline"]
        assert [link["workflow"] for link in warning["chain"]] == ["warned_report", "warned_source"]
        assert get("overview/warned_report")["row"]["warning"] == warning
        chain = get("workflows/warned_report/why")["chain"]
        found = [(link["workflow"], link["code"]) for link in chain]
        assert found == [("warned_report", "waiting"), ("warned_source", "running")]
        assert 'batchy_workflow_warning{workflow="warned_report"} 1' in rest.get("/batchy/api/v1/metrics").text

        frame = reader().alone("workflows/warned_report")
        expect(frame.get_by_role("region", name="Warning")).to_contain_text("It will probably miss its deadline")

        airflow.stack.service("scheduler").kill()
        assert evaluate() == [danger], "the other scheduler evaluates, and says it no second time"
        airflow.stack.restart("scheduler")
        second.kill()
        marker.touch()
        assert airflow.client.wait_for_run("warned_report", report, timeout=240) == "success"
        over = [danger, "over warned_report"]
        assert evaluate() == over
        assert get("workflows/warned_report/warnings") == []
        assert evaluate() == over
