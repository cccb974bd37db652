# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read, write and remove everything that Redis holds of a workflow, as it is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from batchy_provider.core.presenters import unknown_workflow
from batchy_provider.core.snapshot import Snapshot
from batchy_provider.core.values import BatchRecord, Holder
from batchy_provider.exceptions import BatchHeldError, ConflictError, StateError, WorkflowExistsError
from batchy_provider.state import codec
from batchy_provider.state.keys import Keys
from batchy_provider.state.layout import read_state
from batchy_provider.state.protocol import Command, as_hash
from batchy_provider.state.session import Session
from batchy_provider.state.stored_values import is_workflow, load_id, load_json
from batchy_provider.state.transaction import CONFLICT_ATTEMPTS

T = TypeVar("T")
Contents = Mapping[str, Mapping[str, str]]
"""What stands after the name in a key → field → text, or member → score."""

_AT_ONCE = 200
_RECORD = codec.record_field(0).removesuffix("0")


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeWorkflow:
    """Everything that Redis holds of a workflow.

    :param contents: of all keys that are not empty.
    :param state: the same as the rules take it; empty if it is no workflow.
    """

    keys: Keys
    contents: Contents
    state: Snapshot

    @property
    def exists(self) -> bool:
        """Tell whether it is a workflow, and not only what another program has under such names."""
        return _exists(self.keys, self.contents)

    @property
    def batch_ids(self) -> set[int]:
        """The ids of all batches that are listed or have a hash."""
        listed = {load_id(self.keys.history, each) for each in self.part(self.keys.history)}
        hashes = (suffix.removeprefix("-") for suffix in self.contents if suffix.startswith("-"))
        return listed | {int(each) for each in hashes if each.isdecimal()}

    @property
    def records(self) -> dict[int, BatchRecord]:
        """Batch id → its record."""
        return {
            batch_id: record
            for field, text in self.part(self.keys.meta).items()
            if field.startswith(_RECORD)
            and (batch_id := load_id(self.keys.meta, field.removeprefix(_RECORD))) is not None
            and (record := codec.load_record(self.keys.meta, batch_id, text)) is not None
        }

    def part(self, key: str) -> Mapping[str, str]:
        """Return the content of one key."""
        return self.contents.get(key.removeprefix(self.keys.live), {})

    def check_exists(self) -> None:
        """Require that it is a workflow.

        :raises UnknownWorkflowError: if it is not.
        """
        if not self.exists:
            raise unknown_workflow(self.keys.workflow)

    def check_free(self) -> None:
        """Require that no other program uses the name.

        :raises WorkflowExistsError: if one does.
        """
        if not self.exists and self.part(self.keys.live):
            raise WorkflowExistsError(
                f"Redis hash {self.keys.live!r} belongs to another program, so no workflow can get that name. Nothing "
                "was changed. Use another name"
            )

    def check_closed(self) -> None:
        """Require that no batch is open.

        :raises BatchHeldError: if one is.
        """
        state = self.state
        if state.open_id is not None:
            raise _held(state, state.open_id, state.holder)
        for batch_id, record in self.records.items():
            if record.status == "open" and f"-{batch_id}" in self.contents and batch_id != state.live_id:
                raise _held(state, batch_id, Holder(by=f"run {record.run!r}" if record.run else record.by))


def _held(state: Snapshot, batch_id: int, holder: Holder) -> BatchHeldError:
    name = state.workflow
    return BatchHeldError(
        f"{name}: batch {batch_id} is open, by {holder}. Nothing was changed. Wait until it is closed, or close it: "
        f"`batchy fail {name} --batch {batch_id}`",
        holder=holder,
        batch_id=batch_id,
    )


