# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which tasks a file becomes, what follows what, by which rule, and when it runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_versions import core_timetable, cron_of, serialized

from batchy_provider.dag_factory import build_dags

ROOT = Path(__file__).parents[3]


@pytest.fixture
def build(tmp_path: Path) -> Any:
    def build(text: str, name: str = "sales") -> DAG:
        (tmp_path / f"{name}.yaml").write_text(text)
        dags, diagnostics = build_dags(tmp_path)
        assert diagnostics == []
        return dags[name]

    return build


def edges(dag: DAG) -> dict[str, list[str]]:
    return {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks}


def rules(dag: DAG) -> dict[str, str]:
    return {task.task_id: task.trigger_rule.value for task in dag.tasks}


class TestShape:
    def test_waits_open_jobs_close(self, build: Any):
        dag = build("wait_for: [crm, erp]\njobs: {a: {bash: x}, b: {bash: x}}")
        assert edges(dag) == {
            "wait_for_crm": [],
            "wait_for_erp": [],
            "open": ["wait_for_crm", "wait_for_erp"],
            "a": ["open"],
            "b": ["a"],
            "close": ["b", "open"],
        }
        opening, closing = dag.get_task("open"), dag.get_task("close")
        assert opening.is_setup
        assert closing.is_teardown
        assert closing.on_failure_fail_dagrun
        assert not any(dag.get_task(name).is_setup or dag.get_task(name).is_teardown for name in ("a", "b"))

    def test_the_file_of_the_design(self, build: Any):
        dag = build(
            "jobs:\n"
            "  extract: {bash: x}\n"
            "  load: {bash: x, input: previous}\n"
            "  report: {independent: true, bash: x}\n"
            "  reconcile: {after: [extract], bash: x}\n"
            "  page_on_call: {after: [load], when: failed, bash: x}\n"
        )
        assert edges(dag) == {
            "open": [],
            "extract": ["open"],
            "load": ["extract"],
            "report": ["load"],
            "reconcile": ["extract"],
            "page_on_call": ["load"],
            "close": ["open", "page_on_call", "reconcile", "report"],
        }
        assert rules(dag) == {
            "open": "all_success",
            "extract": "all_success",  # Airflow allows no other rule right after a setup
            "load": "none_failed",
            "report": "all_done",
            "reconcile": "none_failed",
            "page_on_call": "one_failed",
            "close": "all_done_setup_success",
        }

    def test_close_waits_for_every_job_that_may_outlive_those_after_it(self, build: Any):
        dag = build("jobs: {a: {bash: x}, b: {bash: x, after: []}, c: {bash: x, after: [a, b]}}")
        assert edges(dag)["close"] == ["a", "b", "c", "open"]

    def test_only_state_jobs_are_opened(self, build: Any):
        dag = build(
            "infa: {folder: DWH}\nif_open: wait\n"
            "jobs: {a: {bash: x, params: {p: 1}}, b: {bash: x, enabled: false}, h: {bash: x, when: failed}}"
        )
        opening = dag.get_task("open")
        assert opening.jobs == {"a": {"p": 1}, "b": {}}
        assert opening.disabled_jobs == ["b"]
        assert opening.infa == {"folder": "DWH", "dates": "powercenter"}
        assert opening.if_open == "wait"

    def test_params_are_no_templates(self, build: Any):
        dag = build('jobs: {a: {bash: x, params: {text: "{# {{ ds }}\\n"}}}')
        opening = dag.get_task("open")
        opening.render_template_fields({"ds": "2026-01-01"})
        assert opening.jobs == {"a": {"text": "{# {{ ds }}\n"}}


