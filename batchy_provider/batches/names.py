# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Names of workflows and jobs, and the Redis keys that are made of them (DESIGN, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batchy_provider.exceptions import InvalidNameError

MAX_NAME_LENGTH = 200
EVENTS_CHANNEL = "batchy:events"

_NAME = re.compile(r"[A-Za-z0-9_.\-]+", re.ASCII)
_HISTORY_LIKE = re.compile(r"-[0-9]+(-init)?\Z", re.ASCII)


def check_workflow_name(name: object) -> str:
    """Return the name, or say why it cannot name a workflow.

    :raises InvalidNameError: if it breaks the rule for names, or looks like a history key
        (``<workflow>-<batch_id>``), which the original Batchy server writes beside it.
    """
    checked = _check("workflow", name)
    if tail := _HISTORY_LIKE.search(checked):
        raise InvalidNameError(
            f"workflow name {checked!r} ends in {tail.group()!r}, which is how the key of an old batch ends; "
            f"write it another way, for example {checked.replace(tail.group(), tail.group().replace('-', '_'))!r}"
        )
    return checked


def check_job_name(name: object) -> str:
    """Return the name, or say why it cannot name a job.

    :raises InvalidNameError: if it breaks the rule for names.
    """
    return _check("job", name)


def _check(kind: str, name: object) -> str:
    rule = f"letters, digits, '_', '.' and '-', 1 to {MAX_NAME_LENGTH} of them"
    if not isinstance(name, str):
        raise InvalidNameError(f"{kind} name {name!r} is not text; use {rule}")
    if not name:
        raise InvalidNameError(f"the {kind} name is empty; use {rule}")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidNameError(f"{kind} name {name[:40] + '…'!r} has {len(name)} characters; use {rule}")
    if not _NAME.fullmatch(name):
        wrong = next(c for c in name if not _NAME.fullmatch(c))
        raise InvalidNameError(f"{kind} name {name!r} holds {wrong!r}; use {rule}")
    if not name.strip("."):
        raise InvalidNameError(f"{kind} name {name!r} is a folder's in paths and addresses; use {rule}, not dots alone")
    return name


def is_workflow_name(key: str) -> bool:
    """Tell whether a key can be a workflow's: not one of its other keys, nor of an old batch, nor foreign."""
    is_name = len(key) <= MAX_NAME_LENGTH and _NAME.fullmatch(key) is not None and key.strip(".") != ""
    return is_name and _HISTORY_LIKE.search(key) is None


@dataclass(frozen=True, slots=True)
class Keys:
    """The Redis keys of one workflow.

    :param workflow: a checked name.
    :param cluster: put the name in braces, so that all keys of a workflow share one hash slot.
    """

    workflow: str
    cluster: bool = False

    @property
    def live(self) -> str:
        """Hash, job → JSON: the latest batch."""
        return f"{{{self.workflow}}}" if self.cluster else self.workflow

    def batch(self, batch_id: int) -> str:
        """Hash, job → JSON: that batch, kept as history."""
        return f"{self.live}-{batch_id}"

    @property
    def meta(self) -> str:
        """Hash: what the original server knows nothing of."""
        return f"{self.live}:meta"

    @property
    def runs(self) -> str:
        """Hash: run key → batch id."""
        return f"{self.live}:runs"

    @property
    def closed(self) -> str:
        """Sorted set: closed live batches by ``batch_end``, Unix seconds."""
        return f"{self.live}:closed"

    @property
    def days(self) -> str:
        """Hash: data day → id of its last successful batch."""
        return f"{self.live}:days"

    @property
    def history(self) -> str:
        """Sorted set: all batch ids, scored by themselves."""
        return f"{self.live}:history"

    @property
    def progress(self) -> str:
        """Hash: job → JSON with the latest progress of its execution."""
        return f"{self.live}:progress"

    @property
    def told(self) -> str:
        """Hash: watch → JSON, how far it has told of closed batches."""
        return f"{self.live}:told"
