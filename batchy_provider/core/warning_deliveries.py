# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who delivers the message of a warning, and to which notifiers: a lease, and a step for each notifier.

An evaluator leases a message, records that it begins with a notifier, calls it, and records the end. If it dies, the
lease expires, and the next evaluator goes on. A notifier whose begin is recorded and whose end is not is called again:
so it is called twice only if an evaluator dies between the call and the record of its end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from batchy_provider.core.deadline_warnings import DeadlineWarning, DeliveryStep, WarningMessage, WarningState

LEASE = timedelta(minutes=5)
"""For how long only one evaluator may deliver a message, from the last notifier that it has begun with."""


def claim(warning: DeadlineWarning, by: str, now: datetime) -> DeadlineWarning | None:
    """Lease the message of a warning; None if there is none, or another evaluator has it.

    :param by: the evaluator; a name that no other one uses.
    :param now: the Redis server's time, naive UTC.
    """
    message = warning.message
    if message is None or not _is_free(message, by, now) or _is_too_late(warning, now):
        return None
    return replace(warning, message=replace(message, by=by, until=now + LEASE))


def begin(index: int, by: str, warning: DeadlineWarning, now: datetime) -> DeadlineWarning | None:
    """Record that an evaluator calls a notifier next; None if it must not.

    :param index: of the notifier.
    """
    claimed = claim(warning, by, now)
    if claimed is None or claimed.message is None or index not in pending(claimed):
        return None
    return replace(claimed, message=_with_step(claimed.message, index, DeliveryStep.BEGUN))


def finish(
    index: int, by: str, kind: WarningState, succeeded: bool, warning: DeadlineWarning, _now: datetime
) -> DeadlineWarning | None:
    """Record how a call has ended; None if another message, or another evaluator, has taken its place.

    :param kind: of the message that was delivered.
    :param succeeded: the notifier has not failed.
    """
    message = warning.message
    if message is None or message.by != by or message.kind is not kind or index not in message.steps:
        return None
    message = _with_step(message, index, DeliveryStep.DONE if succeeded else DeliveryStep.DUE)
    if pending_of(message):
        return replace(warning, message=message)
    told = warning.told | frozenset(message.steps) if kind is WarningState.DANGER else frozenset()
    return replace(warning, message=None, told=told)


def release(by: str, warning: DeadlineWarning, _now: datetime) -> DeadlineWarning | None:
    """Give a message back, so that the next evaluation tries the rest again; None if another evaluator has it."""
    message = warning.message
    if message is None or message.by != by:
        return None
    return replace(warning, message=replace(message, by=None, until=None))


def pending(warning: DeadlineWarning) -> list[int]:
    """Return the notifiers that the message must still reach, in order."""
    return [] if warning.message is None else pending_of(warning.message)


def pending_of(message: WarningMessage) -> list[int]:
    """Return the notifiers that a message must still reach, in order."""
    return sorted(message.at_step(DeliveryStep.DUE, DeliveryStep.BEGUN))


def _is_free(message: WarningMessage, by: str, now: datetime) -> bool:
    return message.by is None or message.by == by or message.until is None or message.until <= now


def _is_too_late(warning: DeadlineWarning, now: datetime) -> bool:
    """Tell whether a danger is not worth a message any more: the deadline's own notification has taken its place."""
    return warning.stands and warning.deadline <= now


def _with_step(message: WarningMessage, index: int, step: DeliveryStep) -> WarningMessage:
    return replace(message, steps={**message.steps, index: step})
