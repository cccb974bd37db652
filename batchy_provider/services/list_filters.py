# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Search, filter and sort lists of workflows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from batchy_provider.exceptions import ConfigError
from batchy_provider.services.answers import WorkflowSummary


def is_found(summary: WorkflowSummary, search: str | None) -> bool:
    """Tell whether the name or description of a workflow contains a text, in any case. Without a text, all do."""
    if not search:
        return True
    text = search.casefold()
    return text in summary.workflow.casefold() or text in (summary.description or "").casefold()


def is_labelled(summary: WorkflowSummary, tags: Collection[str], owners: Collection[str]) -> bool:
    """Tell whether a workflow has one of some tags and one of some owners. Without any, all workflows have them."""
    has_tag = not tags or not set(tags).isdisjoint(summary.tags)
    return has_tag and (not owners or not set(owners).isdisjoint(summary.owners))


def sort_by(found: list[Any], order_by: str, columns: Collection[str] = ()) -> list[Any]:
    """Sort by a column, keeping the order of equal values. Items without a value come last.

    :param order_by: a column; with ``-`` before it, in descending order.
    :param columns: the columns that there are; by default the fields of `WorkflowSummary`.
    :raises ConfigError: there is no such column.
    """
    column = order_by.removeprefix("-")
    if column not in (columns or (field.name for field in fields(WorkflowSummary))):
        raise ConfigError(f"cannot sort by {column!r}; expected a column, such as workflow, status or -started")
    known = [item for item in found if getattr(item, column) is not None]
    unknown = [item for item in found if getattr(item, column) is None]
    known.sort(key=lambda item: _comparable(getattr(item, column)), reverse=order_by.startswith("-"))
    return known + unknown


def _comparable(value: Any) -> Any:
    if isinstance(value, list | dict):
        return len(value)
    return value if isinstance(value, str | int | float) else str(value)