def read_whole(session: Session, keys: Keys, more: Collection[str] = ()) -> WholeWorkflow:
    """Read all keys of a workflow, and watch those that every change writes.

    :param more: what stands after the name in further keys that may belong to it: hashes of batches that are in no
        list, as the original server writes them.
    :raises StateError: if another program uses one of the keys, or a value cannot be read.
    """
    session.ask(("WATCH", *keys.all))
    replies = session.ask(*(_question(keys, key) for key in keys.all))
    found = {
        key.removeprefix(keys.live): _scores(reply) if key in keys.sorted_sets else as_hash(reply)
        for key, reply in zip(keys.all, replies, strict=True)
    }
    if not _exists(keys, found):
        return WholeWorkflow(keys=keys, contents=_filled(found), state=Snapshot(workflow=keys.workflow))
    state, _ = read_state(session, keys, watch=False)
    ids = [load_id(keys.history, each) for each in found[keys.history.removeprefix(keys.live)]]
    listed = [f"-{each}" for each in ids]
    unlisted = {*more, *([] if state.live_id is None else [f"-{state.live_id}"])}.difference(listed)
    hashes = _hashes(session, keys, [*listed, *sorted(unlisted)])
    found |= {suffix: content for suffix, content in hashes if suffix not in unlisted or _holds_jobs(content)}
    return WholeWorkflow(keys=keys, contents=_filled(found), state=state)


def read_consistently(session: Session, keys: Keys, read: Callable[[], T]) -> T:
    """Call a function that only reads, again until no other client has changed the workflow meanwhile.

    :param read: watches the keys before it reads them.
    :raises ConflictError: if it was changed at every attempt.
    """
    for _ in range(CONFLICT_ATTEMPTS):
        found = read()
        *_, unchanged = session.ask(("MULTI",), ("EXEC",))
        if unchanged is not None:
            return found
    raise ConflictError(
        f"other clients changed {keys.live!r} in Redis while it was read, at each of {CONFLICT_ATTEMPTS} attempts. "
        "Try again"
    )


def write_whole_commands(keys: Keys, contents: Contents) -> list[Command]:
    """Return the commands that write keys of a workflow which do not exist yet."""
    commands: list[Command] = []
    for suffix, content in contents.items():
        if not content:
            continue
        key = keys.live + suffix
        if key in keys.sorted_sets:
            commands.append(("ZADD", key, *(word for member, score in content.items() for word in (score, member))))
        else:
            commands.append(("HSET", key, *(word for pair in content.items() for word in pair)))
    return commands


def remove_commands(keys: Keys, suffixes: Collection[str]) -> list[Command]:
    """Return the commands that remove keys of a workflow."""
    names = [keys.live + suffix for suffix in suffixes]
    return [("DEL", *names[start : start + _AT_ONCE]) for start in range(0, len(names), _AT_ONCE)]


def _exists(keys: Keys, contents: Contents) -> bool:
    live, meta = (contents.get(key.removeprefix(keys.live), {}) for key in (keys.live, keys.meta))
    return is_workflow(live, [meta.get(field) for field in codec.META_FIELDS])


def _filled(contents: Contents) -> Contents:
    return {suffix: content for suffix, content in contents.items() if content}


def _question(keys: Keys, key: str) -> Command:
    return ("ZRANGEBYSCORE", key, "-inf", "+inf", "WITHSCORES") if key in keys.sorted_sets else ("HGETALL", key)


def _scores(reply: Any) -> dict[str, str]:
    """Return member → score, whichever protocol the server speaks."""
    pairs = reply if reply and isinstance(reply[0], list) else zip(reply[::2], reply[1::2], strict=True)
    return {member: score if isinstance(score, str) else repr(score) for member, score in pairs}


def _hashes(session: Session, keys: Keys, suffixes: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for start in range(0, len(suffixes), _AT_ONCE):
        part = suffixes[start : start + _AT_ONCE]
        replies = session.ask(*(("HGETALL", keys.live + suffix) for suffix in part))
        yield from zip(part, map(as_hash, replies), strict=True)


def _holds_jobs(content: Mapping[str, str]) -> bool:
    """Tell whether a hash that no list names holds jobs, and is not another program's."""
    try:
        return all(isinstance(load_json("", name, text), dict) for name, text in content.items())
    except StateError:
        return False
