# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check one Redis server: version, role, memory, persistence, replicas, clock and encryption."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis

Level = Literal["ok", "warn", "bad"]

OLDEST = {"Redis": (6, 2), "Valkey": (7, 2)}
_CLOCK_SECONDS, _CLOCK_BAD_SECONDS = 5, 600
_MEMORY_WARN, _MEMORY_BAD = 0.8, 0.95
_LAG_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    :param check: name of the check.
    :param level: ``bad``: runs will fail or lose data; ``warn``: they may.
    :param text: the finding, and what to do about it.
    """

    check: str
    level: Level
    text: str


def name_of(info: Mapping[str, Any]) -> tuple[str, str]:
    """Return whether a server is Redis or Valkey, and its version."""
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info.get("redis_version", "unknown"))


def of_info(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings from the answer to INFO."""
    name, version = name_of(info)
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    oldest = ".".join(map(str, OLDEST[name]))
    if numbers and numbers < OLDEST[name]:
        yield Finding("version", "bad", f"{name} {version} is older than {oldest}, which is needed")
    else:
        yield Finding("version", "ok", f"{name} {version}")
    if info.get("role") == "slave":
        yield Finding("role", "bad", "this is a replica, which takes no changes; connect to its master, or by Sentinel")
    yield _memory(info)
    yield _persistence(info)


def _memory(info: Mapping[str, Any]) -> Finding:
    policy, used, most = info.get("maxmemory_policy"), int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    size = f"{mib(used)} of {mib(most)} used" if most else f"{mib(used)} used, no limit"
    if isinstance(policy, str) and policy.startswith("allkeys"):
        return Finding(
            "memory",
            "bad",
            f"maxmemory-policy is {policy}: a full server throws watermarks away. Set noeviction",
        )
    if most and used > most * _MEMORY_WARN:
        level: Level = "bad" if used > most * _MEMORY_BAD else "warn"
        text = f"{size}: when it is full, nothing opens or closes. Raise maxmemory, or make room with `batchy prune`"
        return Finding("memory", level, text)
    return Finding("memory", "ok", f"{size}, {policy}")


def _persistence(info: Mapping[str, Any]) -> Finding:
    if int(info.get("loading", 0)):
        return Finding("persistence", "bad", "it is still loading its data from disk")
    broken = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if broken:
        return Finding(
            "persistence",
            "bad",
            f"its last write to disk failed ({', '.join(broken)}): see its log, and whether its disk is full; it "
            "refuses changes until that is fixed",
        )
    if int(info.get("aof_enabled", 0)):
        return Finding("persistence", "ok", "append only file")
    unsaved = int(info.get("rdb_changes_since_last_save", 0))
    return Finding(
        "persistence",
        "warn",
        f"no append only file: what was done since the last snapshot, {unsaved} changes now, is lost with the server. "
        "Set `appendonly yes`",
    )


def replicas_of(wanted: int, info: Mapping[str, Any], *, expected: bool) -> Finding:
    """Check the replicas of a master.

    :param wanted: how many replicas must confirm each change; `wait_replicas` of the connection.
    :param info: answer to INFO.
    :param expected: whether this kind of deployment should have replicas.
    """
    replicas = [value for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    good = [r for r in replicas if r.get("state") == "online" and int(r.get("lag", 0)) <= _LAG_SECONDS]
    if len(good) < wanted:
        text = f"{len(good)} in reach, but the connection's wait_replicas is {wanted}: no change can be confirmed"
        return Finding("replicas", "bad", text)
    if len(good) < len(replicas):
        return Finding(
            "replicas", "warn", f"{len(good)} of {len(replicas)} in reach and not behind; see INFO replication"
        )
    if expected and not good:
        return Finding("replicas", "warn", "none: if this master is lost, there is nothing to take over")
    behind = max((int(info["master_repl_offset"]) - int(r.get("offset", 0)) for r in good), default=0)
    return Finding("replicas", "ok", f"{len(good)}, the last {behind} bytes behind" if good else "none")


def clock_of(node: redis.Redis) -> Finding:
    """Compare the clock of a server with that of this machine."""
    before = time.time()
    seconds, micros = node.time()
    off = seconds + micros / 1e6 - (before + time.time()) / 2
    text = f"the server's clock is {abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    if abs(off) <= _CLOCK_SECONDS:
        return Finding("clock", "ok", text)
    level: Level = "bad" if abs(off) > _CLOCK_BAD_SECONDS else "warn"
    return Finding("clock", level, f"{text}; windows end by the server's clock. Use NTP on both")


def encryption_of(node: redis.Redis) -> Finding:
    """Check whether the connection is encrypted, and the certificate checked."""
    pool = node.connection_pool
    host = str(pool.connection_kwargs.get("host", "localhost"))
    if issubclass(pool.connection_class, redis.SSLConnection):
        if str(pool.connection_kwargs.get("ssl_cert_reqs", "required")) not in ("required", "CERT_REQUIRED"):
            return Finding(
                "tls",
                "warn",
                "the server's certificate is not checked (ssl_cert_reqs): anyone could pretend to be this server",
            )
        return Finding("tls", "ok", "encrypted")
    if "path" in pool.connection_kwargs or host in ("localhost", "::1") or host.startswith("127."):
        return Finding("tls", "ok", "not encrypted, on this machine only")
    return Finding("tls", "warn", "not encrypted: password and state can be read on the way; use rediss://")


def mib(number: int) -> str:
    """Write a number of bytes in MiB."""
    return f"{number / 2**20:,.1f} MiB"
