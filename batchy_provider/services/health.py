# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check that a Redis answers, and find settings that may make a night fail. Changes nothing in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError

from batchy_provider.exceptions import BatchyError
from batchy_provider.services.deployment_checks import deployments
from batchy_provider.services.permission_checks import check_permissions
from batchy_provider.services.server_checks import Finding, clock_of, encryption_of, mib, of_info, replicas_of
from batchy_provider.state.keys import Keys
from batchy_provider.state.server_errors import explained
from batchy_provider.state.transaction import own_errors

if TYPE_CHECKING:
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.state.store import Store

_KEYS_EXAMINED = 20_000
_DISK_WARN = 0.05
_ENDS = "|".join(key.removeprefix("x") for key in Keys("x").all[1:])
_OURS = re.compile(rf"(.+?)(?:{_ENDS}|-[0-9]+(?:-init)?)", re.ASCII)


class HealthService:
    """Check the Redis of a deployment.

    :param store: returns the state in Redis.
    :param more: yields further findings; called if Redis answers.
    """

    def __init__(self, *, store: Callable[[], Store], more: Callable[[Store], Iterable[Finding]] | None = None) -> None:
        self._store = store
        self._more = more

    def ping(self) -> None:
        """Check that Redis answers.

        :raises RedisUnavailableError: it does not answer.
        """
        client = self._store().backend.client
        with own_errors(client):
            client.ping()

    def examine(self, results: ResultStore | None = None) -> list[Finding]:
        """Run all checks and return what they find.

        :param results: a result store to check too.
        """
        return examine(self._store(), results, self._more)


def examine(
    store: Store, results: ResultStore | None = None, more: Callable[[Store], Iterable[Finding]] | None = None
) -> list[Finding]:
    """Run all checks and return what they find.

    :param results: a result store to check too.
    :param more: yields findings about warnings.
    """
    found: list[Finding] = []
    checks: list[tuple[str, Callable[[Store], Iterable[Finding]]]] = [
        ("redis", _redis),
        ("sentinel", _sentinels),
        ("rights", check_permissions),
        ("keys", _foreign_keys),
        ("deployment", deployments),
        *([("warnings", more)] if more is not None else []),
    ]
    for check, find in checks:
        try:
            found += find(store)
        except (RedisError, BatchyError, OSError) as error:
            found.append(Finding(check, "bad", explained(error)))
            if check == "redis":
                break
    if results is not None:
        found += _results(results)
    return found


def _redis(store: Store) -> Iterator[Finding]:
    nodes = _nodes(store)
    kind = "Redis Cluster" if store.backend.cluster else "by Sentinel" if _sentinel_manager(store) else "standalone"
    yield Finding("connection", "ok", f"{kind}, {', '.join(nodes)}")
    yield encryption_of(next(iter(nodes.values())))
    for address, node in nodes.items():
        where = f"{address}: " if len(nodes) > 1 else ""
        info = node.info()
        yield from _with(where, of_info(info))
        yield from _with(where, [replicas_of(store.backend.confirmation.replicas, info, expected=kind != "standalone")])
        yield from _with(where, [clock_of(node)])
    if store.backend.cluster:
        state = next(iter(nodes.values())).execute_command("CLUSTER INFO")
        text = state if isinstance(state, dict) else {}
        if text.get("cluster_state", "ok") != "ok":
            yield Finding("cluster", "bad", "its state is not ok; see `redis-cli --cluster check`")


def _with(where: str, findings: Any) -> Iterator[Finding]:
    for finding in findings:
        yield Finding(finding.check, finding.level, f"{where}{finding.text}")


def _sentinel_manager(store: Store) -> Any:
    pool = getattr(store.backend.client, "connection_pool", None)
    return getattr(pool, "sentinel_manager", None)


def _sentinels(store: Store) -> Iterator[Finding]:
    manager = _sentinel_manager(store)
    if manager is None:
        return
    service = store.backend.client.connection_pool.service_name  # type: ignore[union-attr]  # Sentinel's pool has it
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
        yield Finding("sentinel", "warn", f"{known} in all; three Sentinels on three machines survive the loss of one")
    elif known:
        yield Finding("sentinel", "ok", f"{known} watch {service}")


def _nodes(store: Store) -> dict[str, redis.Redis]:
    """Return address → client of each master."""
    client = store.backend.client
    if isinstance(client, redis.Redis):
        client.ping()
        options = client.connection_pool.connection_kwargs
        if manager := _sentinel_manager(store):
            service = client.connection_pool.service_name  # type: ignore[attr-defined]  # Sentinel's pool has it
            return {"{}:{}".format(*manager.discover_master(service)): client}
        return {str(options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"): client}
    return {node.name: client.get_redis_connection(node) for node in client.get_primaries()}


def _foreign_keys(store: Store) -> Iterator[Finding]:
    workflows = set(store.workflows())
    foreign: list[str] = []
    for examined, key in enumerate(store.backend.client.scan_iter(count=1000)):
        if examined >= _KEYS_EXAMINED:
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
            "what they do to this database (FLUSHDB, full memory) also hits the windows",
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
    except Exception as error:  # each object store raises its own types of errors
        yield Finding("results", "bad", f"{results.url} cannot be used: {type(error).__name__}: {error}")
        return
    if disk.free < disk.total * _DISK_WARN:
        yield Finding("results", "warn", f"{results.url}: {mib(disk.free)} are free; see `batchy prune`")
    else:
        yield Finding("results", "ok", f"{results.url}, {mib(disk.free)} free")