class TestTasks:
    def test_settings_of_a_job_and_of_defaults(self, build: Any):
        dag = build(
            "owner: team\n"
            "defaults: {retries: 2, retry_delay: 5m, timeout: 1h, pool: p, queue: q, priority: 3}\n"
            "jobs:\n"
            "  a: {bash: x}\n"
            "  b: {bash: x, retries: 0, retry_delay: 1m, timeout: 2h, pool: r, queue: s, priority: 4,\n"
            "      owner: me, doc: '# b'}\n"
        )
        a, b = dag.get_task("a"), dag.get_task("b")
        assert (a.retries, a.retry_delay, a.execution_timeout) == (2, timedelta(minutes=5), timedelta(hours=1))
        assert (a.pool, a.queue, a.priority_weight, a.owner) == ("p", "q", 3, "team")
        assert (b.retries, b.retry_delay, b.execution_timeout) == (0, timedelta(minutes=1), timedelta(hours=2))
        assert (b.pool, b.queue, b.priority_weight, b.owner, b.doc_md) == ("r", "s", 4, "me", "# b")
        assert dag.get_task("open").owner == "team"
        assert dag.get_task("open").pool != "p"

    def test_script(self, build: Any, tmp_path: Path):
        (tmp_path / "load").mkdir()
        (tmp_path / "load" / "script.sh").touch()
        dag = build(
            "connection: other\n"
            "defaults: {env: {A: 1}, kill_grace: 3s, limits: {cpu: 1m, memory: 1M, open_files: 64, file_size: 2K}}\n"
            "jobs: {a: {bash: x}, b: {bundle: load, input: a, env: {B: b}, inherit_env: true}}"
        )
        a, b = dag.get_task("a"), dag.get_task("b")
        assert (a.bash_command, a.bundle, a.input_from, a.env, a.inherit_env) == ("x", None, None, {"A": "1"}, False)
        assert (b.bash_command, b.bundle, b.input_from) == (None, str(tmp_path / "load"), "a")
        assert (b.env, b.inherit_env, b.previous, b.workflow, b.job) == (
            {"A": "1", "B": "b"},
            True,
            ("a",),
            "sales",
            "b",
        )
        assert b.kill_grace_seconds == 3
        assert b.limits == {"cpu_seconds": 60, "memory_bytes": 1024**2, "open_files": 64, "file_bytes": 2048}
        assert {dag.get_task(name).redis_conn_id for name in ("open", "a", "b", "close")} == {"other"}

    def test_bundles_are_looked_for_in_the_bundles_folder_too(self, build: Any, tmp_path: Path):
        (tmp_path / "bundles").mkdir()
        (tmp_path / "bundles" / "x.zip").touch()
        dag = build("jobs: {a: {bundle: x.zip}, b: {bundle: 's3://bucket/y.zip'}}")
        assert dag.get_task("a").bundle == str(tmp_path / "bundles" / "x.zip")
        assert dag.get_task("b").bundle == "s3://bucket/y.zip"

    def test_any_operator(self, build: Any):
        dag = build(
            "jobs: {a: {operator: airflow.providers.standard.operators.bash.BashOperator, "
            "args: {bash_command: 'echo {{ batch.from_date }}', append_env: true}, retries: 3}}"
        )
        task = dag.get_task("a")
        assert type(task).__name__ == "BashOperator"
        assert (task.bash_command, task.append_env, task.retries) == ("echo {{ batch.from_date }}", True, 3)

    def test_wait(self, build: Any):
        dag = build(
            "timezone: Europe/Paris\n"
            "wait_for:\n"
            "  - crm\n"
            "  - {workflow: erp, jobs: orders, scope: {within: 12h}, timeout: 4h, on_failed: fail, timezone: UTC}\n"
            "jobs: {a: {bash: x}}"
        )
        crm, erp = dag.get_task("wait_for_crm"), dag.get_task("wait_for_erp")
        assert (crm.workflow, crm.jobs, crm.scope, crm.timezone, crm.on_failed) == (
            "crm",
            None,
            "today",
            "Europe/Paris",
            "wait",
        )
        assert (erp.jobs, erp.scope, erp.timezone, erp.on_failed) == (
            ["orders"],
            {"within": timedelta(hours=12)},
            "UTC",
            "fail",
        )
        assert erp.timeout == 4 * 3600


