# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read a workflow from Redis for an export, and write an imported one, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from batchy_provider.core.dates import format_date
from batchy_provider.core.imported_state import end_open_batches
from batchy_provider.core.job_durations import durations_of_history
from batchy_provider.core.job_state import JobState
from batchy_provider.core.presenters import event
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Change
from batchy_provider.core.unfinished_rename import check_finished
from batchy_provider.core.values import Actor, PersonalChange
from batchy_provider.exceptions import StateError, WorkflowExistsError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.deliveries import offset_command, read_offset
from batchy_provider.state.duration_lists import dump_durations
from batchy_provider.state.export_form import ImportedWorkflow, export_data
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.tokens import revision_token
from batchy_provider.state.whole_workflow import (
    WholeWorkflow,
    read_consistently,
    read_whole,
    remove_commands,
    write_whole_commands,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """A workflow to write into Redis, who asks for it and why.

    :param replaces: also if Redis has a workflow of that name, which is then removed in the same transaction.
    :param more: see `whole_workflow.read_whole`, for the workflow that is replaced.
    :param has_archive: the state gets a revision, for an archive.
    :param superseded: the revision of the archived state that the imported one replaces.
    """

    workflow: ImportedWorkflow
    by: Actor
    why: str | None = None
    replaces: bool = False
    more: Collection[str] = ()
    has_archive: bool = False
    superseded: Revision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedState:
    """What an import has written, or would write.

    :param jobs: names of the jobs.
    :param batches: how many batches.
    :param replaced: whether a workflow of that name was removed for it.
    :param ended: ids of the batches that were open, and that are failed now.
    """

    workflow: str
    jobs: list[str]
    batches: int
    replaced: bool
    ended: list[int]


def export_state(backend: Backend, workflow: str, *, history: bool) -> dict[str, Any]:
    """Return a workflow as the document holds it, all of one moment.

    :raises UnknownWorkflowError: if Redis does not know it.
    :raises UnfinishedRenameError: if a rename of it was interrupted.
    """
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[WholeWorkflow, Sequence[Command]]:
        return read_consistently(session, keys, lambda: read_whole(session, keys)), ()

    whole = backend.transact(keys, work)
    whole.check_exists()
    check_finished(whole.state.rename, workflow)
    return export_data(whole, history=history)


def import_state(backend: Backend, request: ImportRequest, *, dry_run: bool = False) -> ImportedState:
    """Write a workflow into Redis.

    :param dry_run: change nothing; return what would be written.
    :raises WorkflowExistsError: if Redis has the name, and the request does not replace it.
    :raises BatchHeldError: if a batch of the workflow in Redis is open.
    """
    keys = backend.keys(request.workflow.name)
    sent: list[PersonalChange] = []

    def work(session: Session) -> tuple[ImportedState, Sequence[Command]]:
        whole = read_whole(session, keys, request.more)
        ((seconds, micros),) = session.ask(("TIME",))
        now = session.clock(int(seconds), int(micros))
        changes = codec.load_changes(keys.meta, whole.part(keys.meta).get(codec.CHANGES))
        change = end_open_batches(
            request.workflow.state, [each.stored for each in request.workflow.batches], now, by=request.by.by
        )
        done = ImportedState(
            workflow=keys.workflow,
            jobs=list(request.workflow.state.jobs),
            batches=len(request.workflow.batches),
            replaced=whole.exists,
            ended=sorted(change.batches),
        )
        if any(entry in changes for entry in sent):
            return done, backend.touch(keys, now)  # the reply to it was lost
        _check(whole, request)
        if dry_run:
            return done, ()
        entry = PersonalChange.of(request.by, format_date(now), "imported the workflow", request.why)
        sent.append(entry)
        told = event(keys.workflow, request.workflow.state.live_id, "import", "live", now)
        return done, [
            *remove_commands(keys, [each for each in whole.contents if keys.live + each != keys.offsets]),
            *write_whole_commands(keys, _contents(keys, request, change, entry)),
            *_skip_imported(whole, request.workflow),
            ("PUBLISH", EVENTS_CHANNEL, codec.dump(told)),
        ]

    return backend.transact(keys, work)


def _check(whole: WholeWorkflow, request: ImportRequest) -> None:
    check_finished(whole.state.rename, whole.keys.workflow)
    whole.check_free()
    if not whole.exists:
        return
    if not request.replaces:
        raise WorkflowExistsError(
            f"there is a workflow {whole.keys.workflow!r} in Redis already; it was not changed. To remove it and "
            "import this one, use --replace"
        )
    whole.check_closed()


def _contents(keys: Keys, request: ImportRequest, change: Change, entry: PersonalChange) -> dict[str, dict[str, str]]:
    """Return what stands after the name in each key → its content."""
    wanted = request.workflow
    meta = dict(wanted.meta)
    changes = meta.get(codec.CHANGES) or []
    meta[codec.CHANGES] = [*codec.dump_changes([entry]), *changes][: codec.MAX_CHANGES]
    meta[codec.LEDGER] = codec.LEDGER_VERSION
    batches = {each.stored.batch_id: each.stored.jobs for each in wanted.batches}
    closed = {each.stored.batch_id: each.closed for each in wanted.batches if each.closed is not None}
    listed = {each.stored.batch_id: float(each.listed) for each in wanted.batches if each.listed is not None}
    for each in wanted.batches:
        if each.record is not None:
            meta[codec.record_field(each.stored.batch_id)] = each.record
    meta |= codec.dump_meta(change)
    batches |= change.batches
    closed |= change.closed
    if request.has_archive or request.superseded is not None:
        old = request.superseded or Revision()
        revision = Revision().next(revision_token(), old.number, old.tokens).waiting_for(batches)
        meta[codec.REVISION] = codec.dump_revision(revision)
    durations = {job: some for job, some in wanted.durations.items() if some}
    loaded = {job: codec.dump(pairs) for job, pairs in wanted.ledger.items() if pairs}
    contents: dict[str, dict[str, str]] = {
        keys.live: _hash(wanted.state.jobs if change.live is None else change.live),
        keys.meta: {field: codec.dump(value) for field, value in meta.items() if value is not None},
        keys.loaded: loaded,
        keys.durations: dump_durations({**durations_of_history(batch.stored for batch in wanted.batches), **durations}),
        keys.runs: {run: str(batch_id) for run, batch_id in wanted.runs.items()},
        keys.closed: {str(batch_id): repr(float(score)) for batch_id, score in closed.items()},
        keys.history: {str(batch_id): repr(listed.get(batch_id, float(batch_id))) for batch_id in batches},
        **{keys.batch(batch_id): _hash(jobs) for batch_id, jobs in batches.items()},
    }
    return {key.removeprefix(keys.live): content for key, content in contents.items()}


def _hash(jobs: Mapping[str, JobState]) -> dict[str, str]:
    return {name: codec.dump_job(job) for name, job in jobs.items()}


def _skip_imported(whole: WholeWorkflow, imported: ImportedWorkflow) -> list[Command]:
    """Return commands that move subscriptions past the imported batches, which were delivered elsewhere, if at all."""
    newest = max((each.stored.batch_id for each in imported.batches), default=0)
    commands: list[Command] = []
    for name, text in whole.part(whole.keys.offsets).items():
        with suppress(StateError):  # the subscriber itself reports an offset that it cannot read
            if (offset := read_offset(whole.keys, name, text)) is not None and offset < newest:
                commands.append(offset_command(whole.keys, name, newest))
    return commands
