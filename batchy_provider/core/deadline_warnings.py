# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Warnings about deadlines: when a miss becomes likely, and when the danger is over.

`decide` is the rule. It goes from the warning that is stored, and the outlook of the run now, to the warning that is
stored next, with the message that notifiers get. `core.warning_deliveries` says who delivers that message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batchy_provider.core.vocabulary import SentenceCode

DEFAULT_CHANCE = 0.8
"""The probability of a miss from which a warning is given, if the file names no other."""
CALM_SHARE = 0.75
"""The danger is over when the probability is at most this share of the threshold. So a warning does not flap."""
MAX_AGE = timedelta(minutes=5)
"""An older outlook changes nothing: the state may have moved on since it was read."""
KEPT = timedelta(days=1)
"""How long a warning is kept after its deadline."""


class WarningState(SentenceCode):
    """What is known of the deadline of one run."""

    DANGER = "danger"
    """A miss is likely."""
    OVER = "over"
    """It was likely, and is not any more."""
    MISSED = "missed"
    """It was likely, and has happened. Airflow's own deadline notification tells it."""


class OverCode(SentenceCode):
    """Why a danger is over."""

    CLOSED_IN_TIME = "closed_in_time"
    """The workflow has succeeded before the deadline."""
    CHANCE_FELL = "chance_fell"
    """A miss is not likely any more."""
    NO_RUN = "no_run"
    """The schedule does not have this run any more."""
    ON_HOLD = "on_hold"
    """A person has put the workflow on hold."""
    PAUSED = "paused"
    """Somebody has paused the DAG."""
    NOT_WANTED = "not_wanted"
    """The file has no such deadline any more, or no `warn`."""


class DeliveryStep(SentenceCode):
    """How far the delivery of a message to one notifier is."""

    DUE = "due"
    """The notifier was not called yet, or has failed."""
    BEGUN = "begun"
    """The notifier was called, and its end is not recorded."""
    DONE = "done"
    """The notifier has ended without an error."""


