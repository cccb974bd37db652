# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Keys of runs (params, notifiers, deadlines) and jobs over a list, as Airflow gets them."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseNotifier, BaseOperator
from airflow_versions import serialized

from batchy_provider.dag_factory import build_dags

JOB = "jobs: {a: {bash: x}}\n"
HERE = "tests.unit.dag_factory.test_runs_and_lists"


class Told(BaseNotifier):
    """A notifier that can be called from a task or a DAG's end only."""

    template_fields = ("text",)

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        messages.append(self.text)


class AsyncTold(Told):
    async def async_notify(self, context: Any) -> None:
        messages.append(self.text)


class Lister(BaseOperator):
    def __init__(self, *, flavour: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flavour = flavour


messages: list[str] = []


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tests.unit.dag_factory.test_runs_and_lists", sys.modules[__name__])
    for cls in (Told, AsyncTold, Lister):
        monkeypatch.setattr(cls, "__module__", HERE)


@pytest.fixture
def diagnostics(tmp_path: Path) -> Any:
    def diagnostics(text: str) -> list[str]:
        (tmp_path / "sales.yaml").write_text(text)
        return [str(diagnostic).removeprefix(f"{tmp_path}/") for diagnostic in build_dags(tmp_path)[1]]

    return diagnostics


@pytest.fixture
def build(tmp_path: Path) -> Any:
    def build(text: str) -> DAG:
        (tmp_path / "sales.yaml").write_text(text)
        dags, diagnostics = build_dags(tmp_path)
        assert [str(diagnostic) for diagnostic in diagnostics] == []
        return dags["sales"]

    return build


class TestRuns:
    def test_backoff(self, build: Any):
        dag = build(
            "defaults: {retries: 3, retry_backoff: true, max_retry_delay: 1h}\n"
            "jobs: {a: {bash: x}, b: {bash: x, retry_backoff: false}}"
        )
        a, b = dag.get_task("a"), dag.get_task("b")
        assert (a.retries, bool(a.retry_exponential_backoff), a.max_retry_delay) == (3, True, timedelta(hours=1))
        assert not b.retry_exponential_backoff

    def test_limits_of_a_run(self, build: Any):
        dag = build("run_timeout: 6h\nmax_active_jobs: 2\n" + JOB)
        assert (dag.dagrun_timeout, dag.max_active_tasks) == (timedelta(hours=6), 2)

    def test_after_one_of_several(self, build: Any):
        dag = build("schedule: {after: [crm, erp], any: true}\n" + JOB)
        condition = dag.timetable.asset_condition
        assert type(condition).__name__ == "AssetAny"
        assert [asset.uri.rstrip("/") for asset in condition.objects] == ["batchy://crm", "batchy://erp"]


class TestParams:
    def test_by_default_alone(self, build: Any):
        dag = build(
            'schedule: "@daily"\nrun_params: {region: eu, count: 3, share: 0.5, full: true, of: [a], b: null}\n' + JOB
        )
        assert {name: dag.params.get_param(name).schema["type"] for name in dag.params} == {
            "region": "string",
            "count": "integer",
            "share": "number",
            "full": "boolean",
            "of": "array",
            "b": ["null", "string"],
        }
        assert dag.params["region"] == "eu"

    def test_in_full(self, build: Any):
        dag = build(
            "run_params:\n"
            "  day: {type: date, title: Day, description: Only this day}\n"
            "  mode: {default: fast, choices: [fast, thorough]}\n"
            "  some: {choices: [1, 2]}\n"
            "  n: {default: 3, minimum: 1, maximum: 5}\n"
            "  must: {type: multiline, required: true}\n" + JOB
        )
        params = {name: dag.params.get_param(name) for name in dag.params}
        assert params["day"].schema == {"type": ["null", "string"], "format": "date", "title": "Day"}
        assert params["day"].description == "Only this day"
        assert params["mode"].schema == {"type": "string", "enum": ["fast", "thorough"]}
        assert params["some"].schema == {"type": ["null", "integer"], "enum": [None, 1, 2]}
        assert params["n"].schema == {"type": "integer", "minimum": 1, "maximum": 5}
        assert params["must"].schema == {"type": "string", "format": "multiline"}
        assert not params["must"].has_value
        for name in ("day", "mode", "some", "n"):
            params[name].resolve()  # its default is allowed

    def test_jobs_use_them_in_templates(self, build: Any):
        dag = build("run_params: {region: eu}\njobs: {a: {bash: x, env: {REGION: '{{ params.region }}'}}}")
        task = dag.get_task("a")
        task.render_template_fields({"params": {"region": "us"}})
        assert task.env == {"REGION": "us"}


class TestNotifiers:
    def test_of_runs_and_of_jobs(self, build: Any):
        dag = build(
            f"on_failure: {{notifier: {HERE}.Told, args: {{text: run}}}}\n"
            f"on_success: {HERE}.Told\n"
            f"defaults: {{on_failure: [{{notifier: {HERE}.Told, args: {{text: job}}}}]}}\n"
            "jobs:\n"
            "  a: {bash: x}\n"
            f"  b: {{bash: x, on_failure: [], on_retry: {HERE}.Told, on_success: [{HERE}.Told, {HERE}.AsyncTold]}}\n"
        )
        assert [each.text for each in dag.on_failure_callback] == ["run"]
        assert [type(each).__name__ for each in dag.on_success_callback] == ["Told"]
        a, b = dag.get_task("a"), dag.get_task("b")
        assert [each.text for each in a.on_failure_callback] == ["job"]
        assert list(b.on_failure_callback) == []
        assert [type(each).__name__ for each in b.on_success_callback] == ["Told", "AsyncTold"]
        assert [type(each).__name__ for each in b.on_retry_callback] == ["Told"]

    def test_its_arguments_are_templates(self, build: Any):
        dag = build(f"on_failure: {{notifier: {HERE}.Told, args: {{text: '{{{{ dag.dag_id }}}} failed'}}}}\n{JOB}")
        messages.clear()
        dag.on_failure_callback[0]({"dag": dag})
        assert messages == ["sales failed"]

    def test_that_cannot_be_made(self, diagnostics: Any):
        assert diagnostics(f"on_failure: {HERE}.Tol\n{JOB}") == [
            f"sales.yaml:1:13: on_failure: {HERE} has no 'Tol'; did you mean 'Told'?"
        ]
        assert diagnostics(f"on_failure: {{notifier: {HERE}.Told, args: {{txt: x}}}}\n{JOB}") == [
            f"sales.yaml:1:80: on_failure.args.txt: {HERE}.Told takes no argument 'txt'; did you mean 'text'?"
        ]
        assert diagnostics(f"jobs:\n  a: {{bash: x, on_retry: [{HERE}.Lister]}}") == [
            f"sales.yaml:2:27: jobs.a.on_retry[0]: {HERE}.Lister is not an Airflow notifier (a class of BaseNotifier)"
        ]
        assert diagnostics(f"defaults: {{on_retry: Told}}\n{JOB}") == [
            "sales.yaml:1:22: defaults.on_retry: expected a full Python path, package.module.Class, not 'Told'"
        ]


class TestDeadlines:
    def alert(self, dag: DAG) -> tuple[str, timedelta, str, dict[str, Any]]:
        (alert,) = dag.deadline
        reference = getattr(alert.reference, "reference_name", None) or type(alert.reference).__name__
        return reference, alert.interval, type(alert.callback).__name__, alert.callback.kwargs

    def test_a_time_of_day(self, build: Any):
        dag = build(
            'schedule: ["30 22 * * 1-5", "30 22 * * 6"]\n'
            f'deadline: {{closed_by: "06:00", notify: {{notifier: {HERE}.AsyncTold, args: {{text: late}}}}}}\n{JOB}'
        )
        reference, interval, callback, kwargs = self.alert(dag)
        assert (interval, callback, kwargs) == (timedelta(hours=7, minutes=30), "AsyncCallback", {"text": "late"})
        assert reference in ("DagRunLogicalDateDeadline", "DagRunQueuedAtDeadline")

    def test_so_long_after(self, build: Any):
        dag = build(f"deadline: {{within: 4h, notify: [{HERE}.AsyncTold]}}\n{JOB}")
        assert self.alert(dag)[:2] == ("DagRunQueuedAtDeadline", timedelta(hours=4))

    def test_the_same_time_of_day_is_a_day_later(self, build: Any):
        dag = build(f'schedule: "@daily"\ndeadline: {{closed_by: "00:00", notify: {HERE}.AsyncTold}}\n{JOB}')
        assert self.alert(dag)[1] == timedelta(days=1)

    def test_is_serialized_the_same_each_time(self, build: Any):
        text = f"deadline: {{within: 4h, notify: [{HERE}.AsyncTold]}}\n{JOB}"
        assert json.dumps(serialized(build(text))) == json.dumps(serialized(build(text)))


class TestForEach:
    def test_a_script(self, build: Any):
        dag = build(
            "jobs:\n"
            "  a: {bash: x}\n"
            "  b: {bash: x, env: {A: 1}, retries: 2, for_each: [eu, {region: us}, 3]}\n"
            "  c: {bash: x}\n"
        )
        b = dag.get_task("b")
        assert b.is_mapped
        assert b.operator_class.__name__ == "BashBundleOperator"
        assert b.expand_input.value == {
            "env": [
                {"A": "1", "ITEM": "eu"},
                {"A": "1", "ITEM": '{"region": "us"}'},
                {"A": "1", "ITEM": "3"},
            ]
        }
        assert (b.partial_kwargs["retries"], b.partial_kwargs["previous"]) == (2, ["a"])
        assert b.upstream_task_ids == {"a"}
        assert dag.get_task("c").upstream_task_ids == {"b"}
        assert dag.get_task("c").previous == ("a",)
        assert b.trigger_rule == "none_failed"

    def test_its_gate_stands_before_each_instance(self, build: Any):
        dag = build("jobs:\n  a: {bash: x, for_each: [1]}\n")
        check = dag.get_task("a").partial_kwargs["pre_execute"].__self__
        assert (check.workflow, check.job) == ("sales", "a")

    def test_an_operator_over_a_list(self, build: Any):
        dag = build(f"jobs:\n  a: {{operator: {HERE}.Lister, for_each: [{{flavour: sweet}}, {{flavour: sour}}]}}\n")
        assert dag.get_task("a").expand_input.value == [{"flavour": "sweet"}, {"flavour": "sour"}]

    def test_over_what_a_job_returned(self, build: Any):
        dag = build(
            f"jobs:\n  a: {{operator: {HERE}.Lister}}\n"
            f"  b: {{operator: {HERE}.Lister, for_each: {{from: a, at_once: 2}}}}\n"
            "  c: {bash: x, for_each: {from: a}}\n"
        )
        assert dag.get_task("b").expand_input.value.operator.task_id == "a"
        assert dag.get_task("b").partial_kwargs["max_active_tis_per_dagrun"] == 2
        assert dag.get_task("c").upstream_task_ids == {"a", "b"}
        assert type(dag.get_task("c").expand_input.value["env"]).__name__ == "MapXComArg"

    def test_more_entries_than_airflow_runs(self, diagnostics: Any, build: Any, monkeypatch: pytest.MonkeyPatch):
        def text(count: int) -> str:
            return f"jobs:\n  a: {{for_each: {list(range(count))}, bash: x}}\n"

        assert len(build(text(1024)).get_task("a").expand_input.value["env"]) == 1024
        assert diagnostics(text(1025)) == [
            "sales.yaml:2:17: jobs.a.for_each: 1025 entries, but this Airflow runs at most 1024 ([core] max_map_length)"
        ]
        monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
        assert len(diagnostics(text(3))) == 1

    def test_the_longest_entry_reaches_its_script(self, build: Any):
        from batchy_provider.config.key_checks import MAX_VARIABLE_BYTES

        longest = MAX_VARIABLE_BYTES - len("ITEM=\0")

        dag = build(f"jobs: {{a: {{bash: x, for_each: [{'x' * longest}]}}}}")
        (env,) = dag.get_task("a").expand_input.value["env"]
        done = subprocess.run(["bash", "-c", "echo ${#ITEM}"], env=env, capture_output=True, check=True)
        assert int(done.stdout) == longest

    def test_arguments_that_it_refuses(self, diagnostics: Any):
        assert diagnostics(
            f"jobs:\n  a: {{operator: {HERE}.Lister, args: {{taste: x}}, for_each: [{{flavour: sweet}}]}}\n"
        ) == [f"sales.yaml:2:75: jobs.a.args.taste: {HERE}.Lister takes no argument 'taste'"]

    def test_is_serialized_the_same_each_time(self, build: Any):
        text = (
            f"jobs:\n  a: {{operator: {HERE}.Lister}}\n  b: {{bash: x, for_each: [1, 2]}}\n"
            f"  c: {{bash: x, for_each: {{from: a}}}}\n  d: {{operator: {HERE}.Lister, for_each: {{from: a}}}}\n"
        )
        first = json.dumps(serialized(build(text)))
        assert first == json.dumps(serialized(build(text)))
        assert " at 0x" not in first
