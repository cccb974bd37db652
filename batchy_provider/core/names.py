# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check names of workflows and jobs."""

from __future__ import annotations

import re

from batchy_provider.exceptions import InvalidNameError

MAX_NAME_LENGTH = 200

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
    """Tell whether a key can be the name of a workflow, and not one of its other keys or that of an old batch."""
    is_name = len(key) <= MAX_NAME_LENGTH and _NAME.fullmatch(key) is not None and key.strip(".") != ""
    return is_name and _HISTORY_LIKE.search(key) is None
