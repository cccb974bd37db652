# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Decide what a caller may see of a response. All data of ``/api/v1`` leaves through here.

- Secrets are ``***`` for all callers. Only a caller who may edit a workflow gets the exact text of its file.
- Workflows that the caller may not read are left out of lists, and their names are ``***`` in sentences.
- Only a caller who may change Airflow's configuration sees paths of this server and the address of Redis.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import Depends

from batchy_provider.bundles.masking import MASK
from batchy_provider.config.diagnostics import suggestion
from batchy_provider.config.job_name_checks import WAIT_PREFIX
from batchy_provider.plan.why import headline
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.secret_masking import is_secret, mask_fields, mask_file, mask_jobs
from batchy_provider.plugin.security import AnyCaller, Caller
from batchy_provider.plugin.server_addresses import hide_addresses
from batchy_provider.services.warning_answers import WarningLink, WarningView
from batchy_provider.services.why_answers import AffectedView, ImpactView, LinkView, StepView, WhyView

if TYPE_CHECKING:
    from batchy_provider.config.diagnostics import Diagnostic
    from batchy_provider.core.batch_differences import JobFacts
    from batchy_provider.core.batch_notes import BatchNote
    from batchy_provider.core.values import PersonalChange
    from batchy_provider.services.answers import BatchView, JobSummary, WorkflowDetail, WorkflowSummary
    from batchy_provider.services.batch_comparison import ComparisonView
    from batchy_provider.services.batch_history import HistoryRow
    from batchy_provider.services.composition import Services
    from batchy_provider.services.hold_answers import HoldView

S = TypeVar("S", bound="WorkflowSummary")