@dataclass(frozen=True, slots=True)
class WarningReason:
    """One workflow of the reason chain.

    :param code: a `WhyCode`.
    """

    workflow: str
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class NotifierCall:
    """A notifier that is called with the message.

    :param notifier: full Python path of its class.
    :param args: its arguments, as the file has them.
    """

    notifier: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningMessage:
    """A message that is not delivered completely yet.

    :param kind: ``danger`` or ``over``.
    :param steps: index of the notifier → how far its delivery is.
    :param by: the evaluator that delivers it; None if nobody does.
    :param until: when its lease ends, naive UTC.
    """

    kind: WarningState
    steps: Mapping[int, DeliveryStep]
    by: str | None = None
    until: datetime | None = None

    def at_step(self, *steps: DeliveryStep) -> frozenset[int]:
        """Return the notifiers that are at one of some steps."""
        return frozenset(index for index, step in self.steps.items() if step in steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineWarning:
    """The warning about the deadline of one run. Moments are naive UTC.

    :param run: identifies the run: when it was due or, in a workflow without cron, when it started. ISO 8601.
    :param since: when it came into its state.
    :param seen: when the run was evaluated last.
    :param chance: the probability of a miss at that time.
    :param expected_end: when the run probably ends (P50), at that time; None if it is not known.
    :param scope: the Airflow and the DAG that give the warning.
    :param text: the sentence for people.
    :param chain: the reason chain: this workflow, what it waits for, and so on; the root cause is last.
    :param notifiers: those that get its messages.
    :param message: what is not delivered yet; None if all is.
    :param told: indexes of the notifiers that have, or may have, the danger and not its end.
    :param over: why the danger is over; None while it stands.
    """

    run: str
    deadline: datetime
    state: WarningState
    since: datetime
    seen: datetime
    chance: float
    expected_end: datetime | None = None
    scope: str = ""
    text: str = ""
    chain: Sequence[WarningReason] = ()
    notifiers: Sequence[NotifierCall] = ()
    message: WarningMessage | None = None
    told: frozenset[int] = frozenset()
    over: OverCode | None = None

    @property
    def stands(self) -> bool:
        """Tell whether the danger is there."""
        return self.state is WarningState.DANGER

    def is_expired(self, now: datetime) -> bool:
        """Tell whether nobody needs it any more."""
        return not self.stands and self.message is None and self.deadline + KEPT < now


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What an evaluation has found out about one run. Moments are naive UTC.

    :param run: as in `DeadlineWarning`.
    :param at: when the state was read, by the clock of the Redis server.
    :param chance: the probability that it misses the deadline; None if it is not known.
    :param late_end: it ends before that in nine of ten cases (P90).
    :param over: why there is no danger, whatever the probability; None if the probability decides.
    :param missed: the deadline has passed without a success.
    """

    run: str
    deadline: datetime
    at: datetime
    chance: float | None = None
    expected_end: datetime | None = None
    late_end: datetime | None = None
    over: OverCode | None = None
    missed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """What a new warning says, and to whom.

    :param chance: the threshold: from this probability on there is a warning.
    """

    chance: float
    scope: str
    text: str = ""
    chain: Sequence[WarningReason] = ()
    notifiers: Sequence[NotifierCall] = ()


def state_after(previous: DeadlineWarning | None, outlook: Outlook, threshold: float) -> WarningState | None:
    """Return the state that follows; None if there is no warning before or after.

    A probability that is not known changes nothing: it neither raises a warning nor ends one.

    :param threshold: from this probability on there is a warning.
    """
    stands = previous is not None and previous.stands
    if outlook.missed:
        return WarningState.MISSED if stands else _same(previous)
    if outlook.over is not None:
        return WarningState.OVER if stands else _same(previous)
    if outlook.chance is None or outlook.deadline <= outlook.at:
        return _same(previous)
    if stands:
        return WarningState.OVER if outlook.chance <= threshold * CALM_SHARE else WarningState.DANGER
    return WarningState.DANGER if outlook.chance >= threshold else _same(previous)


def _same(previous: DeadlineWarning | None) -> WarningState | None:
    return None if previous is None else previous.state


def is_new_danger(previous: DeadlineWarning | None, outlook: Outlook, threshold: float) -> bool:
    """Tell whether an outlook raises a warning that does not stand yet."""
    after = state_after(previous, outlook, threshold)
    return after is WarningState.DANGER and (previous is None or not previous.stands)


def decide(previous: DeadlineWarning | None, outlook: Outlook, alarm: Alarm, now: datetime) -> DeadlineWarning | None:
    """Return the warning that is stored next; None if nothing changes.

    An outlook that is older than the one that decided last, or too old, changes nothing. So of two evaluators with
    one outlook each, the first one decides.

    :param alarm: what a new warning says. Its threshold counts for a warning that stands, too.
    :param now: the Redis server's time, naive UTC.
    """
    if now - outlook.at > MAX_AGE or (previous is not None and outlook.at <= previous.seen):
        return None
    after = state_after(previous, outlook, alarm.chance)
    if after is None:
        return None
    if after is WarningState.DANGER and (previous is None or not previous.stands):
        return _raised(previous, outlook, alarm)
    assert previous is not None
    found = replace(
        previous,
        seen=outlook.at,
        deadline=outlook.deadline,
        chance=previous.chance if outlook.chance is None else outlook.chance,
        expected_end=outlook.expected_end or previous.expected_end,
    )
    if after is previous.state:
        return found if previous.stands else None
    told = previous.told
    if previous.message is not None:
        told |= previous.message.at_step(DeliveryStep.BEGUN, DeliveryStep.DONE)
    if after is WarningState.MISSED:
        return replace(found, state=after, since=outlook.at, message=None, told=frozenset())
    # A notifier that never got the danger does not need its end.
    steps = dict.fromkeys(sorted(told), DeliveryStep.DUE)
    return replace(
        found,
        state=after,
        since=outlook.at,
        over=outlook.over or OverCode.CHANCE_FELL,
        message=WarningMessage(kind=after, steps=steps) if steps else None,
        told=told,
    )


def _raised(previous: DeadlineWarning | None, outlook: Outlook, alarm: Alarm) -> DeadlineWarning:
    assert outlook.chance is not None
    # Who has not heard of the end of an earlier danger still believes in it.
    told: frozenset[int] = frozenset()
    if previous is not None and previous.message is not None and tuple(previous.notifiers) == tuple(alarm.notifiers):
        told = previous.message.at_step(DeliveryStep.DUE)
    steps = {index: DeliveryStep.DUE for index in range(len(alarm.notifiers)) if index not in told}
    return DeadlineWarning(
        run=outlook.run,
        deadline=outlook.deadline,
        state=WarningState.DANGER,
        since=outlook.at,
        seen=outlook.at,
        chance=outlook.chance,
        expected_end=outlook.expected_end,
        scope=alarm.scope,
        text=alarm.text,
        chain=tuple(alarm.chain),
        notifiers=tuple(alarm.notifiers),
        message=WarningMessage(kind=WarningState.DANGER, steps=steps) if steps else None,
        told=told,
    )
