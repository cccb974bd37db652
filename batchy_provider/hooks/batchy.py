# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Airflow hook: open the store of batches from an Airflow connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.configuration import conf
from airflow.providers.redis.hooks.redis import RedisHook
from redis import Redis

from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.state.connections import Address
    from batchy_provider.state.store import Store
    from batchy_provider.state.transaction import Client

T = TypeVar("T")

_TLS_EXTRAS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_keyfile", "ssl_certfile", "ssl_check_hostname")
RETRY_SECONDS = 60.0
_TIMEOUT_EXTRAS = ("socket_timeout", "socket_connect_timeout", "health_check_interval", "max_connections")
_WAIT_EXTRAS = ("wait_replicas", "wait_replicas_ms")
_WHOLE_EXTRAS = ("db", "health_check_interval", "max_connections", *_WAIT_EXTRAS)
_NUMBER_EXTRAS = (*_TIMEOUT_EXTRAS, *_WHOLE_EXTRAS)
_YES_OR_NO = ("ssl", "cluster", "ssl_check_hostname")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "none": False}

_KNOWN_SECONDS = 60.0
_known: dict[str, tuple[float, Address]] = {}
"""Connection id → when the process of this task read it, and what it names."""


def default_conn_id() -> str:
    """Return the id of the connection that is used by default: ``[batchy] redis_conn_id``."""
    return str(conf.get("batchy", "redis_conn_id", fallback="redis_default"))


def prepare_store() -> None:
    """Make what each first use of the store makes, in a program that forks for tasks. It connects to nothing."""
    import encodings.idna  # noqa: F401 - names of hosts need it

    import airflow.sdk.definitions.connection  # noqa: F401 - what a task imports that asks for a connection

    from batchy_provider.core.holders import Holder
    from batchy_provider.core.revision import Revision
    from batchy_provider.core.snapshot import LastSuccess, StoredConfig
    from batchy_provider.core.typed_data import prepare
    from batchy_provider.core.values import BatchRecord
    from batchy_provider.state.codec import dump, load_config
    from batchy_provider.state.connections import Address, client
    from batchy_provider.state.stored_config import config_form

    prepare(BatchRecord, Holder, LastSuccess, Revision)
    load_config("warm_up", dump(config_form(StoredConfig())))
    client(Address()).close()


