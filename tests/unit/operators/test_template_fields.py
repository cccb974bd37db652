# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Airflow renders and stores, with a call of its API, only the fields of a task that may hold a template."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from jinja2.ext import Extension

from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
from batchy_provider.operators.bundle import BashBundleOperator
from batchy_provider.sensors.waitsy import WaitsySensor


class Loud(Extension):
    """Changes every text."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return source.upper()


def _opening(**options: Any) -> BatchyOpenOperator:
    return BatchyOpenOperator(**{"task_id": "open", "workflow": "sales", **options})


def _fields(task: Any) -> list[str]:
    before = tuple(task.template_fields)
    found = list(task.prepare_for_execution().template_fields)
    assert tuple(task.template_fields) == before, "the DAG itself stays as it is"
    return found


@pytest.mark.parametrize(
    "task",
    [
        _opening(),
        _opening(jobs={"load": {"n": 1, "names": ["a", None], "on": True}}),
        BatchyCloseOperator(task_id="close", workflow="sales"),
        WaitsySensor(task_id="wait", workflow=["erp", "crm"], jobs=["orders"]),
    ],
)
def test_names_are_not_rendered(task: Any) -> None:
    assert _fields(task) == []


TEMPLATE = "{{ params.which }}"


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        (_opening(workflow=TEMPLATE), ["workflow"]),
        (_opening(redis_conn_id="{% if 1 %}a{% endif %}"), ["redis_conn_id"]),
        (_opening(jobs={"load": {"of": ["x", {"deep": TEMPLATE}]}}), ["jobs"]),
        (_opening(jobs={TEMPLATE: {}}), ["jobs"]),
        (_opening(workflow="sales\n"), ["workflow"]),
        (_opening(jobs={"load": {"what": object()}}), ["jobs"]),
        (BatchyCloseOperator(task_id="close", workflow="sales", status=TEMPLATE), ["status"]),
        (WaitsySensor(task_id="wait", workflow=["erp", TEMPLATE]), ["workflow"]),
        # Of a script, people see what ran. A field that is not set says nothing.
        (BashBundleOperator(task_id="job", bash_command="true"), ["bash_command", "job"]),
        (
            BashBundleOperator(
                task_id="job", bundle="x", sha256="y", workflow="w", args=[1], env={"A": 0}, inputs=["s"]
            ),
            ["bundle", "sha256", "workflow", "job", "args", "env", "inputs"],
        ),
    ],
)
def test_what_may_be_a_template_is_rendered(task: Any, fields: list[str]) -> None:
    assert _fields(task) == fields


def test_the_result_of_another_task_is_rendered() -> None:
    with DAG("nightly", schedule=None):
        named = BashBundleOperator(task_id="named", bash_command="true")
        assert _fields(_opening(workflow=named.output)) == ["workflow"]


def test_templates_of_another_syntax_are_rendered() -> None:
    with DAG("nightly", schedule=None, jinja_environment_kwargs={"variable_start_string": "<<"}):
        assert _fields(_opening(workflow="<< params.which >>")) == ["workflow", "jobs", "redis_conn_id"]


def test_texts_of_which_jinja_makes_values_are_rendered() -> None:
    with DAG("nightly", schedule=None, render_template_as_native_obj=True):
        waiting = WaitsySensor(task_id="wait", workflow="['erp', 'crm']")
    assert "workflow" in _fields(waiting)


def test_files_of_templates_are_read() -> None:
    class FromFile(BatchyOpenOperator):
        template_ext = (".txt",)

    assert _fields(FromFile(task_id="open", workflow="name.txt")) == ["workflow", "jobs", "redis_conn_id"]


def test_fields_that_are_stored_after_the_run_stay() -> None:
    class Later(BashBundleOperator):
        overwrite_rtif_after_execution = True

    assert _fields(Later(task_id="job", bash_command="true")) == list(Later.template_fields)


def _rendered(text: Any, monkeypatch: pytest.MonkeyPatch, **of_dag: Any) -> tuple[Any, int]:
    """Return what the task makes of its command, and how many templates it compiles for that."""
    with DAG("nightly", schedule=None, **of_dag) as dag:
        task = BashBundleOperator(task_id="job", bash_command=text)
    jinja, compiled = dag.get_template_env(), []
    really = jinja.from_string
    monkeypatch.setattr(jinja, "from_string", lambda text: compiled.append(text) or really(text))
    task.render_template_fields({"which": "b"}, jinja)
    return task.bash_command, sum(each == text for each in compiled)


@pytest.mark.parametrize(
    "text", ["true", "a\nb", "echo ${HOME} }} %} #}", "", "ä\u2028\u0085\x0b", "# comment", "%% x"]
)
def test_a_text_that_is_no_template_is_not_compiled(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from jinja2 import Environment

    assert _rendered(text, monkeypatch) == (text, 0)
    assert Environment().from_string(text).render() == text


@pytest.mark.parametrize(
    ("text", "expected", "of_dag"),
    [
        ("a {{ which }}", "a b", {}),
        ("a{% if 0 %}b{% endif %}", "a", {}),
        ("a{# b #}", "a", {}),
        ("a\n", "a", {}),
        ("a\r\nb", "a\nb", {}),
        ("12", 12, {"render_template_as_native_obj": True}),
        (
            "<< which >>",
            "b",
            {"jinja_environment_kwargs": {"variable_start_string": "<<", "variable_end_string": ">>"}},
        ),
        ("% set a = 1", "", {"jinja_environment_kwargs": {"line_statement_prefix": "%"}}),
        ("a ## b", "a", {"jinja_environment_kwargs": {"line_comment_prefix": "##"}}),
        ("a\nb", "a\r\nb", {"jinja_environment_kwargs": {"newline_sequence": "\r\n"}}),
        ("a", "A", {"jinja_environment_kwargs": {"extensions": [Loud]}}),
    ],
)
def test_a_text_that_jinja_changes_is_compiled(
    text: str, expected: Any, of_dag: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _rendered(text, monkeypatch, **of_dag) == (expected, 1)


def test_a_text_in_a_list_or_a_mapping_is_no_template_either(monkeypatch: pytest.MonkeyPatch) -> None:
    task = BashBundleOperator(task_id="job", bash_command="true", args=["a", "{{ which }}"], env={"A": "{{ which }}"})
    task.render_template_fields({"which": "b"}, DAG("nightly", schedule=None).get_template_env())
    assert (task.args, task.env) == (["a", "b"], {"A": "b"})


def test_files_of_templates_are_read_for_scripts_too(tmp_path: Any) -> None:
    class FromFile(BashBundleOperator):
        template_ext = (".txt",)

    (tmp_path / "name.txt").write_text("echo {{ which }}")
    with DAG("nightly", schedule=None, template_searchpath=str(tmp_path)) as dag:
        task = FromFile(task_id="job", bash_command="name.txt")
    task.render_template_fields({"which": "b"}, dag.get_template_env())
    assert task.bash_command == "echo b"
