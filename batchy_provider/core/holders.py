# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who holds a batch open: an Airflow run, a calling process, or a program with a lease; and who counts as the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

NAMED = "@"
"""Begins a run key that names an Airflow. No run id begins with it, since Airflow's pattern for run ids lacks it."""


UNNAMED = "unnamed-airflow-"
"""Begins the name that an Airflow without a name makes for itself."""


def run_key(workflow: str, dag_id: str, run_id: str, deployment: str | None = None) -> str:
    """Return the key of a run in ``wf:runs``.

    :param deployment: name of the Airflow that has the run. Without one, the key is that of earlier releases: the run
        id alone if the workflow's own DAG opens it, else ``dag_id/run_id``.
    """
    if deployment is not None:
        return f"{NAMED}{deployment}|{dag_id}|{run_id}"
    return run_id if dag_id == workflow else f"{dag_id}/{run_id}"


def run_keys(workflow: str, dag_id: str, run_id: str, deployment: str | None) -> tuple[str, ...]:
    """Return the keys under which a run may be known, the current form first, then that of earlier releases."""
    earlier = run_key(workflow, dag_id, run_id)
    return (earlier,) if deployment is None else (run_key(workflow, dag_id, run_id, deployment), earlier)


def key_of_record(workflow: str, run: str, deployment: str | None) -> str:
    """Return the key in ``wf:runs`` of a run as a record names it.

    :param run: the run id, after ``dag_id/`` if the DAG has another name than the workflow.
    """
    if deployment is None:
        return run
    dag_id, slash, run_id = run.partition("/")
    return run_key(workflow, dag_id, run_id, deployment) if slash else run_key(workflow, workflow, run, deployment)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process of one machine.

    :param started: when it started, in ticks since the machine's boot. Another process can get the same `pid` later.
    """

    pid: int
    started: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingProcess:
    """The process that called a command, with what stands between it and the command.

    :param host: name of the machine or container, for people.
    :param place: identifies the boot of the machine and the namespace of process ids. Process ids of two places cannot
        be compared, even if the host has the same name.
    :param chain: from the command's parent up to the calling script. What stands between, for example a subshell, may
        end long before the script.
    """

    host: str
    place: str
    chain: Sequence[ProcessId]

    def __str__(self) -> str:
        return f"process {self.chain[-1].pid} on {self.host}"


HolderState = Literal["alive", "gone", "unknown"]
"""What this machine knows of the process that holds a batch.

- ``alive``: it runs.
- ``gone``: it has ended.
- ``unknown``: it runs, or ran, in another place.
"""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What this machine sees of the process that holds a batch.

    :param process: the nearest process of the chain that is alive; None if none is, or if nobody can tell.
    """

    state: HolderState
    process: ProcessId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who opened a batch.

    :param dag_id: the Airflow DAG, or None when a person or another program opened it.
    :param run_id: its run.
    :param by: the person or program, for people to read.
    :param token: unique to one request, so that a request that is repeated after a lost reply finds its batch. The
        store sets it when it first sends the request. Empty before that, and if nobody is known to hold the batch.
    :param deployment: name of the Airflow that has the run; None if it is not known, or if no run opened the batch.
    :param process: the process that holds the batch while it lives; None for a run, and for a caller without a process.
    """

    dag_id: str | None = None
    run_id: str | None = None
    by: str | None = None
    token: str = ""
    deployment: str | None = None
    process: CallingProcess | None = field(default=None, compare=False)

    @property
    def is_run(self) -> bool:
        """Tell whether it is an Airflow run, which Airflow can be asked about."""
        return self.dag_id is not None and self.run_id is not None

    def run_key(self, workflow: str) -> str | None:
        """Return its key in ``wf:runs``, or None if it is not a run."""
        if self.dag_id is None or self.run_id is None:
            return None
        return run_key(workflow, self.dag_id, self.run_id, self.deployment)

    def run_name(self, workflow: str) -> str | None:
        """Return its run as records name it, without the deployment; None if it is not a run."""
        if self.dag_id is None or self.run_id is None:
            return None
        return run_key(workflow, self.dag_id, self.run_id)

    def earlier_run_key(self, workflow: str) -> str | None:
        """Return the key that an earlier release has written for its run; None if it is the same, or there is none."""
        return self.run_name(workflow) if self.deployment is not None else None

    def is_elsewhere(self, other: Holder) -> bool:
        """Tell whether both are runs of Airflow deployments that are known to be different."""
        if not (self.is_run and other.is_run) or self.deployment is None or other.deployment is None:
            return False
        return self.deployment != other.deployment

    @property
    def name(self) -> str:
        """The run, person or program, without its process."""
        if self.is_run:
            return f"run {self.run_id!r} of DAG {self.dag_id!r}"
        return self.by or "another program (perhaps the original Batchy server)"

    def __str__(self) -> str:
        return self.name if self.process is None else f"{self.name} ({self.process})"


@dataclass(frozen=True, slots=True)
class Lease:
    """A program holds the open batch until a moment, and renews the lease while it runs.

    :param batch_id: the batch; the lease means nothing for any other.
    :param until: the moment in the state's form of a date, by the clock of the Redis server.
    """

    batch_id: int
    until: str
