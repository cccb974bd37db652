# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The keys of a workflow file that say when it runs: ``schedule``, ``wait_for``, ``deadline`` and ``run_params``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from batchy_provider.config.base_model import FileModel, Notifiers
from batchy_provider.config.field_types import (
    Cron,
    Names,
    PositiveDuration,
    TimeOfDay,
    Timezone,
)
from batchy_provider.core.vocabulary import OnFailed, SubscribedResult


class After(FileModel):
    """A schedule by other workflows' batches."""

    after: Names = Field(description="Workflows; a run starts when all of them have succeeded again.")
    any: bool = Field(default=False, description="Start as soon as one of them has succeeded.")
    same_day: bool = Field(
        default=False,
        description="Only if all have succeeded on one day, in `timezone`: a run waits for those that are missing and "
        "is skipped when the day ends.",
    )
    result: SubscribedResult = Field(
        default="success", description="Result that counts: `success`, `failed`, or `closed` for both."
    )
    outside: bool = Field(
        default=False,
        description="Successes outside Airflow count too: of the command line, REST, the original Batchy server.",
    )


def _kind_of_schedule(value: Any) -> str:
    if isinstance(value, dict | After):
        return "<after>"
    if isinstance(value, list):
        return "<crons>"
    return "<preset>" if value in ("@once", "@continuous") else "<cron>"


Schedule = Annotated[
    Annotated[Cron, Tag("<cron>")]
    | Annotated[Literal["@once", "@continuous"], Tag("<preset>")]
    | Annotated[list[Cron], Field(min_length=1), Tag("<crons>")]
    | Annotated[After, Tag("<after>")],
    Discriminator(_kind_of_schedule),
]


class Within(FileModel):
    """A wait's scope in hours and minutes."""

    within: PositiveDuration = Field(description="How recent a success has to be, such as `12h`.")


Scope = Annotated[
    Annotated[Literal["today", "since_last_run", "any", "due"], Tag("<name>")] | Annotated[Within, Tag("<within>")],
    # Tags are in angle brackets, so that `model_errors` can distinguish them from the keys of a file.
    Discriminator(lambda value: "<within>" if isinstance(value, dict | Within) else "<name>"),
]


class Wait(FileModel):
    """A workflow to wait for before the batch opens."""

    workflow: str = Field(description="The workflow to wait for.")
    jobs: Names | None = Field(default=None, description="Only these of its jobs; without it, all enabled ones.")
    scope: Scope = Field(
        default="today",
        description="Which success counts: `today` (the day of this run), `since_last_run`, `any`, or `{within: 12h}`. "
        "With `due`, all data must be loaded up to the last due time of the other workflow.",
    )
    timeout: PositiveDuration | None = Field(default=None, description="How long to wait before the wait fails.")
    on_failed: OnFailed = Field(
        default="wait", description="When the other workflow failed: `wait` (it may be re-run) or `fail`."
    )
    timezone: Timezone | None = Field(
        default=None, description="Timezone in which the day starts at midnight; default: this workflow's timezone."
    )


_WrittenWaits = str | Wait | list[str | Wait]


def _waits(value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    return [{"workflow": item} if isinstance(item, str) else item for item in several]


Waits = Annotated[list[Wait], BeforeValidator(_waits, json_schema_input_type=_WrittenWaits)]


class Deadline(FileModel):
    """Time by which a batch should be closed. If it is late, notifiers are called, and the batch goes on."""

    closed_by: TimeOfDay | None = Field(
        default=None, description='Time of day in `timezone`, such as `"06:00"`; needs a schedule at one time of day.'
    )
    within: PositiveDuration | None = Field(default=None, description="How long after the run was due.")
    notify: Annotated[Notifiers, Field(min_length=1)] = Field(description="Airflow notifiers to call.")


class RunParam(FileModel):
    """A value that a person may give to a run: a field of the form in Airflow's UI."""

    type: (
        Literal["string", "multiline", "integer", "number", "boolean", "date", "datetime", "array", "object"] | None
    ) = Field(default=None, description="Its type; without it, the type of the default, or text.")
    default: Any = Field(default=None, description="Its value in scheduled runs; without it, nothing.")
    required: bool = Field(default=False, description="A person must give it; only in a workflow without schedule.")
    choices: Annotated[list[Any], Field(min_length=1)] | None = Field(default=None, description="The values allowed.")
    minimum: int | float | None = Field(default=None, description="The smallest number allowed.")
    maximum: int | float | None = Field(default=None, description="The largest number allowed.")
    title: str | None = Field(default=None, description="Its name in the form.")
    description: str | None = Field(default=None, description="Its explanation in the form.")


def _run_params(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: item if isinstance(item, dict) else {"default": item} for name, item in value.items()}


_WrittenRunParams = dict[str, RunParam | str | int | float | bool | list[Any] | None]

RunParams = Annotated[dict[str, RunParam], BeforeValidator(_run_params, json_schema_input_type=_WrittenRunParams)]
