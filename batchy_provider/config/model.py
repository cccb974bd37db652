# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Define the keys of a workflow file: name, type and meaning of each. ``docs/yaml.md`` shows the same as tables.

Checks that need more than one key are in `key_checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from batchy_provider.config.field_types import (
    Cron,
    Datasets,
    DateText,
    Duration,
    Env,
    Hours,
    Names,
    PositiveDuration,
    Sha256,
    Size,
    TimeOfDay,
    Timezone,
)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


MAX_COUNT = 1_000_000
"""More retries, runs or tasks than anyone means. Airflow's database holds 32 bits, and adds to some of them."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
OneOrMore = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Priority = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
PoolOrQueue = Annotated[str, Field(max_length=256)]
"""Length of the column in Airflow's database."""
Owner = Annotated[str, Field(max_length=500)]


class Limits(_Model):
    """What one execution of a script may use; over it, the script is stopped."""

    cpu: PositiveDuration | None = Field(default=None, description="CPU time, such as `10m`.")
    memory: Size | None = Field(default=None, description="Memory of each process (address space), such as `512M`.")
    open_files: Annotated[int, Field(ge=8, le=2**31 - 1)] | None = Field(
        default=None, description="Files open at once."
    )
    file_size: Size | None = Field(default=None, description="Size of a single file it may write, such as `2G`.")


class Notifier(_Model):
    """Notify people by any Airflow notifier."""

    notifier: str = Field(description="Full Python path of a notifier class.")
    args: dict[str, Any] = Field(default_factory=dict, description="Its arguments; may hold templates.")


_WrittenNotifiers = str | Notifier | list[str | Notifier]


def _notifiers(value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    return [{"notifier": item} if isinstance(item, str) else item for item in several]


Notifiers = Annotated[list[Notifier], BeforeValidator(_notifiers, json_schema_input_type=_WrittenNotifiers)]


class Settings(_Model):
    """Keys that a job may have, and `defaults` for all jobs of the file."""

    retries: Count | None = Field(default=None, description="How many times a failed job is tried again.")
    retry_delay: Duration | None = Field(default=None, description="How long to wait before the next try.")
    retry_backoff: bool | None = Field(
        default=None, description="Wait twice as long before each further try, up to `max_retry_delay`."
    )
    max_retry_delay: Duration | None = Field(default=None, description="The longest wait before a try.")
    timeout: PositiveDuration | None = Field(default=None, description="How long one try may take; then it is stopped.")
    kill_grace: Duration | None = Field(
        default=None, description="How long a script has between TERM and KILL when it is stopped."
    )
    background_timeout: Duration | None = Field(
        default=None,
        description="How long background processes of a script may run after it; default `1h`. Those that do not end "
        "are stopped, and the job fails.",
    )
    limits: Limits | None = Field(default=None, description="What one execution of a script may use.")
    pool: PoolOrQueue | None = Field(default=None, description="Airflow pool that the job takes a slot of.")
    queue: PoolOrQueue | None = Field(default=None, description="Airflow queue, for choosing the workers.")
    priority: Priority | None = Field(default=None, description="Airflow priority weight; higher goes first.")
    owner: Owner | None = Field(default=None, description="Owner shown in Airflow's UI.")
    env: Env = Field(default_factory=dict, description="Environment variables of the script; those of a job are added.")
    inherit_env: bool | None = Field(
        default=None, description="Give the script the worker's whole environment, Airflow's secrets included."
    )
    reprocess_hours: Hours | None = Field(
        default=None, description="How many hours each window reaches back over the one before; may be fractional."
    )
    trunc_start: bool | None = Field(
        default=None, description="Cut the start of each window to midnight, in the workflow's timezone."
    )
    initial_date: DateText | None = Field(default=None, description="Start of the very first window, inclusive.")
    on_failure: Notifiers | None = Field(
        default=None, description="Airflow notifiers to call when the job has failed for good."
    )
    on_retry: Notifiers | None = Field(
        default=None, description="Airflow notifiers to call when a try failed and another follows."
    )
    on_success: Notifiers | None = Field(default=None, description="Airflow notifiers to call when it has succeeded.")


class ForEach(_Model):
    """A list that is known only when the batch runs."""

    from_: str = Field(alias="from", description="A job before it, by an `operator` whose result is the list.")
    at_once: OneOrMore | None = Field(default=None, description="How many may run at the same time.")


def _kind_of_list(value: Any) -> str:
    return "<from>" if isinstance(value, dict | ForEach) else "<list>"


Items = Annotated[
    Annotated[list[Any], Field(min_length=1), Tag("<list>")] | Annotated[ForEach, Tag("<from>")],
    Discriminator(_kind_of_list),
]


def _kind_of_arguments(value: Any) -> str:
    return "<list>" if isinstance(value, list) else "<mapping>"


Args = Annotated[
    Annotated[dict[str, Any], Tag("<mapping>")] | Annotated[list[str], Tag("<list>")],
    Discriminator(_kind_of_arguments),
]


class Job(Settings):
    """One step. Exactly one of `bundle`, `bash` and `operator` says what it does."""

    bundle: str | None = Field(
        default=None,
        description="Folder or zip file with `script.sh` at its root: beside this file, in `bundles/` beside "
        "it, an absolute path, or a URL of an object store.",
    )
    bash: str | None = Field(default=None, description="Shell commands to run.")
    operator: str | None = Field(default=None, description="Any Airflow operator, by its full Python path.")
    args: Args | None = Field(
        default=None,
        description="Arguments: of a script a list of text, of an operator a mapping; may hold templates.",
    )
    input: str | None = Field(
        default=None, description="Job whose output the script reads: `previous`, or the name of a job before it."
    )
    inputs: Datasets = Field(
        default_factory=list,
        description="What a script reads, for OpenLineage: addresses such as `s3://bucket/path`; may hold templates.",
    )
    outputs: Datasets = Field(default_factory=list, description="What a script writes, in the same form.")
    independent: bool = Field(default=False, description="Run even if the job before it failed (`when: done`).")
    after: Names | None = Field(
        default=None,
        description="Jobs that it follows. Without it, the job above it in the file; `[]` starts at once.",
    )
    when: Literal["succeeded", "failed", "done"] = Field(
        default="succeeded",
        description="Condition on the jobs it follows. `succeeded`: none failed. `done`: any result. "
        "`failed`: at least one failed; such a job is a handler, is not part of the file's order, and without `after` "
        "watches all jobs.",
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Your own parameters. The script gets them; they are stored in Redis."
    )
    for_each: Items | None = Field(
        default=None,
        description="Run once for each entry of a list, side by side: a list, or `{from: job}`. A script gets its "
        "entry as `$ITEM`; for an operator each entry is a mapping of further arguments.",
    )
    enabled: bool = Field(
        default=True, description="`false` skips the job. When you enable it again, it loads what it missed."
    )
    sha256: Sha256 | None = Field(default=None, description="Digest that the bundle must have.")
    doc: str | None = Field(default=None, description="Documentation in Markdown, shown in Airflow's UI.")

    @property
    def operator_args(self) -> dict[str, Any]:
        """Arguments of its operator."""
        return self.args if isinstance(self.args, dict) else {}

    @property
    def script_args(self) -> list[str]:
        """Arguments of its script."""
        return self.args if isinstance(self.args, list) else []

    @property
    def is_handler(self) -> bool:
        """Tell whether it is a handler of failures: outside of the order and without state."""
        return self.when == "failed"