class TestSchedule:
    def test_what_is_not_said(self, build: Any):
        dag = build("jobs: {a: {bash: x}}")
        assert (dag.schedule, dag.catchup, dag.max_active_runs) == (None, False, 1)

    def test_a_cron_is_of_its_timezone(self, build: Any):
        dag = build(
            'timezone: Europe/Paris\nschedule: "0 2 * * *"\nstart_date: 2026-01-01\nend_date: 2026-07-01T12:00:00Z\n'
            "catchup: true\nmax_active_runs: 2\ntags: [b, a]\ndescription: D\ndoc: '# D'\n"
            "paused: false\njobs: {a: {bash: x}}"
        )
        assert type(dag.timetable).__name__ == "CronTriggerTimetable"
        assert cron_of(dag.timetable) == ("0 2 * * *", "Europe/Paris")
        assert dag.start_date == datetime(2025, 12, 31, 23, tzinfo=timezone.utc)
        assert dag.end_date == datetime(2026, 7, 1, 12, tzinfo=timezone.utc)
        assert (dag.catchup, dag.max_active_runs, dag.tags, dag.description) == (True, 2, {"a", "b"}, "D")
        assert (dag.doc_md, dag.is_paused_upon_creation) == ("# D", False)

    def test_a_cron_keeps_its_local_time_when_clocks_change(self, build: Any):
        from airflow.timetables.base import TimeRestriction
        from pendulum import instance

        head = "timezone: Europe/Paris\nstart_date: 2026-01-01\ncatchup: true\njobs: {a: {bash: x}}\nschedule: "
        for cron, since, fires in (
            # At half past two in winter and in summer; on the day that has no such time, an hour later.
            ("30 2 * * *", "2026-03-28", ["2026-03-28T01:30", "2026-03-29T01:30", "2026-03-30T00:30"]),
            # On the day that has it twice, once: the second time.
            ("30 2 * * *", "2026-10-24", ["2026-10-24T00:30", "2026-10-25T01:30", "2026-10-26T01:30"]),
            ("0 6 * * *", "2026-10-24", ["2026-10-24T04:00", "2026-10-25T05:00", "2026-10-26T05:00"]),
        ):
            timetable = core_timetable(build(f'{head}"{cron}"'))
            begin = instance(datetime.fromisoformat(since).replace(tzinfo=timezone.utc))
            last, fired = None, []
            for _ in fires:
                restriction = TimeRestriction(earliest=begin, latest=None, catchup=True)
                info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
                fired.append(info.run_after.in_timezone("UTC").strftime("%Y-%m-%dT%H:%M"))
                last = info.data_interval
            assert fired == fires, cron

    def test_presets_and_several_crons(self, build: Any):
        assert cron_of(build("schedule: '@daily'\njobs: {a: {bash: x}}").timetable) == ("0 0 * * *", "UTC")
        several = build("schedule: ['0 6 * * *', '@weekly']\njobs: {a: {bash: x}}").timetable
        each = getattr(several, "timetables", None) or several._timetables
        assert [cron_of(one)[0] for one in each] == ["0 6 * * *", "0 0 * * 0"]
        assert type(build("schedule: '@once'\njobs: {a: {bash: x}}").timetable).__name__ == "OnceTimetable"

    def test_after_other_workflows(self, build: Any):
        dag = build("schedule: {after: [crm, erp]}\njobs: {a: {bash: x}}")
        assets = dag.timetable.asset_condition.objects
        assert [asset.uri.rstrip("/") for asset in assets] == ["batchy://crm", "batchy://erp"]


@pytest.mark.slow
def test_serialized_dags_are_the_same_from_parse_to_parse():
    code = (
        "import json, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from airflow_versions import serialized\n"
        "from batchy_provider.dag_factory import build_dags\n"
        f"dags, diagnostics = build_dags({str(ROOT / 'cfg')!r})\n"
        "assert not diagnostics, diagnostics\n"
        "for _ in range(2):\n"
        # Airflow puts the keys in an order of its own before it compares; lists have to be as they are.
        "    all_of_them = {name: serialized(dag) for name, dag in dags.items()}\n"
        "    print(json.dumps(all_of_them, sort_keys=True))\n"
    )
    digests = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith(b"{")]
        assert len(lines) == 2
        digests |= {hashlib.sha256(line).hexdigest() for line in lines}
    assert len(digests) == 1


def test_no_source_code_is_serialized(build: Any):
    assert "_pre_execute_hook" not in str(serialized(build("jobs: {a: {bash: x}}")))
