# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The key ``window`` of a workflow file: the shape of its windows."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from batchy_provider.config.base_model import FileModel
from batchy_provider.config.cron_expressions import PRESETS, cron_problem
from batchy_provider.config.diagnostics import did_you_mean, one_of, show
from batchy_provider.config.field_types import Duration, Names, PositiveDuration, wrong
from batchy_provider.core.boundaries import UNITS
from batchy_provider.core.window_shape import IfEmpty, WindowShape


class UntilWorkflows(FileModel):
    """Windows that end where other workflows have loaded their data."""

    workflows: Annotated[Names, Field(min_length=1)] = Field(
        description="Windows end where the least of these workflows has loaded its data to."
    )


_UNTIL_WORDS = Literal["now", "schedule"]

Until = Annotated[
    Annotated[_UNTIL_WORDS, Tag("<name>")] | Annotated[UntilWorkflows, Tag("<workflows>")],
    # Tags are in angle brackets, so that `model_errors` can distinguish them from the keys of a file.
    Discriminator(lambda value: "<workflows>" if isinstance(value, dict | UntilWorkflows) else "<name>"),
]


def _align(value: Any) -> str:
    expected = f"{one_of(UNITS)}, or a cron expression in quotes"
    if not isinstance(value, str):
        raise wrong(f"expected {expected}, not {show(value)}")
    if value in UNITS or value in PRESETS:
        return value
    if len(value.split()) == 1:
        raise wrong(f"expected {expected}, not {show(value)}{did_you_mean(value, [*UNITS, *PRESETS])}")
    if (problem := cron_problem(value)) is not None:
        raise wrong(problem.message, problem.code)
    return value


Align = Annotated[
    str,
    BeforeValidator(_align),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*UNITS, *PRESETS]},
                {"type": "string", "pattern": r"^\s*\S+(\s+\S+){4}\s*$", "examples": ["0 6 * * *"]},
            ]
        }
    ),
]


class WindowModel(FileModel):
    """The shape of a workflow's windows. Windows go from their start (inclusive) to their end (exclusive)."""

    until: Until = Field(
        default="now",
        description="Windows end at the latest `now` (when the batch opens), at the `schedule` (when the run was due), "
        "or where other workflows have loaded their data to: `{workflows: [crm, erp]}`.",
    )
    delay: Duration = Field(
        default=timedelta(), description="Stay this far behind `until`, for sources that deliver late."
    )
    align: Align | None = Field(
        default=None,
        description="Windows end only at these boundaries, in `timezone`: each `hour`, `day`, `week` (from Monday) or "
        "`month`, or at the fires of a cron expression. They start where the last one ended, so at boundaries too; "
        "with `reprocess_hours`, at the boundary to which that reaches back.",
    )
    max: PositiveDuration | None = Field(
        default=None,
        description="The most data that one batch may take; whole days are days of the calendar. What is older comes "
        "first, and the next run starts by itself until all is loaded.",
    )
    if_empty: IfEmpty = Field(
        default="skip",
        description="If there is nothing to load: `skip` opens no batch and skips all jobs, `run` runs them with an "
        "empty window.",
    )

    def shape(self) -> WindowShape:
        """Return it as the rules take it."""
        other = self.until.workflows if isinstance(self.until, UntilWorkflows) else None
        return WindowShape(
            until="workflows" if isinstance(self.until, UntilWorkflows) else self.until,
            workflows=tuple(dict.fromkeys(other or ())),
            delay=self.delay,
            align=None if self.align is None else PRESETS.get(self.align, self.align),
            max=self.max,
            if_empty=self.if_empty,
        )
