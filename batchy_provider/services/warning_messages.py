# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Deliver the message of a warning: call each notifier once, and record each call before and after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from batchy_provider.core import warning_deliveries as rules
from batchy_provider.core.deadline_warnings import DeadlineWarning, NotifierCall, WarningMessage, WarningState
from batchy_provider.services.warning_answers import told
from batchy_provider.state.warning_changes import change_warnings

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.state.backend import Backend

CallNotifier = Callable[[NotifierCall, dict[str, Any]], None]
"""Calls a notifier with what it finds under ``warning`` in its context."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that this evaluator must deliver: it has the lease.

    :param warning: what is stored.
    """

    workflow: str
    warning: DeadlineWarning
    message: WarningMessage

    @property
    def kind(self) -> WarningState:
        """``danger`` or ``over``."""
        return self.message.kind


def deliver(backend: Backend, delivery: Delivery, evaluator: str, call: CallNotifier) -> list[str]:
    """Call the notifiers that have not got a message yet.

    A notifier that fails is called again at the next evaluation, until the message is not needed any more.

    :param evaluator: who has leased the message.
    :returns: the errors of notifiers.
    """
    errors: list[str] = []
    content = told(delivery.workflow, delivery.warning, delivery.kind)
    for index in rules.pending_of(delivery.message):
        begun = _change(backend, delivery, partial(rules.begin, index, evaluator))
        if begun is None or begun.message is None or begun.message.kind is not delivery.kind:
            break  # another evaluator has it, or another message has taken its place
        notifier = delivery.warning.notifiers[index]
        succeeded = True
        try:
            call(notifier, content)
        except Exception as error:
            succeeded = False
            errors.append(f"{delivery.workflow}: {notifier.notifier}: {type(error).__name__}: {error}")
        _change(backend, delivery, partial(rules.finish, index, evaluator, delivery.kind, succeeded))
    if errors:
        _change(backend, delivery, partial(rules.release, evaluator))
    return errors


def _change(
    backend: Backend, delivery: Delivery, rule: Callable[[DeadlineWarning, datetime], DeadlineWarning | None]
) -> DeadlineWarning | None:
    """Change the stored warning of a message; None if the rule refuses, or it is gone."""

    def change(
        before: Mapping[str, DeadlineWarning], now: datetime
    ) -> tuple[DeadlineWarning | None, Mapping[str, DeadlineWarning] | None]:
        previous = before.get(delivery.warning.run)
        after = None if previous is None else rule(previous, now)
        return after, None if after is None else {**before, after.run: after}

    return change_warnings(backend, delivery.workflow, change)
