# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make a Redis client from a URL or from the parts of an Airflow connection: standalone, Sentinel or Cluster.

Kinds of deployment differ here and in `transaction` alone. Every client has timeouts and a name that
``CLIENT LIST`` shows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote

from batchy_provider.exceptions import ConfigError, RedisUnavailableError

if TYPE_CHECKING:
    from batchy_provider.state.archive_port import Archive
    from batchy_provider.state.store import Store
    from batchy_provider.state.transaction import Client

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379
CLIENT_NAME = "batchy"
TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
_HEALTH_CHECK_SECONDS = 30
_SCHEMES = (
    "redis://, rediss:// (TLS), unix://, redis+cluster://, rediss+cluster://, redis+sentinel://, rediss+sentinel://"
)
_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_OPTIONS: dict[str, Callable[[str], Any]] = {
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "health_check_interval": int,
    "max_connections": int,
    "protocol": int,
    "wait_replicas": int,
    "wait_replicas_ms": int,
    "socket_keepalive": lambda text: _YES_OR_NO[text.lower()],
    "ssl_check_hostname": lambda text: _YES_OR_NO[text.lower()],
}
"""Options that are not text."""
_OURS = ("sentinel_username", "sentinel_password", "wait_replicas", "wait_replicas_ms")
"""Options that redis-py's client does not take."""

RedisTopology = Literal["standalone", "cluster", "sentinel"]
"""How the servers of a Redis are arranged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a Redis is and how to log in.

    :param hosts: host and port; several for Cluster and Sentinel.
    :param service: the name that Sentinel knows the master by.
    :param sentinel_username: login at the Sentinels.
    :param wait_replicas: how many replicas must have a change before it counts as made; 0 for none.
    :param wait_replicas_ms: how long to wait for them at each attempt.
    :param options: further keyword arguments of redis-py's client, for example ``ssl_ca_certs``.
    """

    kind: RedisTopology = "standalone"
    hosts: tuple[tuple[str, int], ...] = (("localhost", DEFAULT_PORT),)
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl: bool = False
    service: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    wait_replicas: int = 0
    wait_replicas_ms: int = 1000
    unix_path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.unix_path:
            return self.unix_path
        return ",".join(f"{host}:{port}" for host, port in self.hosts)


def parse_url(url: str) -> Address:
    """Read a Redis URL.

    ``redis+cluster://h1:6379,h2:6379``, ``redis+sentinel://h1:26379,h2:26379/mymaster/0``; options of redis-py
    may follow a ``?``.

    :raises ConfigError: if it is not valid. The message never contains a password.
    """
    # urlsplit does not know lists of hosts, and treats them differently in different versions of Python.
    beginning, mark, rest = url.partition("://")
    netloc = re.match(r"[^/?#]*", rest).group()  # type: ignore[union-attr]  # it matches also nothing
    path_text, _, query = rest[len(netloc) :].partition("?")
    if netloc.count("[") != netloc.count("]"):
        # Not shown, as it may hold the password.
        raise ConfigError(f"a Redis URL cannot be read; expected one of {_SCHEMES}")
    scheme, _, suffix = beginning.lower().replace("valkey", "redis").partition("+")
    if not mark or scheme not in ("redis", "rediss", "unix") or suffix not in ("", "cluster", "sentinel"):
        begins = beginning if mark else beginning.partition(":")[0]
        raise ConfigError(f"a Redis URL cannot begin with {begins!r}; expected one of {_SCHEMES}")
    if scheme != "unix" and "@" in path_text + query:
        raise ConfigError(
            "a Redis URL has an '@' behind its host: write '/', '?', '#' and '@' in the user and password as %2F, %3F, "
            "%23 and %40"
        )
    options = _url_options(query)
    login, _, hosts = netloc.rpartition("@")
    username, _, password = login.partition(":")
    path = [unquote(part) for part in path_text.split("/") if part]
    common: dict[str, Any] = {
        "username": unquote(username) or None,
        "password": unquote(password) or None,
        "ssl": scheme == "rediss",
        **{name: options.pop(name) for name in _OURS if name in options},
        "options": options,
    }
    if scheme == "unix":
        return Address(unix_path=unquote(path_text), db=_db(options.pop("db", "0")), **common)
    if suffix == "sentinel":
        if not path:
            raise ConfigError("a Redis Sentinel URL needs the master's name: redis+sentinel://host:26379/mymaster")
        db = _db(path[1] if len(path) > 1 else "0")
        return Address(
            kind="sentinel", hosts=parse_hosts(hosts, DEFAULT_SENTINEL_PORT), service=path[0], db=db, **common
        )
    db = _db(options.pop("db", None) or (path[0] if path else "0"))
    if suffix == "cluster" and db:
        raise ConfigError(f"Redis Cluster has database 0 only, not {db}")
    return Address(kind="cluster" if suffix else "standalone", hosts=parse_hosts(hosts, DEFAULT_PORT), db=db, **common)


