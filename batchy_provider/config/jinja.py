# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check templates when the file is read: a template that Airflow cannot render would fail each run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from batchy_provider.config.diagnostics import Code, KeyPath, Violation, did_you_mean, one_of

FILTERS = ("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz")
"""Filters that Airflow adds to Jinja's."""

BATCH = ("workflow", "batch_id", "kind", "from_date", "to_date", "params")
"""What templates may ask `batch` for."""

NAMES = frozenset(
    (
        "asset_state_store",
        "batch",
        "conn",
        "dag",
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "exception",
        "expanded_ti_count",
        "inlet_events",
        "inlets",
        "logical_date",
        "macros",
        "map_index_template",
        "outlet_events",
        "outlets",
        "params",
        "partition_date",
        "partition_key",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "prev_end_date_success",
        "prev_start_date_success",
        "reason",
        "run_id",
        "task",
        "task_instance",
        "task_instance_key_str",
        "task_reschedule_count",
        "task_state_store",
        "templates_dict",
        "test_mode",
        "ti",
        "triggering_asset_events",
        "try_number",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
        "var",
    )
)
"""Names that Airflow, or this package, gives to templates."""

_MARKS = ("{{", "{%", "{#")
_RAW = "put it between {% raw %} and {% endraw %} if it is not a template"


def template_violations(value: Any, path: KeyPath, *, any_names: bool = False) -> Iterator[Violation]:
    """Yield the templates within a value that Airflow cannot render.

    :param any_names: they may use names that are not Airflow's.
    """
    match value:
        case str():
            if (message := template_problem(value, any_names=any_names)) is not None:
                yield Violation(path, Code.INVALID_TEMPLATE, message)
        case dict():
            for key, item in value.items():
                yield from template_violations(item, (*path, key), any_names=any_names)
        case list():
            for index, item in enumerate(value):
                yield from template_violations(item, (*path, index), any_names=any_names)


@lru_cache(maxsize=10_000)
def template_problem(text: str, *, any_names: bool = False) -> str | None:
    """Say why Airflow cannot render a template, or return None."""
    if not any(mark in text for mark in _MARKS):
        return None
    from jinja2 import TemplateSyntaxError, meta

    jinja = _environment()
    try:
        if (place := _list_length(text)) is not None:
            return f"{place!r} starts a comment in a template; put it between {{% raw %}} and {{% endraw %}}"
        template = jinja.parse(text)
        jinja.compile(template, raw=True)  # finds filters and tests that do not exist
        template = jinja.parse(text)
    except TemplateSyntaxError as error:
        line = f" (line {error.lineno} of it)" if "\n" in text.strip() else ""
        return f"Airflow cannot render this template: {str(error.message).rstrip('.')}{line}; {_RAW}"
    except RecursionError:
        return f"Airflow cannot render this template: nested too deeply; {_RAW}"
    if any_names:
        return None
    known = _names()
    optional = set(_optional(template))
    for name in sorted(meta.find_undeclared_variables(template) - known - optional):
        hint = did_you_mean(name, known) or "; a job's params are {{ batch.params.NAME }}, a run's {{ params.NAME }}"
        return f"the template uses {name!r}, which Airflow does not have{hint}"
    for name in _unknown_of_batch(template):
        return f"the template uses batch.{name}; batch has {one_of(BATCH)}{did_you_mean(name, BATCH)}"
    return None


def literal(text: str) -> str:
    """Return a template that renders as a text, braces and all."""
    if not any(mark in text for mark in _MARKS):
        return text
    if "endraw" not in text:
        return f"{{% raw %}}{text}{{% endraw %}}"
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", text)


@cache
def _environment() -> Any:
    from jinja2.sandbox import SandboxedEnvironment

    jinja = SandboxedEnvironment(extensions=["jinja2.ext.do"], cache_size=0)
    jinja.filters.update(dict.fromkeys(FILTERS, str))
    return jinja


def _names() -> set[str]:
    # A newer Airflow may have more names; where DAGs are built, it is loaded already.
    airflow = sys.modules.get("airflow.sdk.definitions.context")
    return {*NAMES, *_environment().globals, *getattr(airflow, "KNOWN_CONTEXT_KEYS", ())}


def _list_length(text: str) -> str | None:
    """Return the start of `${#list}`, whose text up to the next `#}` a template drops."""
    before = ""
    for _, kind, value in _environment().lex(text):
        if kind == "comment_begin" and before.endswith("$"):
            return "${#"
        before = value
    return None


def _optional(template: Any) -> Iterator[str]:
    """Yield the names whose absence a template deals with."""
    from jinja2 import nodes

    for each in template.find_all((nodes.Test, nodes.Filter)):
        if each.name in ("defined", "undefined", "default", "d") and each.node is not None:
            inner = [each.node, *each.node.find_all(nodes.Name)]
            yield from (node.name for node in inner if isinstance(node, nodes.Name))


def _unknown_of_batch(template: Any) -> Iterator[str]:
    from jinja2 import nodes

    for each in template.find_all(nodes.Getattr):
        if isinstance(each.node, nodes.Name) and each.node.name == "batch" and each.attr not in BATCH:
            yield each.attr
