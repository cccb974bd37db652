# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a server means that answers with an error, in words for operators, and whether it may soon be over."""

from __future__ import annotations

from dataclasses import dataclass

from redis import exceptions as redis_errors


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a server refuses what it understands.

    :param text: for the operator: what it means and what to do.
    :param passes: it may be over in seconds, so that trying again is worth it.
    """

    text: str
    passes: bool


REFUSALS = {
    "LOADING": Refusal("it is still loading its data from disk", passes=True),
    "BUSY": Refusal("a script of somebody's keeps it busy; SCRIPT KILL or FUNCTION KILL ends that", passes=True),
    "MASTERDOWN": Refusal(
        "it is a replica that has lost its master; connect to the master, by Sentinel best", passes=True
    ),
    "READONLY": Refusal("it is a replica and takes no changes; connect to the master, by Sentinel best", passes=True),
    "NOREPLICAS": Refusal(
        "fewer replicas are in reach than its min-replicas-to-write asks for, so it takes no changes; start them, or "
        "lower the number",
        passes=True,
    ),
    "CLUSTERDOWN": Refusal("a part of the Redis Cluster is not served; see `redis-cli --cluster check`", passes=True),
    "TRYAGAIN": Refusal("its slot is being moved to another node", passes=True),
    "ASK": Refusal("its slot is being moved to another node, or that was left half done", passes=True),
    "MOVED": Refusal("its slot is served by another node", passes=True),
    "OOM": Refusal(
        "its memory is full (maxmemory), so it takes no changes; raise maxmemory, or make room with `batchy prune`",
        passes=False,
    ),
    "MISCONF": Refusal(
        "it cannot save its data to disk, so it takes no changes; see the server's log, and whether its disk is full",
        passes=False,
    ),
    "NOPERM": Refusal(
        "its user may too little; docs/redis.md has the rule, `batchy doctor` names what is missing", passes=False
    ),
}
"""First word of the reply → what it means."""

_CODES = {
    redis_errors.BusyLoadingError: "LOADING",
    redis_errors.ReadOnlyError: "READONLY",
    redis_errors.MasterDownError: "MASTERDOWN",
    redis_errors.ClusterDownError: "CLUSTERDOWN",
    redis_errors.TryAgainError: "TRYAGAIN",
    redis_errors.MovedError: "MOVED",
    redis_errors.AskError: "ASK",
    redis_errors.OutOfMemoryError: "OOM",
    redis_errors.NoPermissionError: "NOPERM",
}
"""redis-py takes the first word off those that it has a class for."""


def refusal(error: Exception) -> Refusal | None:
    """Return what an error reply means; None for one that is nothing of the server's own state."""
    return REFUSALS.get(_code(error))


def explained(error: Exception) -> str:
    """Return an error with what it means."""
    known = refusal(error)
    return str(error) if known is None else f"{known.text} ({_code(error)}: {error})"


def _code(error: Exception) -> str:
    if type(error) in _CODES:
        return _CODES[type(error)]
    # EXEC that is refused says why at the end: "Transaction discarded because of: READONLY You can't write…".
    return str(error).rpartition("because of: ")[2].partition(" ")[0]