_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What one caller may see."""

    caller: Caller
    services: Services
    _known: list[set[str]] = field(default_factory=list, init=False, repr=False)
    _readable: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    @property
    def sees_server(self) -> bool:
        """Tell whether the caller may see paths and addresses: those who may change Airflow's configuration."""
        return self.caller.may_configure()

    def readable(self, workflows: set[str]) -> set[str]:
        """Return the workflows that the caller may read, of all workflows that there are.

        The answer holds for the rest of the response: one sentence or row after another needs it.
        """
        found = self.caller.readable(workflows)
        self._readable.update({name: name in found for name in workflows})
        self._known[:] = [workflows]
        return found

    def _may_read(self, workflow: str) -> bool:
        if (known := self._readable.get(workflow)) is None:
            known = self._readable[workflow] = self.caller.may("GET", workflow)
        return known

    def names(self, workflows: Iterable[str]) -> list[str]:
        """Return the names of workflows that the caller may read."""
        return [name for name in workflows if self._may_read(name)]

    def text(self, text: str, *, own: Collection[str] = ()) -> str:
        """Return a sentence without the names, paths and addresses that the caller may not see.

        :param own: names that stay: those of the workflow that the sentence is about, and of its jobs.
        """
        for name in sorted(self._hidden(text, own), key=len, reverse=True):
            # A suggestion that is masked would still say that there is such a workflow.
            text = text.replace(suggestion(name), "")
            text = re.sub(rf"(?<![\w.\-]){re.escape(name)}(?![\w\-])", MASK, text)
        return text if self.sees_server else hide_addresses(text)

    def _hidden(self, text: str, own: Collection[str]) -> set[str]:
        words = {each for word in _NAME.findall(text) for each in (word, word.strip("."), *_stems(word))}
        if not self._known:  # the same for all sentences of one response: to ask takes a look at each workflow file
            self._known.append(self.services.workflows.known_names())
        known = words & self._known[0] - {*own}
        return {name for name in known if not self._may_read(name)}

    def summary(self, found: S) -> S:
        """Return what the caller may see of a workflow in a list."""
        own = (found.workflow, *found.jobs)
        more: dict[str, Any] = {}
        if (activity := getattr(found, "activity", None)) is not None:
            more["activity"] = replace(activity, waits_for=self.names(activity.waits_for))
        if (failure := getattr(found, "failure", None)) is not None:
            reason, last_line = self._maybe(failure.reason, own), self._maybe(failure.last_line, own)
            more["failure"] = replace(failure, reason=reason, last_line=last_line)
        return replace(
            found,
            **more,
            run=self._maybe(found.run, own),
            waits_for=self.names(found.waits_for),
            waited_for_by=self.names(found.waited_for_by),
            holder=self._maybe(found.holder, own),
            schedule=self._maybe(found.schedule, own),
            window=self._maybe(found.window, own),
            hold=None if found.hold is None else self.hold(found.hold, own=own),
            acknowledged=None if found.acknowledged is None else self._note(found.acknowledged, own),
            warning=None if found.warning is None else self.warning(found.warning, own=own),
            progress={job: mask_fields(report) for job, report in found.progress.items()},
        )

    def detail(self, found: WorkflowDetail) -> WorkflowDetail:
        """Return what the caller may see of a workflow.

        The text of its file needs the permission to read the DAG's code. Secrets in it are masked, except for a caller
        who may edit the workflow.
        """
        name = found.summary.workflow
        own = (name, *found.fields)
        source = found.source
        if source is not None and not self.caller.may("GET", name, DagAccessEntity.CODE):
            source = None
        elif source is not None and not self.caller.may("PUT", name):
            source = self.text(mask_file(source, is_json=(found.file or "").endswith(".json")), own=own)
        task = self.task
        return replace(
            found,
            summary=self.summary(found.summary),
            job_states=[self.job(state) for state in found.job_states],
            fields=mask_jobs(found.fields),
            changes=[self._change(each, own) for each in found.changes],
            source=source,
            faults=self.diagnostics(found.faults, own=own),
            graph={task(node): [task(other) for other in upstream] for node, upstream in found.graph.items()},
        )

    def _change(self, change: PersonalChange, own: Collection[str]) -> PersonalChange:
        by, what = self.text(change.by, own=own), self.text(change.what, own=own)
        return replace(change, by=by, what=what, why=self._maybe(change.why, own))

    def job(self, state: JobSummary) -> JobSummary:
        """Return what the caller may see of a job."""
        progress = None if state.progress is None else mask_fields(state.progress)
        return replace(
            state, params=mask_fields(state.params), progress=progress, upstream=[*map(self.task, state.upstream)]
        )

    def batch(self, found: BatchView) -> BatchView:
        """Return what the caller may see of a batch."""
        own = (found.workflow, *found.jobs)
        return replace(
            found,
            jobs=mask_jobs(found.jobs),
            run=self._maybe(found.run, own),
            by=self._maybe(found.by, own),
            reason=self._maybe(found.reason, own),
            why=self._maybe(found.why, own),
            closed_by=self._maybe(found.closed_by, own),
            closed_why=self._maybe(found.closed_why, own),
            notes=self.notes(found.notes, own=own),
        )

    def history_row(self, found: HistoryRow) -> HistoryRow:
        """Return what the caller may see of a batch in a list."""
        own = (found.workflow, *found.jobs)
        ack = found.acknowledged
        return replace(
            found,
            run=self._maybe(found.run, own),
            by=self._maybe(found.by, own),
            closed_by=self._maybe(found.closed_by, own),
            closed_why=self._maybe(found.closed_why, own),
            notes=self.notes(found.notes, own=own),
            acknowledged=None if ack is None else self._note(ack, own),
        )

    def comparison(self, found: ComparisonView) -> ComparisonView:
        """Return what the caller may see of a comparison."""
        jobs = [replace(each, batch=_masked(each.batch), other=_masked(each.other)) for each in found.jobs]
        own = (found.workflow, *(each.job for each in jobs))
        return replace(found, jobs=jobs, text=self.text(found.text, own=own))

    def hold(self, hold: HoldView, *, own: Collection[str] = ()) -> HoldView:
        """Return what the caller may see of a hold."""
        own = (hold.workflow, *own)
        return replace(hold, by=self.text(hold.by, own=own), why=self.text(hold.why, own=own))

    def warning(self, found: WarningView, *, own: Collection[str] = ()) -> WarningView:
        """Return what the caller may see of a warning. A link that the caller may not read says only that."""
        own = (found.workflow, *own)
        links = [LinkView(each.workflow, each.code, each.text) for each in found.chain]
        chain = [WarningLink(each.workflow, each.code, each.text) for each in self._chain(links)]
        return replace(found, text=self.text(found.text, own=own), chain=chain)

    def notes(self, notes: Iterable[BatchNote], *, own: Collection[str] = ()) -> list[BatchNote]:
        """Return what the caller may see of the notes on a batch."""
        return [self._note(note, own) for note in notes]

    def _note(self, note: BatchNote, own: Collection[str]) -> BatchNote:
        return replace(note, by=self.text(note.by, own=own), text=self._maybe(note.text, own))

    def why(self, found: WhyView) -> WhyView:
        """Return what the caller may see of an answer. A link that the caller may not read says only that."""
        chain = self._chain(found.chain)
        return replace(found, text=headline(chain), chain=chain)

    def _chain(self, links: Iterable[LinkView]) -> list[LinkView]:
        chain: list[LinkView] = []
        for link in links:
            if self._may_read(link.workflow):
                chain.append(replace(link, text=self.text(link.text, own=(link.workflow,))))
            elif not chain or chain[-1].workflow != MASK:
                chain.append(LinkView(MASK, WhyCode.NOT_DISCLOSED.value, f"{MASK} is a workflow that you may not see"))
        return chain

    def impact(self, found: ImpactView) -> ImpactView:
        """Return what the caller may see of an impact: those who may not be seen are one entry without a name."""
        seen = [each for each in found.downstream if self._may_read(each.workflow)]
        shown = [replace(each, via=[self._step(step) for step in each.via]) for each in seen]
        if len(seen) < len(found.downstream):
            shown.append(AffectedView(MASK, [], None, None))
        return replace(found, downstream=shown)

    def _step(self, step: StepView) -> StepView:
        return step if self._may_read(step.workflow) else replace(step, workflow=MASK)

    def diagnostics(self, diagnostics: Iterable[Diagnostic], *, own: Collection[str] = ()) -> list[Diagnostic]:
        """Return what the caller may see of the errors of a file."""
        return [self._diagnostic(diagnostic, own) for diagnostic in diagnostics]

    def _diagnostic(self, diagnostic: Diagnostic, own: Collection[str]) -> Diagnostic:
        message = diagnostic.message
        if any(is_secret(part) for part in re.split(r"[.\[\]]", diagnostic.key) if part):
            message = _QUOTED.sub(f"'{MASK}'", message)
        file = diagnostic.file if self.sees_server else hide_addresses(diagnostic.file)
        return replace(diagnostic, file=file, message=self.text(message, own=(Path(diagnostic.file).stem, *own)))

    def _maybe(self, text: str | None, own: Collection[str]) -> str | None:
        return None if text is None else self.text(text, own=own)

    def task(self, task: str) -> str:
        """Return the name of a task. The name of a task that waits for a workflow contains that workflow's name."""
        if not task.startswith(WAIT_PREFIX) or self._may_read(task.removeprefix(WAIT_PREFIX)):
            return task
        return WAIT_PREFIX + MASK


def _masked(facts: JobFacts | None) -> JobFacts | None:
    return None if facts is None else replace(facts, params=mask_fields(dict(facts.params)))


def _stems(word: str) -> tuple[str, ...]:
    stem, dot, suffix = word.rpartition(".")
    return (stem,) if dot and suffix in ("yaml", "yml", "json") else ()


def get_disclosure(caller: AnyCaller, services: ServicesDep) -> Disclosure:
    """Return the disclosure for the caller of a request."""
    return Disclosure(caller, services)


DisclosureDep = Annotated[Disclosure, Depends(get_disclosure)]