class Within(_Model):
    """A wait's scope in hours and minutes."""

    within: PositiveDuration = Field(description="How recent a success has to be, such as `12h`.")


Scope = Annotated[
    Annotated[Literal["today", "since_last_run", "any"], Tag("<name>")] | Annotated[Within, Tag("<within>")],
    # Tags are in angle brackets, so that `violations` can tell them from keys in the place of an error.
    Discriminator(lambda value: "<within>" if isinstance(value, dict | Within) else "<name>"),
]


class Wait(_Model):
    """A workflow to wait for before the batch opens."""

    workflow: str = Field(description="The workflow to wait for.")
    jobs: Names | None = Field(default=None, description="Only these of its jobs; without it, all enabled ones.")
    scope: Scope = Field(
        default="today",
        description="Which success counts: `today` (the day of this run), `since_last_run`, `any`, or `{within: 12h}`.",
    )
    timeout: PositiveDuration | None = Field(default=None, description="How long to wait before the wait fails.")
    on_failed: Literal["wait", "fail"] = Field(
        default="wait", description="When the other workflow failed: `wait` (it may be re-run) or `fail`."
    )
    timezone: Timezone | None = Field(
        default=None, description="Timezone in which the day starts at midnight; default: this workflow's timezone."
    )


class After(_Model):
    """A schedule by other workflows' batches."""

    after: Names = Field(description="Workflows; a run starts when all of them have succeeded again.")
    any: bool = Field(default=False, description="Start as soon as one of them has succeeded.")
    same_day: bool = Field(
        default=False,
        description="Only if all have succeeded on one day, in `timezone`: a run waits for those that are missing and "
        "is skipped when the day ends.",
    )
    result: Literal["success", "failed", "closed"] = Field(
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


class RunParam(_Model):
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


class Deadline(_Model):
    """Time by which a batch should be closed. If it is late, notifiers are called, and the batch goes on."""

    closed_by: TimeOfDay | None = Field(
        default=None, description='Time of day in `timezone`, such as `"06:00"`; needs a schedule at one time of day.'
    )
    within: PositiveDuration | None = Field(default=None, description="How long after the run was due.")
    notify: Annotated[Notifiers, Field(min_length=1)] = Field(description="Airflow notifiers to call.")


InfaText = Annotated[str, Field(pattern=r"^[^\[\]\r\n]+$")]


class Infa(_Model):
    """How the Informatica parameter file names its sections."""

    folder: InfaText | None = Field(
        default=None,
        description="PowerCenter folder: headings are `[folder.WF:workflow.ST:job]`. Without it `[job]`, as "
        "the original Batchy writes them.",
    )
    workflow: InfaText | None = Field(
        default=None, description="Workflow in PowerCenter; without it, the name of this file."
    )
    session: InfaText | None = Field(default=None, description="Session; `{job}` is the job's name. Default: `{job}`.")
    dates: Literal["powercenter", "iso"] = Field(
        default="powercenter",
        description="`powercenter` writes `MM/DD/YYYY HH24:MI:SS.US`; `iso` as the original Batchy.",
    )


_WrittenWaits = str | Wait | list[str | Wait]


def _waits(value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    return [{"workflow": item} if isinstance(item, str) else item for item in several]


class SharedModel(_Model):
    """Keys that `_defaults.yaml` may have, for all files below it."""

    description: str | None = Field(default=None, description="One line, shown beside the DAG's name.")
    doc: str | None = Field(default=None, description="Documentation in Markdown, shown in Airflow's UI.")
    schedule: Schedule | None = Field(
        default=None,
        description="When to run: a cron expression, a preset (`@daily`), a list of cron expressions, "
        "`{after: [workflow, …]}`, or nothing for runs by hand.",
    )
    timezone: Timezone = Field(
        default="UTC", description="IANA name; of the schedule, of `trunc_start`, and of dates in this file."
    )
    start_date: DateText | None = Field(default=None, description="Nothing is scheduled before it.")
    end_date: DateText | None = Field(default=None, description="Nothing is scheduled after it.")
    catchup: bool = Field(default=False, description="Run what was missed since `start_date`.")
    max_active_runs: OneOrMore = Field(default=1, description="Runs at the same time.")
    run_timeout: PositiveDuration | None = Field(
        default=None, description="How long a whole run may take, waits included; then it is failed."
    )
    max_active_jobs: OneOrMore | None = Field(
        default=None, description="Tasks of this workflow at the same time; default: Airflow's setting."
    )
    run_params: Annotated[
        dict[str, RunParam], BeforeValidator(_run_params, json_schema_input_type=_WrittenRunParams)
    ] = Field(
        default_factory=dict,
        description="Values that a person may give to a run: Airflow shows a form; jobs use `{{ params.name }}`.",
    )
    on_failure: Notifiers | None = Field(default=None, description="Airflow notifiers to call when a run has failed.")
    on_success: Notifiers | None = Field(
        default=None, description="Airflow notifiers to call when a run has succeeded."
    )
    deadline: Deadline | None = Field(default=None, description="Time by which each batch should be closed.")
    wait_for: Annotated[list[Wait], BeforeValidator(_waits, json_schema_input_type=_WrittenWaits)] = Field(
        default_factory=list, description="Workflows to wait for: a name, a mapping, or a list of these."
    )
    defaults: Settings = Field(default_factory=Settings, description="Settings for all jobs.")
    tags: Names = Field(default_factory=list, description="Tags in Airflow's UI.")
    owner: Owner | None = Field(default=None, description="Owner of all tasks, for jobs that name none.")
    if_open: Literal["fail", "wait", "take_over"] = Field(
        default="fail", description="What to do when another active run holds the batch open."
    )
    initial_date: DateText | None = Field(
        default=None, description="Start of the very first window of each job, inclusive."
    )
    connection: str | None = Field(default=None, description="Airflow connection of the Redis server.")
    enabled: bool = Field(default=True, description="`false` makes no DAG of this file.")
    paused: bool | None = Field(default=None, description="Start a new DAG paused; default: Airflow's setting.")
    infa: Infa | None = Field(default=None, description="Sections of the Informatica parameter file.")


class WorkflowModel(SharedModel):
    """One workflow: one file, one DAG."""

    jobs: Annotated[dict[str, Job], Field(min_length=1)] = Field(
        description="Name → job, in order: each follows the one before it."
    )
