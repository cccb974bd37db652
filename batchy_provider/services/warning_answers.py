# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Answers about warnings as plain data, and the sentences that notifiers get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchy_provider.core.dates import format_date
from batchy_provider.core.deadline_warnings import DeadlineWarning, Outlook, OverCode, WarningReason
from batchy_provider.plan.pending_runs import at_text
from batchy_provider.plan.why import headline

if TYPE_CHECKING:
    from batchy_provider.core.deadline_warnings import WarningState

_OVER = {
    OverCode.CLOSED_IN_TIME: "it has succeeded in time",
    OverCode.CHANCE_FELL: "the probability of a miss has fallen to {chance:.0%}",
    OverCode.NO_RUN: "its schedule does not have this run any more",
    OverCode.ON_HOLD: "a person has put it on hold",
    OverCode.PAUSED: "its DAG is paused",
    OverCode.NOT_WANTED: "its file does not ask for this warning any more",
}


@dataclass(frozen=True, slots=True)
class WarningLink:
    """One workflow of the reason chain.

    :param code: a `WhyCode`.
    """

    workflow: str
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningView:
    """A warning that stands. Moments are UTC, ISO 8601.

    :param run: when the run was due or, in a workflow without cron, when it started.
    :param since: since when a miss is likely.
    :param chance: the probability of a miss at the latest evaluation, from 0 to 1.
    :param expected_end: when the run probably ends; None if it is not known.
    :param evaluated: when that was.
    :param text: the sentence that notifiers got.
    :param chain: why: this workflow, what it waits for, and so on; the root cause is last.
    """

    workflow: str
    run: str
    deadline: str
    since: str
    chance: float
    expected_end: str | None
    evaluated: str
    text: str
    chain: list[WarningLink]

    @classmethod
    def of(cls, workflow: str, warning: DeadlineWarning) -> WarningView:
        """Show a warning."""
        return cls(
            workflow=workflow,
            run=warning.run,
            deadline=format_date(warning.deadline),
            since=format_date(warning.since),
            chance=warning.chance,
            expected_end=None if warning.expected_end is None else format_date(warning.expected_end),
            evaluated=format_date(warning.seen),
            text=warning.text,
            chain=[WarningLink(each.workflow, each.code, each.text) for each in warning.chain],
        )


def standing(workflow: str, warnings: Mapping[str, DeadlineWarning], now: datetime) -> list[WarningView]:
    """Return the warnings of a workflow that stand, the nearest deadline first.

    :param now: naive UTC. A deadline that has passed is missed, even if nobody has evaluated it since.
    """
    found = sorted((each for each in warnings.values() if each.stands), key=lambda each: each.deadline)
    return [WarningView.of(workflow, each) for each in found if each.deadline > now]


def danger_text(workflow: str, outlook: Outlook, chain: Sequence[WarningReason]) -> str:
    """Say that a miss is likely, when the run probably ends, and why."""
    chance = 0.0 if outlook.chance is None else outlook.chance
    how = "will miss" if chance >= 1 else "will probably miss"
    text = f"{workflow} {how} its deadline at {at_text(outlook.deadline)}: the probability is {chance:.0%}"
    if outlook.expected_end is not None:
        text += f". It probably ends at {at_text(outlook.expected_end)}"
        if outlook.late_end is not None and outlook.late_end != outlook.expected_end:
            text += f", in nine of ten cases before {at_text(outlook.late_end)}"
    return f"{text}. Why: {headline(chain)}" if chain else text


def over_text(workflow: str, warning: DeadlineWarning) -> str:
    """Say that the danger is over, and why."""
    why = _OVER[warning.over or OverCode.CHANCE_FELL].format(chance=warning.chance)
    return f"The danger is over for the deadline of {workflow} at {at_text(warning.deadline)}: {why}"


def told(workflow: str, warning: DeadlineWarning, kind: WarningState) -> dict[str, Any]:
    """Return what a notifier finds under ``warning`` in its context.

    :param kind: ``danger`` or ``over``.
    """
    is_over = warning.over is not None
    return {
        **asdict(WarningView.of(workflow, warning)),
        "kind": kind.value,
        "over": warning.over.value if warning.over is not None else None,
        "text": over_text(workflow, warning) if is_over else warning.text,
    }
