# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the shape of a workflow's windows against its other keys."""

from __future__ import annotations

from collections.abc import Iterator

from batchy_provider.config.diagnostics import Code, Violation
from batchy_provider.config.durations import format_duration
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.wait_checks import check_workflow
from batchy_provider.config.window_model import UntilWorkflows
from batchy_provider.core.boundaries import SHORTEST


def check_window(name: str, model: WorkflowModel) -> Iterator[Violation]:
    """Yield the errors of ``window`` together with other keys.

    :param name: the workflow itself.
    """
    window = model.window
    if window is None:
        return
    if isinstance(window.until, UntilWorkflows):
        seen: set[str] = set()
        for index, other in enumerate(window.until.workflows):
            path = ("window", "until", "workflows", index)
            yield from check_workflow(other, path)
            if other == name:
                yield Violation(path, Code.CYCLE, "a workflow cannot load its data up to its own")
            if other in seen:
                yield Violation(path, Code.DUPLICATE_ENTRY, f"{other!r} has two entries; remove one")
            seen.add(other)
    if window.until == "schedule" and model.schedule is None:
        message = "windows end when a run is due, and a workflow without schedule is never due; use until: now"
        yield Violation(("window", "until"), Code.CONFLICT, message)
    if window.max is None:
        return
    shortest = SHORTEST.get(window.align or "")
    if shortest is not None and window.max < shortest:
        yield Violation(
            ("window", "max"),
            Code.CONFLICT,
            f"{format_duration(window.max)} is shorter than a {window.align}, and align: {window.align} allows no "
            f"window shorter than that; expected {format_duration(shortest)} or more",
        )
    if model.max_active_runs != 1:
        message = "window.max loads one part after another, so it allows one run at a time"
        yield Violation(("max_active_runs",), Code.CONFLICT, message)
