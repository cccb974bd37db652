# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Let Airflow render and store only those fields of a task that hold a template, or those that are set.

Airflow renders all template fields of a task, and writes them with a call of its API. For the names of a workflow and
of a connection, as they stand in the DAG, that call says nothing new. Of a script, people want to see what ran. But
each field costs time, also one that is not set, and each text is compiled as a template, also one without any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context
    from jinja2 import Environment
    from jinja2.ext import Extension
    from typing_extensions import Self

_NO_TEMPLATES = (bool, int, float, type(None))
_SYNTAX = {
    "block_start_string": "{%",
    "variable_start_string": "{{",
    "comment_start_string": "{#",
    "line_statement_prefix": None,
    "line_comment_prefix": None,
    "newline_sequence": "\n",
}
"""Attribute of a Jinja environment → its default."""
_BEGINNINGS = ("{{", "{%", "{#")


class TemplatesOnly:
    """Base of operators most of whose template fields are names that stand in the DAG."""

    def prepare_for_execution(self) -> Self:
        """Return the copy of the task that runs; its template fields are those that may hold a template."""
        task: Any = super().prepare_for_execution()  # type: ignore[misc]  # that of Airflow's operator
        task.template_fields = templated_fields(task)
        own: Self = task
        return own


class SetFieldsOnly:
    """Base of operators most of whose template fields are not set, and whose texts mostly hold no template."""

    def prepare_for_execution(self) -> Self:
        """Return the copy of the task that runs; its template fields are those that are set."""
        task: Any = super().prepare_for_execution()  # type: ignore[misc]  # that of Airflow's operator
        # A subclass that stores its fields after the run may set them in the run.
        if not getattr(task, "overwrite_rtif_after_execution", False):
            task.template_fields = tuple(name for name in task.template_fields if _is_set(getattr(task, name, None)))
        own: Self = task
        return own

    def render_template(
        self, content: Any, context: Context, jinja_env: Environment | None = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Return what a template makes of its content. A text that Jinja would not change is not compiled."""
        is_same = type(content) is str and jinja_env is not None and _stays_as_it_is(content, jinja_env)
        if is_same and not content.endswith(tuple(getattr(self, "template_ext", ()))):
            return content
        really: Any = super()
        return really.render_template(content, context, jinja_env, seen_oids)


def templated_fields(task: Any) -> tuple[str, ...]:
    """Return the template fields of a task that may hold a template.

    All of them may if the DAG has templates of another syntax or makes values of texts, or if the task reads templates
    from files.

    :param task: an operator that is not mapped.
    """
    dag = task.get_dag()
    is_usual = dag is None or not (dag.render_template_as_native_obj or _has_own_syntax(dag.jinja_environment_kwargs))
    if task.template_ext or not is_usual:
        return tuple(task.template_fields)
    return tuple(name for name in task.template_fields if _may_hold_template(getattr(task, name, None)))


def _has_own_syntax(jinja: Mapping[str, Any] | None) -> bool:
    return any(name.endswith(("_string", "_prefix")) for name in jinja or ())


def _may_hold_template(value: Any) -> bool:
    if isinstance(value, str):
        return any(character in value for character in "{\r\n")  # Jinja drops a last line break
    if isinstance(value, Mapping):
        return any(map(_may_hold_template, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple)):
        return any(map(_may_hold_template, value))
    return not isinstance(value, _NO_TEMPLATES)


def _is_set(value: Any) -> bool:
    return value is not None and not (isinstance(value, (list, tuple, dict)) and not value)


def _stays_as_it_is(text: str, jinja: Environment) -> bool:
    """Tell whether Jinja makes the same text of a text. It drops a last line break, and changes those of Windows."""
    from jinja2.nativetypes import NativeEnvironment

    return (
        not any(beginning in text for beginning in _BEGINNINGS)
        and "\r" not in text
        and not text.endswith("\n")
        and not isinstance(jinja, NativeEnvironment)  # makes a number of a text of digits
        and all(getattr(jinja, name) == value for name, value in _SYNTAX.items())
        and not any(_may_change_text(type(extension)) for extension in jinja.extensions.values())
    )


def _may_change_text(extension: type[Extension]) -> bool:
    from jinja2.ext import Extension

    return extension.preprocess is not Extension.preprocess or extension.filter_stream is not Extension.filter_stream
