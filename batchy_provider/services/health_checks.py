# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is to be known of a Redis before a night depends on it; nothing is changed in it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import redis
from redis.exceptions import RedisError, ResponseError

from batchy_provider.exceptions import BatchyError
from batchy_provider.state.keys import EVENTS_CHANNEL, Keys
from batchy_provider.state.server_errors import explained

if TYPE_CHECKING:
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.state.store import Store
    from batchy_provider.state.transaction import Command

Level = Literal["ok", "warn", "bad"]

OLDEST = {"Redis": (6, 2), "Valkey": (7, 2)}
_CLOCK_SECONDS, _CLOCK_BAD_SECONDS = 5, 600
_MEMORY_WARN, _MEMORY_BAD = 0.8, 0.95
_LAG_SECONDS = 10
_KEYS_LOOKED_AT = 20_000
_DISK_WARN = 0.05
_ANSWER_SECONDS = 5
_OURS = re.compile(r"(.+?)(?::(?:meta|runs|closed|days|history|progress|told)|-[0-9]+(?:-init)?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    :param check: its name.
    :param level: ``bad``: nights will fail or lose something; ``warn``: they may.
    :param text: what is so, and what to do about it.
    """

    check: str
    level: Level
    text: str


def examine(store: Store, results: ResultStore | None = None) -> list[Finding]:
    """Return what all checks find.

    :param results: looked at too, if given.
    """
    found: list[Finding] = []
    for check, look in (("redis", _redis), ("sentinel", _sentinels), ("rights", _rights), ("keys", _foreign_keys)):
        try:
            found += look(store)
        except (RedisError, BatchyError, OSError) as error:
            found.append(Finding(check, "bad", explained(error)))
            if check == "redis":
                break
    if results is not None:
        found += _results(results)
    return found


def name_of(info: Mapping[str, Any]) -> tuple[str, str]:
    """Return whether a server is Redis or Valkey, and its version."""
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info.get("redis_version", "unknown"))


# -- one server ------------------------------------------------------------------------------------------


def of_info(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge a server by its answer to INFO."""
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
    size = f"{_mib(used)} of {_mib(most)} used" if most else f"{_mib(used)} used, no limit"
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
            "refuses changes until that is mended",
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


def _replicas(store: Store, info: Mapping[str, Any], *, expected: bool) -> Finding:
    replicas = [value for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    wanted = store.backend.confirmation.replicas
    good = [r for r in replicas if r.get("state") == "online" and int(r.get("lag", 0)) <= _LAG_SECONDS]
    if len(good) < wanted:
        text = f"{len(good)} in reach, and the connection's wait_replicas is {wanted}: no change will count as made"
        return Finding("replicas", "bad", text)
    if len(good) < len(replicas):
        return Finding(
            "replicas", "warn", f"{len(good)} of {len(replicas)} in reach and not behind; see INFO replication"
        )
    if expected and not good:
        return Finding("replicas", "warn", "none: if this master is lost, there is nothing to take over")
    behind = max((int(info["master_repl_offset"]) - int(r.get("offset", 0)) for r in good), default=0)
    return Finding("replicas", "ok", f"{len(good)}, the last {behind} bytes behind" if good else "none")


def _redis(store: Store) -> Iterator[Finding]:
    nodes = _nodes(store)
    kind = "Redis Cluster" if store.backend.cluster else "by Sentinel" if _sentinel_manager(store) else "standalone"
    yield Finding("connection", "ok", f"{kind}, {', '.join(nodes)}")
    yield _encryption(next(iter(nodes.values())))
    for address, node in nodes.items():
        where = f"{address}: " if len(nodes) > 1 else ""
        info = node.info()
        yield from _with(where, of_info(info))
        yield from _with(where, [_replicas(store, info, expected=kind != "standalone")])
        yield from _with(where, [_clock(node)])
    if store.backend.cluster:
        state = next(iter(nodes.values())).execute_command("CLUSTER INFO")
        text = state if isinstance(state, dict) else {}
        if text.get("cluster_state", "ok") != "ok":
            yield Finding("cluster", "bad", "its state is not ok; see `redis-cli --cluster check`")


def _with(where: str, findings: Any) -> Iterator[Finding]:
    for finding in findings:
        yield Finding(finding.check, finding.level, f"{where}{finding.text}")


def _clock(node: redis.Redis) -> Finding:
    before = time.time()
    seconds, micros = node.time()
    off = seconds + micros / 1e6 - (before + time.time()) / 2
    text = f"the server's clock is {abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    if abs(off) <= _CLOCK_SECONDS:
        return Finding("clock", "ok", text)
    level: Level = "bad" if abs(off) > _CLOCK_BAD_SECONDS else "warn"
    return Finding("clock", level, f"{text}; windows end by the server's. Let both follow NTP")


def _encryption(node: redis.Redis) -> Finding:
    pool = node.connection_pool
    host = str(pool.connection_kwargs.get("host", "localhost"))
    if issubclass(pool.connection_class, redis.SSLConnection):
        if str(pool.connection_kwargs.get("ssl_cert_reqs", "required")) not in ("required", "CERT_REQUIRED"):
            return Finding(
                "tls", "warn", "the server's certificate is not checked (ssl_cert_reqs): anybody could be it"
            )
        return Finding("tls", "ok", "encrypted")
    if "path" in pool.connection_kwargs or host in ("localhost", "::1") or host.startswith("127."):
        return Finding("tls", "ok", "not encrypted, on this machine alone")
    return Finding("tls", "warn", "not encrypted: password and state can be read on the way; use rediss://")


# -- who else there is -----------------------------------------------------------------------------------


def _sentinel_manager(store: Store) -> Any:
    pool = getattr(store.backend.client, "connection_pool", None)
    return getattr(pool, "sentinel_manager", None)


def _sentinels(store: Store) -> Iterator[Finding]:
    manager = _sentinel_manager(store)
    if manager is None:
        return
    service = store.backend.client.connection_pool.service_name  # type: ignore[union-attr]
    known = 0
    for sentinel in manager.sentinels:
        options = sentinel.connection_pool.connection_kwargs
        where = f"{options.get('host')}:{options.get('port')}"
        try:
            state = sentinel.sentinel_masters()[service]
        except (RedisError, KeyError) as error:
            yield Finding("sentinel", "warn", f"{where} cannot be asked about {service}: {explained(error)}")
            continue
        known = max(known, int(state["num-other-sentinels"]) + 1)
        if not int(state["num-slaves"]):
            yield Finding("sentinel", "warn", f"{where} knows no replica of {service}, so it can make none the master")
    if 0 < known < 3:
        yield Finding("sentinel", "warn", f"{known} in all; three on three machines bear the loss of one")
    elif known:
        yield Finding("sentinel", "ok", f"{known} watch {service}")


def _nodes(store: Store) -> dict[str, redis.Redis]:
    """Return address → client of each master."""
    client = store.backend.client
    if isinstance(client, redis.Redis):
        client.ping()
        options = client.connection_pool.connection_kwargs
        if manager := _sentinel_manager(store):
            service = client.connection_pool.service_name  # type: ignore[attr-defined]
            return {"{}:{}".format(*manager.discover_master(service)): client}
        return {str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"): client}
    return {node.name: client.get_redis_connection(node) for node in client.get_primaries()}


# -- what this login may ---------------------------------------------------------------------------------


def needed_commands(keys: Keys) -> tuple[list[Command], list[Command]]:
    """Return each command that is used of the server: those that ask nothing of a key, and those that are queued."""
    live, some = keys.live, keys.history
    outside: list[Command] = [("PING",), ("TIME",), ("INFO", "server"), ("SCAN", 0), ("WATCH", live), ("UNWATCH",)]
    queued: list[Command] = [
        ("HGET", live, "f"),
        ("HMGET", live, "f"),
        ("HGETALL", live),
        ("HLEN", live),
        ("HSET", live, "f", "v"),
        ("HDEL", live, "f"),
        ("DEL", live),
        ("COPY", live, keys.batch(1), "REPLACE"),
        ("ZADD", some, 1, 1),
        ("ZREM", some, 1),
        ("ZCARD", some),
        ("ZSCORE", some, 1),
        ("ZRANGEBYSCORE", some, 0, 1),
        ("ZREVRANGE", some, 0, 0),
        ("ZREVRANGEBYSCORE", some, 1, 0),
        ("PUBLISH", EVENTS_CHANNEL, "{}"),
    ]
    return outside, queued


def _rights(store: Store) -> Iterator[Finding]:
    missing: dict[str, None] = {}
    for keys, node in _a_workflow_on_each_node(store):
        for refused in _refused(node, keys, waits=bool(store.backend.confirmation.replicas)):
            missing[refused] = None
    if not missing:
        yield Finding("rights", "ok", "all that are needed")
        return
    for text in missing:
        yield Finding("rights", "bad", text)


def _a_workflow_on_each_node(store: Store) -> Iterator[tuple[Keys, redis.Redis]]:
    client = store.backend.client
    if isinstance(client, redis.Redis):
        yield Keys("batchy-doctor", store.backend.cluster), client
        return
    left = {node.name for node in client.get_primaries()}
    for number in range(10_000):
        keys = Keys(f"batchy-doctor.{number}", cluster=True)
        node = client.get_node_from_key(keys.live)
        if node is not None and node.name in left:
            left.discard(node.name)
            yield keys, client.get_redis_connection(node)
        if not left:
            return


def _refused(node: redis.Redis, keys: Keys, *, waits: bool) -> Iterator[str]:
    """Say what the server refuses.

    Rights are checked when a command is queued; EXEC is never sent, and leaving forgets all that was queued.
    """
    outside, queued = needed_commands(keys)
    if waits:
        queued.append(("WAIT", 0, 1))
    pool = node.connection_pool
    connection = pool.get_connection()
    try:
        for command in (*outside, ("MULTI",), *queued):
            yield from _try(connection, command)
    finally:
        connection.disconnect()
        pool.release(connection)
    with node.pubsub() as listener:
        try:
            listener.subscribe(EVENTS_CHANNEL)
            listener.get_message(timeout=_ANSWER_SECONDS)
        except ResponseError as error:
            yield _said("SUBSCRIBE", error)


def _try(connection: Any, command: Command) -> Iterator[str]:
    connection.send_command(*command)
    try:
        connection.read_response()
    except ResponseError as error:
        yield _said(command[0], error)


def _said(command: str, error: ResponseError) -> str:
    # What is the matter with the server itself is said once, not with each command.
    return f"{command} is refused: {error}" if "perm" in str(error).lower() else explained(error)


def _foreign_keys(store: Store) -> Iterator[Finding]:
    workflows = set(store.workflows())
    foreign: list[str] = []
    for looked_at, key in enumerate(store.backend.client.scan_iter(count=1000)):
        if looked_at >= _KEYS_LOOKED_AT:
            break
        name = (key if isinstance(key, str) else key.decode("utf-8", "replace")).replace("{", "").replace("}", "")
        match = _OURS.fullmatch(name)
        if name not in workflows and not (match and (match[1] in workflows or _is_backfilled(store, match[1]))):
            foreign.append(name)
    if foreign:
        yield Finding(
            "keys",
            "warn",
            f"{len(foreign)} keys of other programs, such as {foreign[0]!r}: give Batchy a database of its own, or "
            "what they do to this one (FLUSHDB, full memory) is done to the windows too",
        )
    else:
        yield Finding("keys", "ok", f"workflows: {len(workflows)}; keys of other programs: none")


def _is_backfilled(store: Store, name: str) -> bool:
    """Tell whether a name has batches and was never opened live."""
    try:
        return bool(store.count(name))
    except BatchyError:
        return False


def _results(results: ResultStore) -> Iterator[Finding]:
    import shutil

    try:
        if not results.is_local:
            next(iter(results.root.iterdir()), None)
            yield Finding("results", "ok", results.url)
            return
        place = next(folder for folder in (results.root, *results.root.parents) if folder.exists())
        disk = shutil.disk_usage(place)
    except Exception as error:  # an object store has words of its own for all that may be wrong
        yield Finding("results", "bad", f"{results.url} cannot be used: {type(error).__name__}: {error}")
        return
    if disk.free < disk.total * _DISK_WARN:
        yield Finding("results", "warn", f"{results.url}: {_mib(disk.free)} are free; see `batchy prune`")
    else:
        yield Finding("results", "ok", f"{results.url}, {_mib(disk.free)} free")


def _mib(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB"
