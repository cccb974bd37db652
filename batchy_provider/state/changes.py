# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make one change of a workflow: read its state, ask a rule, and commit all that the rule decides, once.

The audit entry and the revision of the state are part of the same transaction. The archive gets the change afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from batchy_provider.core.archiving import revised
from batchy_provider.core.dates import format_date
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import Change, Decision, Snapshot
from batchy_provider.core.values import Actor, PersonalChange
from batchy_provider.state import codec
from batchy_provider.state.archive_port import Archive, ArchiveEffect, Committed
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_state, write_commands
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.tokens import revision_token

T = TypeVar("T")
Rule = Callable[[Snapshot, datetime], Decision[T]]
"""From the state and the server's time, naive UTC, to a decision."""


def make_change(
    backend: Backend,
    archive: Archive | None,
    workflow: str,
    rule: Rule[T],
    *,
    run: str | None = None,
    earlier_run: str | None = None,
    wants_free_id: Callable[[Snapshot], bool] | None = None,
    batch_id: int | None = None,
    person: tuple[str | Actor, str | Callable[[T], str], str | None] | None = None,
    effect: ArchiveEffect = ArchiveEffect.NONE,
    again: bool = True,
    wants_ledger: Callable[[Snapshot], bool] | None = None,
) -> T:
    """Make a change, and return the answer of its rule. If the reply is lost, the change is not made twice.

    :param run: run key; the batch that it opened last becomes `Snapshot.own`.
    :param earlier_run: the key of the same run in an earlier release.
    :param wants_free_id: see `layout.read_state`.
    :param batch_id: the batch that becomes `Snapshot.own`, if there is none of `run`.
    :param person: for a change by a person: who, what was done, and why, for the audit.
    :param effect: what the change means for the archive.
    :param wants_ledger: see `layout.read_state`.
    :param again: wait for replicas also if nothing is left to change: an earlier attempt may have made the change.
    """
    keys = backend.keys(workflow)
    superseded = None
    if archive is not None and effect is ArchiveEffect.SUPERSEDES:
        superseded = archive.superseded(workflow)
    sent: list[tuple[PersonalChange, T]] = []

    def work(session: Session) -> tuple[tuple[T, Committed | None], Sequence[Command]]:
        state, now = read_state(
            session,
            keys,
            run=run,
            earlier_run=earlier_run,
            batch_id=batch_id,
            wants_free_id=wants_free_id,
            wants_ledger=wants_ledger,
        )
        at = format_date(now)

        def committed(change: Change, revision: Revision | None, *, moves: bool = False) -> Committed | None:
            if archive is None or effect is ArchiveEffect.NONE:
                return None
            return Committed(
                before=state,
                change=change,
                revision=revision or Revision(),
                at=at,
                redis=backend.address,
                moves=moves,
            )

        known = _changes(session, keys) if sent else []
        for made, result in sent:
            if made in known:
                # The reply to it was lost. To do it again, perhaps after a batch, would load a window twice.
                return (result, committed(Change(), state.revision)), backend.touch(keys, now)
        decision = rule(state, now)
        change = decision.change
        if change is None:
            nothing = committed(Change(), state.revision)
            return (decision.result, nothing), backend.touch(keys, now) if again else ()
        if person is not None:
            by, what, why = person
            actor = by if isinstance(by, Actor) else Actor(by)
            done = what if isinstance(what, str) else what(decision.result)
            made = PersonalChange.of(actor, at, done, why)
            change = replace(change, audit=[made, *(known or _changes(session, keys))])
            sent.append((made, decision.result))
        moves, revision = effect.moves(change), state.revision
        if archive is not None or revision is not None:
            # Also where this program writes no archive: a program that writes it needs to know later.
            revision = revised(state, change, token=revision_token() if moves else None, superseded=superseded)
            if archive is not None and effect is not ArchiveEffect.NONE:
                revision = replace(revision, writing=at)
            if revision != (state.revision or Revision()):
                change = replace(change, revision=revision)
        return (decision.result, committed(change, revision, moves=moves)), write_commands(keys, state, change)

    result, made = backend.transact(keys, work)
    if archive is not None and made is not None:
        archive.record(backend, made)
    return result


def _changes(session: Session, keys: Keys) -> list[PersonalChange]:
    (text,) = session.ask(("HGET", keys.meta, codec.CHANGES))
    return codec.load_changes(keys.meta, text)
