# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflow files whose DAGs a later parse builds from blueprints, and what a parse of them made."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.compat import serialize_dag
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.reader import Reader
from batchy_provider.dag_factory import build_dags, build_record
from batchy_provider.dag_factory.blueprint import Blueprint, blueprint_of

SCRIPT = "schedule: '@daily'\njobs: {a: {bash: echo 1}}\n"
PLAIN = {
    "script": SCRIPT,
    "no_schedule": "jobs: {a: {bash: echo}}\n",
    "once": "schedule: '@once'\njobs: {a: {bash: echo}}\n",
    "continuous": "schedule: '@continuous'\nstart_date: 2026-01-01\njobs: {a: {bash: echo}}\n",
    "crons": "schedule: ['0 2 * * *', '30 14 * * mon-fri']\ntimezone: Europe/Paris\njobs: {a: {bash: echo}}\n",
    "after": "schedule: {after: [script, once], any: true, result: closed, outside: true}\njobs: {a: {bash: echo}}\n",
    "same_day": "schedule: {after: [script, once], same_day: true}\nconnection: other\njobs: {a: {bash: echo}}\n",
    "times_and_after": "schedule: {cron: '@hourly', after: script, result: failed}\njobs: {a: {bash: echo}}\n",
    "times": "schedule: {cron: ['0 1 * * *', '0 5 * * *']}\njobs: {a: {bash: echo}}\n",
    "dates": "start_date: 2026-01-01T06:30:00\nend_date: 2030-05-05T00:00:00+05:30\ntimezone: Asia/Tokyo\n"
    "schedule: '@daily'\ncatchup: true\nmax_active_runs: 3\nmax_active_jobs: 2\nrun_timeout: 1h30m\npaused: true\n"
    "tags: [b, a, b]\ndescription: 'Größe {{ x }}'\ndoc: \"# Title\\n\\ttabs\"\njobs: {a: {bash: echo}}\n",
    "waits": "wait_for: [script, {workflow: once, jobs: [a], scope: {within: 1.5h}, timeout: 90s, on_failed: fail},\n"
    "  {workflow: crons, scope: since_last_run, timezone: Asia/Tokyo}]\nowner: team\njobs: {a: {bash: echo}}\n",
    "window": "window: {until: {workflows: [script]}, delay: 90s, align: hour, max: 1d, if_empty: run}\nif_open: wait\n"
    "infa: {folder: F, dates: iso}\njobs: {a: {bash: echo}}\n",
    "settings": "defaults: {retries: 2, retry_delay: 0.25s, max_retry_delay: 1h, timeout: 4h, env: {A: x}, queue: q,\n"
    "  owner: o, reprocess_hours: 1.5}\njobs:\n  a: {bash: echo, pool: p, priority: 7, env: {B: 1}, doc: '# A'}\n"
    "  b: {bash: cat, input: previous, independent: true, kill_grace: 3s, background_timeout: 1m, inherit_env: true}\n"
    "  c: {bash: cat, after: [a], limits: {cpu: 10m, memory: 512M, open_files: 64, file_size: 2G},\n"
    "    retry_backoff: true}\n"
    "  d: {bash: cat, after: [], enabled: false, trunc_start: true, initial_date: 2020-01-01}\n"
    "  e: {bash: 'echo {{ batch.from_date }}', when: failed, params: {p: [1, {x: null}]}, args: [x, '{{ ds }}']}\n"
    "  f: {bash: echo, when: failed, enabled: false}\n",
    "bundle": "jobs: {a: {bundle: load, args: [--fast], inputs: ['s3://b/p'], outputs: ['s3://b/q'],\n"
    f"  params: {{'$x': 'a\\tb', n: 1.0e+20, big: {2**63 - 1}, '': [true, null]}}}}}}\n",
}
MORE = {
    "operator": "jobs: {a: {operator: airflow.providers.standard.operators.empty.EmptyOperator}}\n",
    "notifier": "on_failure: x.Notifier\njobs: {a: {bash: echo}}\n",
    "notified_job": "jobs: {a: {bash: echo, on_retry: x.Notifier}}\n",
    "list": "jobs: {a: {bash: echo, for_each: [1, 2]}}\n",
    "form": "run_params: {region: eu}\njobs: {a: {bash: echo}}\n",
    "deadline": "deadline: {within: 1h, notify: x.Notifier}\njobs: {a: {bash: echo}}\n",
    "calendar": "schedule: {cron: '0 2 * * *', calendar: shop}\njobs: {a: {bash: echo}}\n",
}


def folder_of_blueprints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enough workflows for blueprints to be used, and the one that tests edit, `script`."""
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    for folder in ("tmp", "cfg/bundles/load"):
        (tmp_path / folder).mkdir(parents=True)
    folder = tmp_path / "cfg"
    (folder / "bundles" / "load" / "script.sh").write_text("echo\n")
    (folder / "_calendars.yaml").write_text("shop: {weekend: [sun]}\n")
    for number in range(build_record.MIN_CACHED - len(PLAIN)):
        (folder / f"more_{number}.yaml").write_text(SCRIPT)
    for name, text in PLAIN.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def watch_checks(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workflows whose models were made since the first parse, of the file and of its cached data alike."""
    assert build_dags(cfg)[1] == []
    names: list[str] = []
    real = WorkflowModel.model_validate

    def spy(data: Any, **more: Any) -> Any:
        names.append(data.get("description", "?"))
        return real(data, **more)

    monkeypatch.setattr(WorkflowModel, "model_validate", spy)
    return names


def command(cfg: Path, name: str = "script") -> str:
    """What the script of a workflow runs by the DAGs of a parse."""
    task: Any = build_dags(cfg)[0][name].get_task("a")
    return str(task.bash_command)


def attributes(dag: Any) -> Any:
    """What a DAG says, to Airflow's database and to the process of a task."""
    tasks = {
        task.task_id: {
            name: getattr(task, name, None)
            for name in (*task.template_fields, "previous", "retries", "retry_delay", "job_params", "window")
        }
        | {"check": vars(task).get("pre_execute")}
        for task in dag.tasks
    }
    return json.dumps(serialize_dag(dag), sort_keys=True), dag.user_defined_macros, dag.template_searchpath, tasks


def of_text(folder: Path, name: str, text: str) -> Blueprint:
    workflow, diagnostics = Reader(folder).read_text(folder / f"{name}.yaml", text)
    assert diagnostics == []
    assert workflow is not None
    return blueprint_of(workflow)
