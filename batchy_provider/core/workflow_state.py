# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state of a workflow in Redis, as faces show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchy_provider.core.deadline_warnings import DeadlineWarning
from batchy_provider.core.holders import Lease
from batchy_provider.core.holds import Hold
from batchy_provider.core.job_state import Fields
from batchy_provider.core.schedules import NO_SCHEDULE, Schedule
from batchy_provider.core.values import Batch, Holder, PersonalChange
from batchy_provider.core.window_shape import WindowShape


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowState:
    """The current state of a workflow in Redis.

    :param jobs: job → its latest fields, in the configuration's order where that is known.
    :param batch: the latest live batch; None before the first one.
    :param holder: who holds the open batch.
    :param disabled: jobs that are switched off, at run time or in the configuration.
    :param timezone: the workflow's.
    :param window: the shape of its windows; None if they have none.
    :param infa: how the Informatica parameter file names its sections.
    :param changes: what people changed, newest first.
    :param last_success: when a live batch last succeeded, UTC; None if unknown.
    :param hold: the hold on it; None without one, and if it has ended by itself.
    :param progress: job → its latest report: ``batch_id``, ``progress``, ``message``, ``at``.
    :param schedule: when it is due, as far as Redis remembers it.
    :param lease: the lease on the open batch; None without one.
    :param warnings: run → the warning about its deadline.
    """

    workflow: str
    jobs: dict[str, Fields]
    batch: Batch | None
    holder: Holder | None
    disabled: frozenset[str]
    timezone: str
    infa: Mapping[str, Any] = field(default_factory=dict)
    changes: Sequence[PersonalChange] = ()
    last_success: str | None = None
    progress: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    window: WindowShape | None = None
    hold: Hold | None = None
    schedule: Schedule = NO_SCHEDULE
    lease: Lease | None = None
    warnings: Mapping[str, DeadlineWarning] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnreadableWorkflow:
    """A workflow whose state in Redis cannot be read.

    :param reason: what is wrong where, and what to do, for people.
    """

    workflow: str
    reason: str
