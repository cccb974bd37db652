# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The keys of a workflow file that say when it runs: ``schedule``, ``wait_for``, ``deadline`` and ``run_params``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from batchy_provider.config.base_model import FileModel, Notifier, Notifiers
from batchy_provider.config.diagnostics import nearest
from batchy_provider.config.field_types import (
    Cron,
    Names,
    PositiveDuration,
    TimeOfDay,
    Timezone,
    wrong,
)
from batchy_provider.core.deadline_warnings import DEFAULT_CHANCE
from batchy_provider.core.vocabulary import OnFailed, SubscribedResult


def _not_zero(value: int) -> int:
    if value == 0:
        raise wrong("expected 1 for the first business day, -1 for the last one, or another number; not 0")
    return value


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


class Nth(FileModel):
    """One business day of each period."""

    nth: Annotated[int, AfterValidator(_not_zero)] = Field(
        description="Which business day: `1` is the first one of the period, `-1` the last one."
    )
    of: Literal["week", "month", "quarter", "year"] = Field(
        default="month", description="The period. A week begins on Monday."
    )


On = Annotated[
    Annotated[Literal["business_days", "holidays"], Tag("<name>")] | Annotated[Nth, Tag("<nth>")],
    # Tags are in angle brackets, so that `model_errors` can distinguish them from the keys of a file.
    Discriminator(lambda value: "<nth>" if isinstance(value, dict | Nth) else "<name>"),
]
Crons = Annotated[
    Annotated[Cron, Tag("<cron>")] | Annotated[list[Cron], Field(min_length=1), Tag("<crons>")],
    Discriminator(lambda value: "<crons>" if isinstance(value, list) else "<cron>"),
]


class CronSchedule(After):
    """A schedule by the clock, with a calendar, or with other workflows' batches that start a run too."""

    cron: Crons = Field(description="A cron expression, a preset (`@daily`), or a list of cron expressions.")
    calendar: str | None = Field(
        default=None,
        description="Calendar of `_calendars.yaml`; without `on` and `move`, runs are due on its business days.",
    )
    on: On | None = Field(
        default=None,
        description="Days on which runs are due: `business_days`, `holidays`, or `{nth: N, of: PERIOD}`, the Nth "
        "business day of each `week`, `month`, `quarter` or `year`; `-1` is the last one.",
    )
    move: Literal["skip", "next", "previous"] | None = Field(
        default=None,
        description="A due time on a day that is no business day: `skip` leaves it out, `next` and `previous` move it "
        "to that business day, at the same time of day.",
    )
    after: Names = Field(default_factory=list, description="Workflows; their success starts a run, too.")

    @property
    def crons(self) -> list[str]:
        """The cron expressions and presets."""
        return [self.cron] if isinstance(self.cron, str) else self.cron


_CRON_KEYS = frozenset(CronSchedule.model_fields) - frozenset(After.model_fields)


def _kind_of_schedule(value: Any) -> str:
    if isinstance(value, CronSchedule) or (isinstance(value, dict) and _is_by_cron(value)):
        return "<times>"
    if isinstance(value, dict | After):
        return "<after>"
    if isinstance(value, list):
        return "<crons>"
    return "<preset>" if value in ("@once", "@continuous") else "<cron>"


def _is_by_cron(data: Mapping[str, Any]) -> bool:
    """Tell whether a mapping is a schedule by cron, also where its keys are misspelt."""
    if _CRON_KEYS & data.keys() or After.model_fields.keys() & data.keys():
        return bool(_CRON_KEYS & data.keys())
    return any(nearest(key, CronSchedule.model_fields) in _CRON_KEYS for key in data)


Schedule = Annotated[
    Annotated[Cron, Tag("<cron>")]
    | Annotated[Literal["@once", "@continuous"], Tag("<preset>")]
    | Annotated[list[Cron], Field(min_length=1), Tag("<crons>")]
    | Annotated[CronSchedule, Tag("<times>")]
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


def _chance(value: float) -> float:
    if not 0 < value < 1:
        raise wrong(f"expected a number above 0 and below 1, not {value:g}; 0.8 stands for 80 percent")
    return value


class DeadlineWarn(FileModel):
    """When to warn before a deadline is missed."""

    chance: Annotated[float, AfterValidator(_chance)] = Field(
        default=DEFAULT_CHANCE,
        description="From this probability of a miss on, notifiers are called: a number above 0 and below 1.",
        json_schema_extra={"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    )
    notify: Annotated[Notifiers, Field(min_length=1)] | None = Field(
        default=None, description="Airflow notifiers to call instead of those of the deadline."
    )


def _warn(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    if isinstance(value, int | float):
        raise wrong(f"expected true or a mapping, not the number {value:g}; for a probability write {{chance: 0.8}}")
    return value


_WrittenWarn = bool | DeadlineWarn


class Deadline(FileModel):
    """Time by which a batch should be closed. If it is late, notifiers are called, and the batch goes on."""

    closed_by: TimeOfDay | None = Field(
        default=None, description='Time of day in `timezone`, such as `"06:00"`; needs a schedule at one time of day.'
    )
    within: PositiveDuration | None = Field(default=None, description="How long after the run was due.")
    warn: Annotated[DeadlineWarn | None, BeforeValidator(_warn, json_schema_input_type=_WrittenWarn | None)] = Field(
        default=None,
        description="Call notifiers already when a miss becomes likely, and once more when the danger is over: `true`, "
        "or a mapping.",
    )
    notify: Annotated[Notifiers, Field(min_length=1)] = Field(description="Airflow notifiers to call.")

    @property
    def warned(self) -> list[Notifier]:
        """The notifiers that are called when a miss becomes likely."""
        own = None if self.warn is None else self.warn.notify
        return self.notify if own is None else own


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
