# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keys of a file that only a running Airflow can show: lists to run over, params of a run, notifications."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from airflow_versions import HAS_SYNC_DEADLINES
from nights import Nights

from batchy_provider.local.rest import wait_for

CLASSES = """
    from pathlib import Path

    from airflow.sdk import BaseNotifier, BaseOperator


    class Lister(BaseOperator):
        def execute(self, context):
            return [{"bash_command": "echo one"}, {"bash_command": "echo two; exit 1"}]


    class ToFile(BaseNotifier):
        template_fields = ("text",)

        def __init__(self, *, path, text):
            super().__init__()
            self.path, self.text = path, text

        def notify(self, context):
            with Path(self.path).open("a") as file:
                file.write(self.text + "\\n")


    class ToFileFromTriggerer(ToFile):
        def __init__(self, *, path, text, context=None):
            BaseNotifier.__init__(self, context=context)
            self.path, self.text = path, text

        async def async_notify(self, context):
            self.notify(context)
"""


EACH = """
    schedule: null
    jobs:
      load:
        env: {FORMAT: csv}
        for_each: [eu, {region: us}]
        bash: echo "loading $ITEM as $FORMAT from $BATCHY_FROM_DATE"
      list:
        operator: night_classes.Lister
      check:
        for_each: {from: list, at_once: 1}
        retries: 0
        operator: airflow.providers.standard.operators.bash.BashOperator
      publish:
        bash: echo never
      archive:
        after: []
        enabled: false
        for_each: [1, 2]
        bash: exit 1
"""
TELLING = """
    schedule: null
    run_params: {{region: eu, mode: {{default: fast, choices: [fast, slow]}}}}
    on_success: {{notifier: night_classes.ToFile, args: {{path: {file}, text: "run of {{{{ dag.dag_id }}}}"}}}}
    jobs:
      a:
        bash: echo "region $REGION, mode $MODE"
        env: {{REGION: "{{{{ params.region }}}}", MODE: "{{{{ params.mode }}}}"}}
        on_success:
          notifier: night_classes.ToFile
          args: {{path: {file}, text: "batch {{{{ batch.batch_id }}}}"}}
"""
LATE = """
    schedule: null
    deadline: {{within: 2s, notify: {{notifier: night_classes.{notifier}, args: {{path: {file}, text: late}}}}}}
    jobs: {{a: {{bash: sleep 8}}}}
"""


@dataclass
class Started:
    """One run of each workflow, started at the same time.

    :param runs: workflow → run id.
    :param files: workflow → the file to which its notifiers write.
    """

    runs: dict[str, str]
    files: dict[str, Path]


@pytest.fixture(scope="module")
def started(airflow: Nights, tmp_path_factory: pytest.TempPathFactory) -> Started:
    (airflow.plugins / "night_classes.py").write_text(dedent(CLASSES))
    folder = tmp_path_factory.mktemp("written")
    files = {workflow: folder / workflow for workflow in ("telling", "late")}
    notifier = "ToFile" if HAS_SYNC_DEADLINES else "ToFileFromTriggerer"
    airflow.add_all(
        {
            "each": EACH,
            "telling": TELLING.format(file=files["telling"]),
            "late": LATE.format(file=files["late"], notifier=notifier),
        }
    )
    runs = {workflow: airflow.start(workflow) for workflow in ("each", "late")}
    runs["telling"] = airflow.start("telling", conf={"region": "us"})
    return Started(runs, files)


def test_params_of_a_run_and_its_notifications(airflow: Nights, started: Started) -> None:
    run = started.runs["telling"]
    assert airflow.client.wait_for_run("telling", run) == "success"
    assert "region us, mode fast" in airflow.log("telling", run, "a")
    batch_id = airflow.batch("telling", run).batch_id

    def lines() -> list[str]:
        file = started.files["telling"]
        return file.read_text().splitlines() if file.exists() else []

    wait_for(lambda: len(lines()) == 2, "both notifications", timeout=240)
    assert sorted(lines()) == [f"batch {batch_id}", "run of telling"]


def test_a_job_runs_for_each_entry_of_a_list(airflow: Nights, started: Started) -> None:
    run = started.runs["each"]
    assert airflow.client.wait_for_run("each", run) == "failed"
    batch = airflow.batch("each", run)
    assert batch.status == "failed"
    assert {job: fields["outcome"] for job, fields in batch.jobs.items()} == {
        "load": "success",
        "list": "success",
        "check": "failed",
        "publish": "aborted",
        "archive": "skipped",
    }
    window = batch.jobs["load"]["from_date"]
    assert f"loading eu as csv from {window}" in log(airflow, run, 0)
    assert f'loading {{"region": "us"}} as csv from {window}' in log(airflow, run, 1)


def log(airflow: Nights, run: str, index: int) -> str:
    path = f"/dags/each/dagRuns/{run}/taskInstances/load/logs/1"
    content = airflow.client.request("GET", path, params={"full_content": True, "map_index": index})["content"]
    return "\n".join(str(line["event"]) for line in content)


def test_a_deadline_that_passes(airflow: Nights, started: Started) -> None:
    file = started.files["late"]
    assert airflow.client.wait_for_run("late", started.runs["late"]) == "success", "the batch goes on"
    wait_for(file.exists, "the deadline's notifier", timeout=240)
    assert file.read_text() == "late\n"
