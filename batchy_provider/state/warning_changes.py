# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read the warnings about deadlines, and change those of a workflow in one transaction."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.deadline_warnings import DeadlineWarning
from batchy_provider.exceptions import StateError, WindowError
from batchy_provider.state.backend import Backend
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.log_throttle import LogThrottle
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.warning_codec import EVALUATED, WARNINGS, dump_warnings, load_warnings

T = TypeVar("T")
Warnings = Mapping[str, DeadlineWarning]
"""Run → warning."""
WarningRule = Callable[[Warnings, datetime], tuple[T, Warnings | None]]
"""From the warnings and the server's time, naive UTC, to an answer and the new warnings; None for no change."""

_damaged = LogThrottle(logging.getLogger(__name__))


def readable_warnings(keys: Keys, text: str | None) -> Warnings:
    """Return the warnings of a workflow; none, and a line in the log, if they cannot be read.

    Who shows a workflow is not stopped by its warnings.
    """
    try:
        return load_warnings(keys.meta, text)
    except StateError as error:
        _damaged.warning(keys.workflow, "the warnings of %s are not shown: %s", keys.workflow, error)
        return {}


def read_warnings(backend: Backend, names: Iterable[str]) -> dict[str, Warnings]:
    """Return workflow → its warnings, of those that have any, in one request to each server."""
    keys = [backend.keys(name) for name in names]
    replies = backend.pipelined([("HGET", each.meta, WARNINGS) for each in keys])
    texts = {each: reply for each, reply in zip(keys, replies, strict=True) if isinstance(reply, str)}
    found = {each.workflow: readable_warnings(each, text) for each, text in texts.items()}
    return {name: warnings for name, warnings in found.items() if warnings}


def read_evaluated(backend: Backend, names: Collection[str]) -> dict[str, datetime]:
    """Return workflow → when its deadlines were evaluated last, naive UTC, of those that ever were."""
    wanted = list(names)
    replies = backend.pipelined([("HGET", backend.keys(name).meta, EVALUATED) for name in wanted])
    found: dict[str, datetime] = {}
    for name, reply in zip(wanted, replies, strict=True):
        try:
            if isinstance(reply, str):
                found[name] = parse_date(reply)
        except WindowError:
            continue
    return found


def record_evaluated(backend: Backend, names: Iterable[str], at: datetime) -> None:
    """Record that the deadlines of workflows were evaluated, in one request to each server.

    Only `batchy doctor` reads it, so an error changes nothing.
    """
    backend.pipelined([("HSET", backend.keys(name).meta, EVALUATED, format_date(at)) for name in names])


def change_warnings(backend: Backend, workflow: str, rule: WarningRule[T]) -> T:
    """Change the warnings of a workflow, all or nothing. If somebody else changes them meanwhile, ask the rule again.

    :param rule: its warnings replace those that are stored.
    :raises StateError: if the stored warnings cannot be read.
    """
    keys = backend.keys(workflow)

    def work(session: Session) -> tuple[T, Sequence[Command]]:
        _, (seconds, micros), text = session.ask(("WATCH", keys.meta), ("TIME",), ("HGET", keys.meta, WARNINGS))
        before = load_warnings(keys.meta, text)
        answer, after = rule(before, session.clock(int(seconds), int(micros)))
        if after is None or after == before:
            return answer, ()
        commands: list[Command] = [
            ("HSET", keys.meta, WARNINGS, dump_warnings(after)) if after else ("HDEL", keys.meta, WARNINGS)
        ]
        if _shown(before) != _shown(after):
            event = {"workflow": workflow, "event": "warning"}
            commands.append(("PUBLISH", EVENTS_CHANNEL, json.dumps(event)))
        return answer, commands

    return backend.transact(keys, work)


def _shown(warnings: Warnings) -> dict[str, object]:
    """Return what a page shows of warnings."""
    return {run: each.since for run, each in warnings.items() if each.stands}
