# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Give everything that Redis holds of a workflow another name.

On one server this is one transaction. On a Redis Cluster the two names are in different slots, so it takes four:
mark the old name, write the new name, remove the old name, remove the mark. While the mark stands, nothing else can
change the workflow under either name, and the same rename finishes what was interrupted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import format_date
from batchy_provider.core.presenters import event
from batchy_provider.core.repeated_requests import renamed_run
from batchy_provider.core.unfinished_rename import Rename
from batchy_provider.core.values import Actor, PersonalChange
from batchy_provider.exceptions import ConflictError, UnfinishedRenameError, UnknownWorkflowError, WorkflowExistsError
from batchy_provider.state import codec
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.protocol import Command
from batchy_provider.state.removal import leave_nothing
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import load_json
from batchy_provider.state.transaction import CONFLICT_ATTEMPTS
from batchy_provider.state.whole_workflow import (
    Contents,
    WholeWorkflow,
    read_whole,
    remove_commands,
    write_whole_commands,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameRequest:
    """What to rename, who asks for it and why.

    :param more: see `whole_workflow.read_whole`, for the old name.
    :param files_follow: the archive or the result store has the old name. Leave a mark under the new name until
        `finish_rename` is called.
    """

    old: str
    new: str
    by: Actor
    why: str | None = None
    more: Collection[str] = ()
    files_follow: bool = False


def check_rename(backend: Backend, request: RenameRequest) -> bool:
    """Check whether a rename can be made. Change nothing.

    :returns: whether an earlier call of the same rename was interrupted.
    :raises UnknownWorkflowError: if Redis does not know the old name.
    :raises WorkflowExistsError: if Redis knows the new name.
    :raises BatchHeldError: if a batch is open.
    :raises UnfinishedRenameError: if another rename of one of them was interrupted.
    """
    old, new = map(backend.keys, _names(request))
    return _checked(request, _read(backend, old, request.more), _read(backend, new))


def rename_state(backend: Backend, request: RenameRequest) -> int:
    """Rename a workflow in Redis, or finish the same rename that was interrupted.

    The errors are those of `check_rename`.

    :returns: how many batches have the new name.
    """
    return _in_steps(backend, request) if backend.cluster else _at_once(backend, request)


def finish_rename(backend: Backend, name: str) -> None:
    """Remove the mark of a rename: the files have the new name too, or nothing has it."""
    keys = backend.keys(name)

    def work(session: Session) -> tuple[None, Sequence[Command]]:
        whole = read_whole(session, keys)
        return None, [("HDEL", keys.meta, codec.RENAME)] if whole.state.rename is not None else ()

    backend.transact(keys, work)


def _at_once(backend: Backend, request: RenameRequest) -> int:
    old, new = map(backend.keys, _names(request))
    sent: list[int] = []

    def work(session: Session) -> tuple[int, Sequence[Command]]:
        before, after = read_whole(session, old, request.more), read_whole(session, new)
        if sent and not before.exists and after.exists:
            # An earlier attempt has done it, and its reply was lost, or replicas lacked it.
            return sent[-1], backend.touch(new, _now(session))
        if _checked(request, before, after) and not before.exists:
            return len(after.batch_ids), _settled(request, new)
        now = _now(session)
        contents = _renamed(before, request, now)
        sent.append(len(before.batch_ids))
        return sent[-1], [
            *remove_commands(new, after.contents),
            *write_whole_commands(new, contents),
            *remove_commands(old, before.contents),
            *_settled(request, new),
            *_events(before, request, now),
        ]

    return backend.transact(old, work)


def _in_steps(backend: Backend, request: RenameRequest) -> int:
    old, new = map(backend.keys, _names(request))
    for _ in range(CONFLICT_ATTEMPTS):
        after = _read(backend, new)
        # Both functions are called at once, so with the values of this round.
        before = backend.transact(old, lambda session: _mark(session, old, request, after))  # noqa: B023
        if before.exists:
            try:
                _write_new(backend, new, request, before)
            except WorkflowExistsError:  # another program has made it since
                finish_rename(backend, request.old)
                raise
            if not backend.transact(old, lambda session: _remove_old(backend, session, old, before)):  # noqa: B023
                continue  # another program has changed it since

        def settle(session: Session) -> tuple[int, Sequence[Command]]:
            whole, now = read_whole(session, new), _now(session)
            return len(whole.batch_ids), [*_settled(request, new), *_events(whole, request, now)]

        return backend.transact(new, settle)
    raise ConflictError(
        f"another program changed {old.live!r} in Redis at each of {CONFLICT_ATTEMPTS} attempts to rename it. "
        f"{Rename(old=request.old, new=request.new).text}"
    )


def _mark(
    session: Session, keys: Keys, request: RenameRequest, after: WholeWorkflow
) -> tuple[WholeWorkflow, Sequence[Command]]:
    before = read_whole(session, keys, request.more)
    _checked(request, before, after)
    if not before.exists or before.state.rename is not None:
        return before, ()
    return before, [("HSET", keys.meta, codec.RENAME, _dumped(request))]


def _write_new(backend: Backend, keys: Keys, request: RenameRequest, before: WholeWorkflow) -> None:
    def work(session: Session) -> tuple[None, Sequence[Command]]:
        after = read_whole(session, keys)
        _checked(request, before, after)
        contents = _renamed(before, request, _now(session))
        return None, [*remove_commands(keys, after.contents), *write_whole_commands(keys, contents)]

    backend.transact(keys, work)


def _remove_old(
    backend: Backend, session: Session, keys: Keys, copied: WholeWorkflow
) -> tuple[bool, Sequence[Command]]:
    """Remove the old name, unless it is not what was copied any more."""
    found = read_whole(session, keys, [suffix for suffix in copied.contents if suffix.startswith("-")])
    if not found.exists:
        return True, leave_nothing(backend, keys)
    if _without_mark(found) != _without_mark(copied):
        return False, ()
    return True, remove_commands(keys, found.contents)


def _checked(request: RenameRequest, before: WholeWorkflow, after: WholeWorkflow) -> bool:
    """Check whether a rename can be made, and tell whether the same one was interrupted; see `check_rename`."""
    wanted = (request.old, request.new)
    for whole in (before, after):
        mark = whole.state.rename
        if mark is not None and (mark.old, mark.new) != wanted:
            raise UnfinishedRenameError(f"{whole.keys.workflow}: {mark.text}. Finish it first; nothing was changed")
    is_same = after.exists and after.state.rename is not None
    if not before.exists:
        if is_same:
            return True
        if after.exists:
            raise UnknownWorkflowError(
                f"there is no workflow {request.old!r} in Redis, but there is {request.new!r}. Was it renamed before?"
            )
        before.check_exists()
    after.check_free()
    if after.exists and (not is_same or (after.state.rename is not None and after.state.rename.moved)):
        raise WorkflowExistsError(
            f"there is a workflow {request.new!r} in Redis already, so {request.old!r} cannot get that name. Nothing "
            f"was changed. Use another name, or remove it first: `batchy remove {request.new}`"
        )
    before.check_closed()
    return before.state.rename is not None


def _renamed(whole: WholeWorkflow, request: RenameRequest, now: datetime) -> dict[str, dict[str, str]]:
    """Return the contents of the keys under the new name, with an audit entry and the mark."""
    contents = {suffix: dict(content) for suffix, content in whole.contents.items()}
    keys = whole.keys
    meta = contents.setdefault(keys.meta.removeprefix(keys.live), {})
    for field, text in meta.items():
        if field == codec.OWNER or field.startswith(codec.record_field(0)[:-1]):
            meta[field] = _with_renamed_run(load_json(keys.meta, field, text), text, request)
    runs = keys.runs.removeprefix(keys.live)
    if runs in contents:
        contents[runs] = {renamed_run(run, request.old, request.new): each for run, each in contents[runs].items()}
    known = codec.load_changes(keys.meta, meta.get(codec.CHANGES))
    entry = PersonalChange.of(request.by, format_date(now), f"renamed {request.old} to {request.new}", request.why)
    meta[codec.CHANGES] = codec.dump(codec.dump_changes([entry, *known]))
    meta[codec.RENAME] = _dumped(request)
    return contents


def _with_renamed_run(data: Any, text: str, request: RenameRequest) -> str:
    """Return the JSON of a batch's record, or of the owner with a record, with the run's key under the new name."""
    record = data.get("record", data)
    if record.get("run") is None:
        return text
    record["run"] = renamed_run(record["run"], request.old, request.new)
    return codec.dump(data)


def _settled(request: RenameRequest, keys: Keys) -> list[Command]:
    """Return the commands that remove the mark under the new name, or say that only the files are left."""
    if request.files_follow:
        return [("HSET", keys.meta, codec.RENAME, _dumped(request, moved=True))]
    return [("HDEL", keys.meta, codec.RENAME)]


def _events(whole: WholeWorkflow, request: RenameRequest, now: datetime) -> list[Command]:
    """Return the commands that wake those who wait for one of the names."""
    told = [event(name, whole.state.live_id, "rename", "live", now) for name in _names(request)]
    return [("PUBLISH", EVENTS_CHANNEL, codec.dump(each)) for each in told]


def _names(request: RenameRequest) -> tuple[str, str]:
    return request.old, request.new


def _dumped(request: RenameRequest, *, moved: bool = False) -> str:
    return codec.dump(asdict(Rename(old=request.old, new=request.new, moved=moved)))


def _without_mark(whole: WholeWorkflow) -> Contents:
    meta = whole.keys.meta.removeprefix(whole.keys.live)
    marks = (codec.RENAME, "confirmed")
    rest = {field: text for field, text in whole.part(whole.keys.meta).items() if field not in marks}
    return {**whole.contents, meta: rest}


def _read(backend: Backend, keys: Keys, more: Collection[str] = ()) -> WholeWorkflow:
    return backend.transact(keys, lambda session: (read_whole(session, keys, more), ()))


def _now(session: Session) -> datetime:
    ((seconds, micros),) = session.ask(("TIME",))
    return session.clock(int(seconds), int(micros))
