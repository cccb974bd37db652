# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start the servers that hold a local stack's data: Valkey, PostgreSQL and, for many machines, S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from batchy_provider.local import servers
from batchy_provider.local.ports import free_port, port_is_free
from batchy_provider.local.postgres import Postgres
from batchy_provider.local.process import Service, Watch
from batchy_provider.local.topology import BUCKET


class DataServers:
    """Starts the servers, each with its data below the stack's folder.

    :param folder: of the stack.
    :param env: variables of every server.
    :param watch: called with the process id of each start.
    :param services: gets each server as soon as it is started, as ``valkey``, ``postgres`` and ``s3``, so that all can
        be stopped when the start fails half way.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis_password: str,
        env: Mapping[str, str],
        watch: Watch,
        services: dict[str, Service],
    ) -> None:
        self._folder = folder
        self._password = redis_password
        self._env = env
        self._watch = watch
        self._services = services
        self._postgres = Postgres(folder / "postgres", env=env, watch=watch)
        self.redis_port = free_port()
        self.s3_endpoint: str | None = None

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of Airflow's database."""
        return self._postgres.url

    @property
    def database_file(self) -> Path:
        """A file that PostgreSQL makes once with its data."""
        return self._postgres.folder / "PG_VERSION"

    @property
    def broker_url(self) -> str:
        """URL of the Redis database for Celery."""
        return self._redis_url(1)

    def start(self, *, with_s3: bool, timeout: float) -> None:
        """Start the servers and wait until they answer.

        :param timeout: seconds for each.
        :raises StackError: one of them does not answer in time.
        """
        valkey = servers.valkey(
            self._folder / "valkey", port=self.redis_port, password=self._password, env=self._env, watch=self._watch
        )
        self._start("valkey", valkey)
        if not self._postgres.initialized:
            self._postgres.initialize()
        self._postgres.forget_dead_server()
        postgres = self._postgres.service()
        self._start("postgres", postgres)
        if with_s3:
            self._start_s3(timeout)
        valkey.wait_until(self.redis_answers, timeout=timeout)
        postgres.wait_until(self._postgres.ready, timeout=timeout)

    def redis_answers(self) -> bool:
        """Tell whether Valkey answers."""
        import redis

        try:
            with redis.Redis.from_url(self._redis_url(0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _start(self, name: str, service: Service) -> None:
        self._services[name] = service
        service.start()

    def _start_s3(self, timeout: float) -> None:
        port = free_port()
        s3 = servers.s3(self._folder / "s3.log", port=port, env=self._env, watch=self._watch)
        self._start("s3", s3)
        s3.wait_until(lambda: not port_is_free(port), timeout=timeout)
        self.s3_endpoint = f"http://127.0.0.1:{port}"
        servers.make_bucket(self.s3_endpoint, BUCKET)

    def _redis_url(self, database: int) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.redis_port}/{database}"