class BatchyHook(RedisHook):
    """Connect to the Redis that holds the state of batches.

    Use it in a task that reads or changes batches itself. Operators, sensor and triggers use it too. It takes
    connections of type ``redis`` and of type ``batchy``, whose form also has fields for Sentinel. Unlike `RedisHook`,
    it sets timeouts, names its client, and closes the client at the end of a ``with`` block:

    ```python
    with BatchyHook() as store:
        print(store.status("sales").jobs)
    ```

    More: [How to use Python](../howto/python.md).

    :param redis_conn_id: connection to Redis; default: ``[batchy] redis_conn_id``.
    :param patience: seconds for which the store retries a lost connection, so that a run survives a restart of
        Redis; default: ``[batchy] redis_patience_seconds``.
    """

    conn_name_attr = "redis_conn_id"
    default_conn_name = "redis_default"
    conn_type = "batchy"
    hook_name = "Batchy (Redis)"

    def __init__(self, redis_conn_id: str | None = None, *, patience: float | None = None, **kwargs: Any) -> None:
        super().__init__(redis_conn_id or default_conn_id(), **kwargs)
        if patience is None:
            patience = conf.getfloat("batchy", "redis_patience_seconds", fallback=RETRY_SECONDS)
        self._patience = patience
        self._client: Client | None = None
        self._address: Address | None = None

    def get_conn(self) -> Client:
        """Return the client of this hook. The first call makes it."""
        if self._client is None:
            from batchy_provider.state import connections as connect

            self._address = self.get_address()
            self._client = connect.client(self._address, client_name=self._client_name())
        return self._client

    def get_store(self) -> Store:
        """Return the store of batches on this hook's client. It archives batches if ``[batchy] archive`` is on."""
        from batchy_provider.hooks.deployment import archive
        from batchy_provider.state import connections as connect

        client = self.get_conn()
        assert self._address is not None
        return connect.store(self._address, client, retry_seconds=self._patience, archive=archive())

    def get_address(self) -> Address:
        """Return the servers, login and options that the connection names.

        The process of a task asks Airflow once: the check before a job, its templates and the job follow each other.
        """
        from batchy_provider.compat import supervisor_socket

        if supervisor_socket() is None:  # a program that lives longer
            return to_address(self.get_connection(self.redis_conn_id))
        known = _known.get(self.redis_conn_id)
        if known is None or time.monotonic() - known[0] > _KNOWN_SECONDS:
            known = time.monotonic(), to_address(self.get_connection(self.redis_conn_id))
            _known[self.redis_conn_id] = known
        return known[1]

    async def get_address_async(self) -> Address:
        """Return the same as `get_address`, without blocking the triggerer."""
        return to_address(await self.aget_connection(self.redis_conn_id))

    async def look(self, ask: Callable[[Store], T]) -> T:
        """Call a function with a store that is open only for it, in a thread, without blocking the triggerer."""
        address = await self.get_address_async()

        def call() -> T:
            from batchy_provider.state import connections as connect

            client = connect.client(address, client_name=self._client_name())
            try:
                return ask(connect.store(address, client, retry_seconds=0))
            finally:
                client.close()

        return await asyncio.to_thread(call)

    def close(self) -> None:
        """Close the client, if it was made."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def test_connection(self) -> tuple[bool, str]:
        """Say whether Redis answers, its name and version, and what is wrong with it. `batchy doctor` checks more."""
        from batchy_provider.services.server_checks import name_of, of_info

        try:
            client = self.get_conn()
            # One node represents the whole Cluster here.
            info = (
                client if isinstance(client, Redis) else client.get_redis_connection(client.get_primaries()[0])
            ).info()
        except Exception as error:  # the connection form shows any error
            return False, f"{type(error).__name__}: {error}"
        finally:
            self.close()
        problems = [finding.text for finding in of_info(info) if finding.level != "ok"]
        return True, f"{' '.join(name_of(info))} answers" + (f". To check: {'; '.join(problems)}" if problems else "")

    def __enter__(self) -> Store:
        """Return the store."""
        return self.get_store()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def _client_name(self) -> str:
        from batchy_provider.state.connections import CLIENT_NAME

        return f"{CLIENT_NAME}-{self.redis_conn_id}".replace(" ", "_")


def to_address(connection: Any) -> Address:
    """Read the parts of an Airflow connection.

    :param connection: Airflow connection with ``host``, ``port``, ``login``, ``password`` and, in its extra, ``db``,
        ``cluster``, ``startup_nodes``, ``sentinels``, ``sentinel_service``, ``sentinel_username``,
        ``sentinel_password``, ``wait_replicas``, ``wait_replicas_ms``, the ``ssl…`` options and the timeouts.
    :raises ConfigError: if the parts do not fit together.
    """
    where = f"Airflow connection {connection.conn_id!r}"
    try:
        extra = {name: _read(name, value) for name, value in connection.extra_dejson.items() if value not in (None, "")}
        return _address(connection, extra)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _address(connection: Any, extra: Mapping[str, Any]) -> Address:
    from batchy_provider.state.connections import DEFAULT_PORT, DEFAULT_SENTINEL_PORT, Address, parse_hosts

    ssl = extra.get("ssl", False)
    wanted = (*_TLS_EXTRAS, *_TIMEOUT_EXTRAS) if ssl else _TIMEOUT_EXTRAS
    common: dict[str, Any] = {
        "username": connection.login or None,
        "password": None if str(connection.password).lower() in ("none", "false", "") else connection.password,
        "ssl": ssl,
        "options": {name: extra[name] for name in wanted if name in extra},
        **{name: extra[name] for name in _WAIT_EXTRAS if name in extra},
    }
    host = ((connection.host or "localhost", int(connection.port or DEFAULT_PORT)),)
    more = parse_hosts(extra["startup_nodes"], DEFAULT_PORT) if extra.get("startup_nodes") else ()
    db = extra.get("db", 0)
    if extra.get("cluster"):
        if db:
            raise ConfigError(f"Redis Cluster has database 0 only; remove db {db} from its extra")
        return Address(kind="cluster", hosts=host + more, **common)
    if extra.get("sentinels") or extra.get("sentinel_service"):
        if not extra.get("sentinel_service"):
            raise ConfigError("sentinels need sentinel_service, the name of the master in their configuration")
        sentinels = extra.get("sentinels") or f"{host[0][0]}:{connection.port or DEFAULT_SENTINEL_PORT}"
        hosts = parse_hosts(sentinels, DEFAULT_SENTINEL_PORT)
        login = {name: extra[name] for name in ("sentinel_username", "sentinel_password") if name in extra}
        return Address(kind="sentinel", hosts=hosts, service=extra["sentinel_service"], db=db, **login, **common)
    return Address(hosts=host, db=db, **common)


def _read(name: str, value: Any) -> Any:
    """Return the value of one extra in its type. In a connection that is given as a URI, all values are text."""
    if name in _YES_OR_NO:
        text = str(value).strip().lower()
        if text not in _WORDS:
            raise ConfigError(f"{name} is {value!r} in its extra; expected true or false")
        return _WORDS[text]
    if name in _NUMBER_EXTRAS:
        kind = int if name in _WHOLE_EXTRAS else float
        try:
            return kind(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{name} is {value!r} in its extra; expected a number") from error
    return value
