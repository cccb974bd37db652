# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The keys of a job in a workflow file, and those that ``defaults`` gives to all jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from batchy_provider.config.base_model import Count, FileModel, Notifiers, OneOrMore, Owner, PoolOrQueue, Priority
from batchy_provider.config.field_types import (
    Datasets,
    DateText,
    Duration,
    Env,
    Hours,
    Names,
    PositiveDuration,
    Sha256,
    Size,
)


class Limits(FileModel):
    """What one execution of a script may use; over it, the script is stopped."""

    cpu: PositiveDuration | None = Field(default=None, description="CPU time, such as `10m`.")
    memory: Size | None = Field(default=None, description="Memory of each process (address space), such as `512M`.")
    open_files: Annotated[int, Field(ge=8, le=2**31 - 1)] | None = Field(
        default=None, description="Files open at once."
    )
    file_size: Size | None = Field(default=None, description="Size of a single file it may write, such as `2G`.")


class Settings(FileModel):
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


class ForEach(FileModel):
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