def _url_options(query: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, text in parse_qsl(query):
        try:
            options[name] = _OPTIONS.get(name, str)(text)
        except (ValueError, KeyError) as error:
            raise ConfigError(f"option {name} of a Redis URL cannot be {text!r}") from error
    return options


def parse_hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    """Read ``host:port,host:port``; IPv6 addresses need brackets."""
    found = []
    for part in text.split(","):
        host, port = part.strip(), str(default_port)
        if ":" in host.rpartition("]")[2]:
            host, _, port = host.rpartition(":")
        if not (port.isdecimal() and 1 <= int(port[:6]) <= 65_535):
            raise ConfigError(f"{part.strip()!r} is not host:port; a port is a number from 1 to 65535")
        found.append((host.strip("[]") or "localhost", int(port)))
    return tuple(found)


def _db(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{text!r} is not the number of a Redis database")
    return int(text)


def open_client(url: str, *, client_name: str = CLIENT_NAME) -> Client:
    """Return a client for a URL; it connects when it is first used."""
    return client(parse_url(url), client_name=client_name)


def store(
    address: Address, client: Client, *, retry_seconds: float | None = None, archive: Archive | None = None
) -> Store:
    """Return a store on a client, with the replicas that the address demands.

    :param retry_seconds: for how long a lost connection is tried again.
    :param archive: the archive of closed batches; None if there is none.
    :raises ConfigError: if the wait for replicas is longer than the timeout of an answer.
    """
    from batchy_provider.state.session import Confirmation
    from batchy_provider.state.store import Store
    from batchy_provider.state.transaction import RETRY_SECONDS

    timeout = float(address.options.get("socket_timeout", TIMEOUT_SECONDS))
    if address.wait_replicas and not 0 < address.wait_replicas_ms < timeout * 1000:
        raise ConfigError(
            f"wait_replicas_ms is {address.wait_replicas_ms}; expected more than 0, which would wait for ever, and "
            f"less than socket_timeout, {timeout:g} seconds"
        )
    confirmation = Confirmation(address.wait_replicas, address.wait_replicas_ms)
    retry_seconds = RETRY_SECONDS if retry_seconds is None else retry_seconds
    return Store(client, retry_seconds=retry_seconds, confirmation=confirmation, archive=archive)


def client(address: Address, *, client_name: str = CLIENT_NAME) -> Client:
    """Return a client; it connects when it is first used, but a cluster's at once.

    :raises RedisUnavailableError: if no node of a cluster can be reached.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.cluster import ClusterNode, RedisCluster
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry
    from redis.sentinel import Sentinel

    options = _options(address, client_name)
    if address.kind == "cluster":
        try:
            return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in address.hosts], **options)
        except RedisClusterException as error:  # it is none of redis-py's other errors
            # redis-py says the same if the user may not ask for the slots.
            hint = ", or its user lacks +cluster|slots" if "not enabled" in str(error) else ""
            raise RedisUnavailableError(f"Redis Cluster at {address} cannot be used: {error}{hint}") from error
    # `transaction` has its own retry budget for lost connections; retries of redis-py would come on top of it.
    options.setdefault("retry", Retry(NoBackoff(), 1))
    if address.kind == "sentinel":
        from batchy_provider.state.sentinel_pools import SentinelPool

        sentinel = Sentinel(list(address.hosts), sentinel_kwargs=_sentinel_options(address, options), **options)
        service = str(address.service)
        master: redis.Redis = sentinel.master_for(service, connection_pool_class=SentinelPool, db=address.db)
        return master
    if address.unix_path:
        return redis.Redis(unix_socket_path=address.unix_path, db=address.db, **options)
    ((host, port),) = address.hosts[:1]
    return redis.Redis(host=host, port=port, db=address.db, **options)


def async_client(address: Address, *, client_name: str = CLIENT_NAME) -> Any:
    """Return the asyncio twin of `client`: a ``redis.asyncio.Redis`` or ``RedisCluster``."""
    import redis.asyncio as redis
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.asyncio.sentinel import Sentinel
    from redis.backoff import NoBackoff

    options = _options(address, client_name)
    if address.kind == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in address.hosts], **options)
    # It must fail: a subscription that the client renews by itself would have missed messages in between.
    options.setdefault("retry", Retry(NoBackoff(), 0))
    if address.kind == "sentinel":
        from batchy_provider.state.sentinel_pools import AsyncSentinelPool

        sentinel = Sentinel(list(address.hosts), sentinel_kwargs=_sentinel_options(address, options), **options)
        return sentinel.master_for(str(address.service), connection_pool_class=AsyncSentinelPool, db=address.db)
    if address.unix_path:
        return redis.Redis(unix_socket_path=address.unix_path, db=address.db, **options)
    ((host, port),) = address.hosts[:1]
    return redis.Redis(host=host, port=port, db=address.db, **options)


def async_subscriber(address: Address, *, client_name: str = CLIENT_NAME) -> Any:
    """Return an asyncio client for a subscription; in a cluster, a client of one random node.

    Each node of a cluster gets what is published at any other node.
    """
    if address.kind != "cluster":
        return async_client(address, client_name=client_name)
    host = random.choice(address.hosts)  # noqa: S311  # nosec B311  # spreads load
    return async_client(replace(address, kind="standalone", hosts=(host,)), client_name=client_name)


def _options(address: Address, client_name: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT_SECONDS,
        "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        "client_name": client_name,
    }
    if find_spec("redis.driver_info") is not None:
        # Two commands for each connection, and a search in the metadata of all packages for each client.
        options["driver_info"] = None
    if address.username:
        options["username"] = address.username
    if address.password:
        options["password"] = address.password
    if address.ssl:
        options["ssl"] = True
    return options | dict(address.options)


def _sentinel_options(address: Address, options: Mapping[str, Any]) -> dict[str, Any]:
    # Sentinels have their own login; they do not get that of the master.
    wanted = {name: value for name, value in options.items() if name not in ("username", "password", "retry")}
    login = {"username": address.sentinel_username, "password": address.sentinel_password}
    return wanted | {name: value for name, value in login.items() if value}
