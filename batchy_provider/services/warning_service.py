# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Show the warnings that stand, evaluate the deadlines of workflows, and deliver the messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from batchy_provider.core import warning_deliveries as rules
from batchy_provider.core.deadline_warnings import (
    Alarm,
    DeadlineWarning,
    NotifierCall,
    Outlook,
    WarningReason,
    decide,
    is_new_danger,
)
from batchy_provider.core.names import check_workflow_name
from batchy_provider.exceptions import BatchyError
from batchy_provider.plan.deadline_outlooks import outlooks
from batchy_provider.services.abandoned_warnings import abandoned, deadlines_with_warnings, end_abandoned, is_abandoned
from batchy_provider.services.plan_answers import DEFAULT_HOURS
from batchy_provider.services.warning_answers import WarningView, danger_text, standing
from batchy_provider.services.warning_messages import CallNotifier, Delivery, deliver
from batchy_provider.services.workflows import unknown_workflow
from batchy_provider.state.warning_changes import change_warnings, read_warnings, record_evaluated

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.reader import Folder
    from batchy_provider.config.schedule_model import Deadline
    from batchy_provider.plan.expected_runs import ExpectedRun
    from batchy_provider.plan.why_facts import Facts
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.plan_answers import PlanService
    from batchy_provider.services.why_answers import WhyService
    from batchy_provider.state.store import Store

Warnings = Mapping[str, DeadlineWarning]

log = logging.getLogger(__name__)

_MOST_LINKS = 10
"""The longest reason chain of a message."""


@dataclass(slots=True)
class Evaluation:
    """What an evaluation has found out.

    :param outlooks: workflow → the outlooks of its runs; those that are due already and the next one.
    :param deliveries: the messages to deliver, the nearest deadline first.
    :param errors: workflow → why it could not be evaluated.
    """

    outlooks: dict[str, list[Outlook]] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


