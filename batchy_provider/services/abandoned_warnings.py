# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""End the warnings that no file asks for any more, where nobody evaluates deadlines.

An evaluator ends the warnings of its own files, and notifies of that. When the last file of a folder stops asking for
warnings, the DAG that evaluates is gone. What it left would stand until its deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.core.deadline_warnings import DeadlineWarning, OverCode
from batchy_provider.services.warning_answers import over_text
from batchy_provider.state.warning_changes import change_warnings

if TYPE_CHECKING:
    from batchy_provider.config.reader import Folder
    from batchy_provider.config.schedule_model import Deadline
    from batchy_provider.state.backend import Backend

SILENT = timedelta(minutes=30)
"""After this time without an evaluation, nobody evaluates any more."""

Warnings = Mapping[str, DeadlineWarning]


def deadlines_with_warnings(folder: Folder) -> dict[str, Deadline]:
    """Return workflow → its deadline, of those that ask for warnings."""
    models = {name: each.model for name, each in folder.workflows.items() if each.has_dag}
    return {
        name: model.deadline
        for name, model in models.items()
        if model is not None and model.deadline is not None and model.deadline.warn is not None
    }


def abandoned(folder: Folder, stored: Mapping[str, Warnings], now: datetime) -> list[str]:
    """Return the workflows with a warning that no file asks for, and that nobody evaluates.

    Another Airflow may have the file. Its evaluator has seen the warning a few minutes ago.

    :param folder: the workflow files. A file with errors may ask for warnings, and an empty folder is more likely a
        lost mount.
    :param stored: workflow → run → its warning.
    :param now: the Redis server's time, naive UTC.
    """
    if not folder.workflows:
        return []
    asking = deadlines_with_warnings(folder)
    return [
        name
        for name, warnings in stored.items()
        if name not in asking
        and (name in folder.workflows or not folder.diagnostics)
        and any(is_abandoned(each, now) for each in warnings.values())
    ]


def end_abandoned(backend: Backend, workflows: Iterable[str]) -> list[str]:
    """Remove the warnings of workflows that nobody evaluates, and say for each that stood why it is over."""
    texts: list[str] = []
    for name in workflows:
        ended, now = change_warnings(backend, name, _end)
        texts += [over_text(name, each) for each in ended if each.deadline > now]
    return texts


def _end(before: Warnings, now: datetime) -> tuple[tuple[list[DeadlineWarning], datetime], Warnings]:
    ended = [replace(each, over=OverCode.NOT_WANTED) for each in before.values() if is_abandoned(each, now)]
    after = {run: each for run, each in before.items() if not is_abandoned(each, now) and not each.is_expired(now)}
    return (ended, now), after


def is_abandoned(warning: DeadlineWarning, now: datetime) -> bool:
    """Tell whether a warning stands, and nobody has evaluated it for some time."""
    return warning.stands and now - warning.seen > SILENT
