# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Explain error replies of a Redis server to operators, and tell which ones are worth a retry."""

from __future__ import annotations

from dataclasses import dataclass

from redis import exceptions as redis_errors


@dataclass(frozen=True, slots=True)
class ErrorMeaning:
    """Meaning of an error reply.

    :param text: what the error means and what the operator can do.
    :param passes: whether it can end within seconds, so that a retry is useful.
    """

    text: str
    passes: bool


SERVER_ERRORS = {
    "LOADING": ErrorMeaning("it is still loading its data from disk", passes=True),
    "BUSY": ErrorMeaning("a running script keeps it busy; SCRIPT KILL or FUNCTION KILL stops the script", passes=True),
    "MASTERDOWN": ErrorMeaning(
        "it is a replica that has lost its master; connect to the master, by Sentinel best", passes=True
    ),
    "READONLY": ErrorMeaning(
        "it is a replica and takes no changes; connect to the master, by Sentinel best", passes=True
    ),
    "NOREPLICAS": ErrorMeaning(
        "fewer replicas are in reach than its min-replicas-to-write asks for, so it takes no changes; start them, or "
        "lower the number",
        passes=True,
    ),
    "CLUSTERDOWN": ErrorMeaning(
        "a part of the Redis Cluster is not served; see `redis-cli --cluster check`", passes=True
    ),
    "TRYAGAIN": ErrorMeaning("its slot is being moved to another node", passes=True),
    "ASK": ErrorMeaning("its slot is being moved to another node, or that was left half done", passes=True),
    "MOVED": ErrorMeaning("its slot is served by another node", passes=True),
    "OOM": ErrorMeaning(
        "its memory is full (maxmemory), so it takes no changes; raise maxmemory, or make room with `batchy prune`",
        passes=False,
    ),
    "MISCONF": ErrorMeaning(
        "it cannot save its data to disk, so it takes no changes; see the server's log, and whether its disk is full",
        passes=False,
    ),
    "AUTH": ErrorMeaning(
        "check the user and the password in the Airflow connection or in the URL "
        "(redis://USER:PASSWORD@host, redis://:PASSWORD@host without a user; '@' in them is %40)",
        passes=False,
    ),
    "NOPERM": ErrorMeaning(
        "the Redis user lacks a required permission; docs/redis.md has the rule, `batchy doctor` names what is missing",
        passes=False,
    ),
}
"""First word of the reply → its meaning."""

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
    redis_errors.AuthenticationError: "AUTH",  # NOAUTH and WRONGPASS
}
"""redis-py removes the first word from replies for which it has an exception class."""


def server_error(error: Exception) -> ErrorMeaning | None:
    """Return the meaning of an error reply; None if the reply says nothing about the state of the server."""
    return SERVER_ERRORS.get(_code(error))


def explained(error: Exception) -> str:
    """Return the text of an error, with its meaning if that is known."""
    known = server_error(error)
    return str(error) if known is None else f"{known.text} ({_code(error)}: {error})"


def _code(error: Exception) -> str:
    if type(error) in _CODES:
        return _CODES[type(error)]
    # A rejected EXEC has the cause at its end: "Transaction discarded because of: READONLY You can't write…".
    return str(error).rpartition("because of: ")[2].partition(" ")[0]