class WarningService:
    """Warn about deadlines that a workflow will probably miss.

    :param store: returns the state in Redis.
    :param catalog: the workflow files.
    :param names: which workflows Redis knows.
    :param plan: works out the probabilities.
    :param why: says why.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        catalog: Catalog,
        names: WorkflowNames,
        plan: PlanService,
        why: WhyService,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._names = names
        self._plan = plan
        self._why = why

    def standing(self, workflows: Iterable[str] | None = None) -> list[WarningView]:
        """Return the warnings that stand, the nearest deadline first.

        :param workflows: of these workflows; None for all.
        """
        wanted = self._names.all() if workflows is None else dict.fromkeys(workflows)
        backend = self._store().backend
        found = read_warnings(backend, wanted)
        now = backend.server_time() if found else datetime.min
        for name in self._end_abandoned(found, now)[0]:
            found[name] = {run: each for run, each in found[name].items() if not is_abandoned(each, now)}
        shown = [view for name, warnings in found.items() for view in standing(name, warnings, now)]
        return sorted(shown, key=lambda each: (each.deadline, each.workflow))

    def end_abandoned(self, workflows: Iterable[str] | None = None) -> list[str]:
        """End the warnings that no file asks for and nobody evaluates, and say once of each why it is over.

        Where somebody evaluates deadlines, the evaluator ends such warnings, and notifies of that.

        :param workflows: of these workflows; None for all.
        """
        wanted = self._names.all() if workflows is None else dict.fromkeys(workflows)
        backend = self._store().backend
        found = read_warnings(backend, wanted)
        return self._end_abandoned(found, backend.server_time())[1] if found else []

    def _end_abandoned(self, stored: Mapping[str, Warnings], now: datetime) -> tuple[list[str], list[str]]:
        """Return the workflows whose warnings are abandoned, and a sentence for each warning that was ended."""
        if not stored:
            return [], []
        names = abandoned(self._catalog.read(), stored, now)
        try:
            texts = end_abandoned(self._store().backend, names)
        except BatchyError as error:  # a user who may only read sees the same
            log.debug("abandoned warnings cannot be ended", exc_info=error)
            return names, []
        for text in texts:
            log.info("%s", text)
        return names, texts

    def of(self, workflow: str) -> list[WarningView]:
        """Return the warnings of a workflow that stand, the nearest deadline first.

        :raises UnknownWorkflowError: neither Redis nor a file knows it.
        """
        check_workflow_name(workflow)
        found = self.standing([workflow])
        if not found and workflow not in self._names.all() | self._catalog.read().workflows.keys():
            raise unknown_workflow(workflow, self._catalog, self._names)
        return found

    # -- evaluation ------------------------------------------------------------------------------------------

    def evaluate(
        self,
        *,
        evaluator: str,
        scope: str,
        connection: str | None = None,
        is_paused: Callable[[str], bool | None] = lambda workflow: None,
    ) -> Evaluation:
        """Evaluate all deadlines that ask for warnings, store what follows, and lease the messages.

        Only these workflows, and those that they need, are simulated. An error in one workflow does not stop another.

        :param evaluator: a name that no other evaluator uses.
        :param scope: the Airflow and the DAG that evaluate: they end the warnings that they have given, also when
            the file does not ask for them any more.
        :param connection: only workflows whose files name this Airflow connection; None: those that name none.
        :param is_paused: tells whether the DAG of a workflow is paused; None if that is not known.
        """
        folder, backend = self._catalog.read(), self._store().backend
        wanted = wanted_deadlines(folder, connection)
        stored = read_warnings(backend, self._names.all() | wanted.keys())
        # An empty folder is more likely a lost mount than the end of all workflows.
        left = {name for name, each in stored.items() if _is_of(each, scope)} if folder.workflows else set()
        names = wanted.keys() | left
        found = Evaluation()
        if not names:
            return found
        facts, runs = self._plan.foresee(names, DEFAULT_HOURS)
        for name in sorted(names):
            try:
                one = _One(name, facts, [run for run in runs if run.workflow == name], stored.get(name, {}))
                found.outlooks[name] = self._settle(one, wanted.get(name), evaluator, scope, is_paused, found)
            except Exception as error:  # an error in one workflow must not stop the warnings of another
                log.debug("%s cannot be evaluated", name, exc_info=error)
                found.errors[name] = (
                    str(error) if isinstance(error, BatchyError) else f"{type(error).__name__}: {error}"
                )
        record_evaluated(backend, [name for name in wanted if facts.workflows[name].readable is not None], facts.now)
        found.deliveries.sort(key=lambda each: each.warning.deadline)
        return found

    def _settle(
        self,
        one: _One,
        deadline: Deadline | None,
        evaluator: str,
        scope: str,
        is_paused: Callable[[str], bool | None],
        found: Evaluation,
    ) -> list[Outlook]:
        """Store what follows for one workflow, and lease its messages.

        :param deadline: of its file, with `warn`; None without one.
        """
        threshold = 1.0 if deadline is None or deadline.warn is None else deadline.warn.chance
        views = one.outlooks(wanted=deadline is not None)
        if any(_matters(one.stored.get(each.run), each, threshold) for each in views) and is_paused(one.name):
            views = one.outlooks(wanted=deadline is not None, paused=True)
        alarms = {
            each.run: self._alarm(one, each, deadline, scope)
            for each in views
            if deadline is not None and is_new_danger(one.stored.get(each.run), each, threshold)
        }
        if not alarms and not one.stored:
            return views
        plain = Alarm(chance=threshold, scope=scope)

        def rule(before: Warnings, now: datetime) -> tuple[list[DeadlineWarning], Warnings]:
            after = {run: each for run, each in before.items() if not each.is_expired(now)}
            for each in views:
                previous, alarm = before.get(each.run), alarms.get(each.run)
                if alarm is None and is_new_danger(previous, each, threshold):
                    continue  # it has changed since it was read; the next evaluation sees it
                if (decided := decide(previous, each, alarm or plain, now)) is not None:
                    after[each.run] = decided
            claimed = {run: got for run, each in after.items() if (got := rules.claim(each, evaluator, now))}
            return list(claimed.values()), {**after, **claimed}

        for warning in change_warnings(self._store().backend, one.name, rule):
            if warning.message is not None:
                found.deliveries.append(Delivery(one.name, warning, warning.message))
        return views

    def _alarm(self, one: _One, outlook: Outlook, deadline: Deadline, scope: str) -> Alarm:
        assert deadline.warn is not None
        chain = self._reasons(one, outlook)
        return Alarm(
            chance=deadline.warn.chance,
            scope=scope,
            text=danger_text(one.name, outlook, chain),
            chain=chain,
            notifiers=[NotifierCall(each.notifier, each.args) for each in deadline.warned],
        )

    def _reasons(self, one: _One, outlook: Outlook) -> list[WarningReason]:
        """Return why a workflow is not done, and why those are not that decide when it ends.

        What scripts have written is left out: everyone who may see the workflow sees the warning.
        """
        run = next((each for each in one.runs if outlook.deadline == each.deadline), None)
        path = [] if run is None else [step.workflow for step in run.critical_path]
        chain: list[WarningReason] = []
        for name in (one.name, *reversed(path)):
            if any(link.workflow == name for link in chain) or len(chain) >= _MOST_LINKS:
                continue
            try:
                links = self._why.of(name, sees_output=lambda workflow: False).chain
            except BatchyError as error:
                log.debug("no reason is known for %s", name, exc_info=error)
                continue
            seen = {link.workflow for link in chain}
            chain += [WarningReason(each.workflow, each.code, each.text) for each in links if each.workflow not in seen]
        return chain[:_MOST_LINKS]

    def deliver(self, delivery: Delivery, evaluator: str, call: CallNotifier) -> list[str]:
        """Call the notifiers that have not got a message yet; see `warning_messages.deliver`."""
        return deliver(self._store().backend, delivery, evaluator, call)


@dataclass(frozen=True, slots=True)
class _One:
    """What is known of one workflow during an evaluation."""

    name: str
    facts: Facts
    runs: Sequence[ExpectedRun]
    stored: Warnings

    def outlooks(self, *, wanted: bool, paused: bool = False) -> list[Outlook]:
        facts = self.facts.workflows[self.name]
        return outlooks(facts, self.runs, self.stored, self.facts.now, wanted=wanted, paused=paused)


def wanted_deadlines(folder: Folder, connection: str | None = None) -> dict[str, Deadline]:
    """Return workflow → its deadline, of those that ask for warnings.

    :param connection: only workflows whose files name this Airflow connection; None: those that name none.
    """
    models = {name: each.model for name, each in folder.workflows.items()}
    return {
        name: deadline
        for name, deadline in deadlines_with_warnings(folder).items()
        if (model := models[name]) is not None and (model.connection or None) == connection
    }


def _is_of(warnings: Warnings, scope: str) -> bool:
    """Tell whether somebody may still have to hear of a warning that an evaluator has given."""
    return any(each.scope == scope and (each.stands or each.message is not None) for each in warnings.values())


def _matters(previous: DeadlineWarning | None, outlook: Outlook, threshold: float) -> bool:
    return (previous is not None and previous.stands) or is_new_danger(previous, outlook, threshold)
