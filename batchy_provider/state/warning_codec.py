# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON of the warnings about deadlines: a field of ``wf:meta``, run → warning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from batchy_provider.core.dates import format_date, parse_date
from batchy_provider.core.deadline_warnings import (
    DeadlineWarning,
    DeliveryStep,
    NotifierCall,
    OverCode,
    WarningMessage,
    WarningReason,
    WarningState,
)
from batchy_provider.core.typed_data import FormError, build
from batchy_provider.state.stored_values import read_field

WARNINGS = "warnings"
"""Field of ``wf:meta``."""
EVALUATED = "warnings_evaluated"
"""Field of ``wf:meta``: when its deadlines were evaluated last."""


@dataclass(frozen=True, slots=True)
class _StoredMessage:
    """JSON form of `WarningMessage`."""

    kind: str
    steps: dict[str, str]
    by: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class _StoredWarning:
    """JSON form of `DeadlineWarning`."""

    deadline: str
    state: str
    since: str
    seen: str
    chance: float
    expected_end: str | None = None
    scope: str = ""
    text: str = ""
    chain: list[list[str]] = field(default_factory=list)
    notifiers: list[dict[str, Any]] = field(default_factory=list)
    message: dict[str, Any] | None = None
    told: list[int] = field(default_factory=list)
    over: str | None = None


def load_warnings(key: str, text: str | None) -> dict[str, DeadlineWarning]:
    """Read the warnings of a workflow: run → warning.

    :param key: the hash that has them, for the error.
    :raises StateError: if they have another form.
    """

    def read(data: Any) -> dict[str, DeadlineWarning]:
        if not isinstance(data, dict):
            raise FormError("is no JSON object; expected an object with a warning for each run")
        return {run: _warning(run, each) for run, each in data.items()}

    return {} if text is None else read_field(key, WARNINGS, text, read)


def dump_warnings(warnings: Mapping[str, DeadlineWarning]) -> str:
    """Return the JSON that `load_warnings` reads."""
    return json.dumps({run: _form(each) for run, each in warnings.items()})


def _warning(run: str, data: Any) -> DeadlineWarning:
    found = build(_StoredWarning, data)
    return DeadlineWarning(
        run=run,
        deadline=parse_date(found.deadline),
        state=WarningState(found.state),
        since=parse_date(found.since),
        seen=parse_date(found.seen),
        chance=found.chance,
        expected_end=None if found.expected_end is None else parse_date(found.expected_end),
        scope=found.scope,
        text=found.text,
        chain=tuple(WarningReason(*each) for each in found.chain),
        notifiers=tuple(NotifierCall(each["notifier"], dict(each.get("args") or {})) for each in found.notifiers),
        message=None if found.message is None else _message(build(_StoredMessage, found.message)),
        told=frozenset(found.told),
        over=None if found.over is None else OverCode(found.over),
    )


def _message(found: _StoredMessage) -> WarningMessage:
    return WarningMessage(
        kind=WarningState(found.kind),
        steps={int(index): DeliveryStep(step) for index, step in found.steps.items()},
        by=found.by,
        until=None if found.until is None else parse_date(found.until),
    )


def _form(warning: DeadlineWarning) -> dict[str, Any]:
    message = warning.message
    return {
        "deadline": format_date(warning.deadline),
        "state": warning.state.value,
        "since": format_date(warning.since),
        "seen": format_date(warning.seen),
        "chance": float(warning.chance),
        "expected_end": _text(warning.expected_end),
        "scope": warning.scope,
        "text": warning.text,
        "chain": [[each.workflow, each.code, each.text] for each in warning.chain],
        "notifiers": [{"notifier": each.notifier, "args": dict(each.args)} for each in warning.notifiers],
        "message": None
        if message is None
        else {
            "kind": message.kind.value,
            "steps": {str(index): step.value for index, step in message.steps.items()},
            "by": message.by,
            "until": _text(message.until),
        },
        "told": sorted(warning.told),
        "over": None if warning.over is None else warning.over.value,
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else format_date(moment)
