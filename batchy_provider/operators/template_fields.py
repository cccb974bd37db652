# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Let Airflow render and store only those fields of a task that hold a template.

Airflow renders all template fields of a task, and writes them with a call of its API. For the names of a workflow and
of a connection, as they stand in the DAG, that call says nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

_NO_TEMPLATES = (bool, int, float, type(None))


class TemplatesOnly:
    """Base of operators most of whose template fields are names that stand in the DAG."""

    def prepare_for_execution(self) -> Self:
        """Return the copy of the task that runs; its template fields are those that may hold a template."""
        task: Any = super().prepare_for_execution()  # type: ignore[misc]  # that of Airflow's operator
        task.template_fields = templated_fields(task)
        own: Self = task
        return own


def templated_fields(task: Any) -> tuple[str, ...]:
    """Return the template fields of a task that may hold a template.

    All of them may if the DAG has templates of another syntax, or if the task reads templates from files.

    :param task: an operator that is not mapped.
    """
    dag = task.get_dag()
    if task.template_ext or (dag is not None and _has_own_syntax(dag.jinja_environment_kwargs)):
        return tuple(task.template_fields)
    return tuple(name for name in task.template_fields if _may_hold_template(getattr(task, name, None)))


def _has_own_syntax(jinja: Mapping[str, Any] | None) -> bool:
    return any(name.endswith(("_string", "_prefix")) for name in jinja or ())


def _may_hold_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{" in value
    if isinstance(value, Mapping):
        return any(map(_may_hold_template, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple)):
        return any(map(_may_hold_template, value))
    return not isinstance(value, _NO_TEMPLATES)
