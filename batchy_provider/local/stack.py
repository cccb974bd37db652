# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start and stop a whole Airflow with its Valkey and PostgreSQL in one folder, on 127.0.0.1 only.

Airflow's components are separate programs, not children of ``airflow standalone``, so that the tests can kill and
restart each of them. With many machines (see ``topology``) each component has its own disk, and there is an S3 server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from batchy_provider.local import settings
from batchy_provider.local.airflow_programs import AirflowPrograms
from batchy_provider.local.data_servers import DataServers
from batchy_provider.local.folder import StackFolder, check_owned
from batchy_provider.local.health import check_alive, wait_until_healthy
from batchy_provider.local.interrupts import held_back
from batchy_provider.local.ports import free_port, why_port_is_taken
from batchy_provider.local.postgres import remove_database
from batchy_provider.local.process import Guard, Service, StackError, kill_all, stop_all
from batchy_provider.local.rest import AirflowClient
from batchy_provider.local.topology import ONE_MACHINE, S3_CONNECTION, Machine, Topology, s3_connection

__all__ = ["LocalStack", "remove_database"]

START_TIMEOUT = 600.0
"""Seconds for one step of the start, enough for a very busy machine. If a part dies, the wait ends at once."""
SERVERS_WAVE, AIRFLOW_WAVE = 1, 2


class LocalStack:
    """Valkey, PostgreSQL and Airflow on one machine, or on what looks like many.

    Everything is stopped by ``stop``, at the end of the ``with`` block, when the start fails or is interrupted, and
    when this program is killed.

    :param folder: contains everything. It stays after ``stop``, and the next stack in it continues with its data.
    :param dags: folder of DAG files.
    :param cfg: folder of workflows.
    :param options: Airflow options as ``section.name`` → value.
    :param connections: Airflow connections, id → URI or JSON.
    :param environment: more variables for Airflow's components.
    :param topology: which components there are, and what they share.
    :param port: of the API server; default: a free one.
    :param preferred_port: of the API server if ``port`` is not given and this one is free.
    :param inherited: Airflow options of the caller, as ``section.name`` → value; the stack's own options override them.
    :param report: called with a line for each step.
    :param on_web_ui: called once when the web UI answers, before the rest of Airflow is ready.
    :param on_servers: called once when Valkey answers, before Airflow starts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dags: Path,
        cfg: Path,
        options: Mapping[str, str] | None = None,
        connections: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        topology: Topology = ONE_MACHINE,
        port: int | None = None,
        preferred_port: int | None = None,
        inherited: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda line: None,
        on_web_ui: Callable[[], None] = lambda: None,
        on_servers: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder.expanduser().resolve()
        self.dags = dags.resolve()
        self.cfg = cfg.resolve()
        self.user = settings.USER
        self._options = dict(options or {})
        self._connections = dict(connections or {})
        self._more_environment = dict(environment or {})
        self.topology = topology
        self._components = topology.components()
        self._port = port
        self._preferred_port = preferred_port
        self._inherited = dict(inherited or {})
        self._report = report
        self._on_web_ui = on_web_ui
        self._on_servers = on_servers
        self._web_ui_reported = False
        self._services: dict[str, Service] = {}
        self._guard: Guard | None = None
        self._own = StackFolder(self.folder, report=report)
        self._client: AirflowClient | None = None
        self.environment: dict[str, str] = {}

    def __enter__(self) -> LocalStack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address of the web UI."""
        return self.environment["AIRFLOW__API__BASE_URL"]

    @property
    def password(self) -> str:
        """Password of ``user`` in the web UI."""
        return self._keys.admin_password

    @property
    def redis_url(self) -> str:
        """URL of the Valkey, with its password."""
        return self.environment["BATCHY_REDIS_URL"]

    @property
    def s3_endpoint(self) -> str | None:
        """Address of the S3 server; None where all share one disk."""
        return self._data.s3_endpoint

    @property
    def shell_file(self) -> Path:
        """File to source in a shell, to use ``airflow`` and ``batchy`` on this stack."""
        return self.folder / "env.sh"

    @property
    def client(self) -> AirflowClient:
        """Its REST API, as an admin."""
        if self._client is None:
            self._client = AirflowClient(self.url, self.user, self.password)
        return self._client

    def service(self, name: str) -> Service:
        """Return one program of the stack.

        :param name: a component, ``valkey``, ``postgres`` or, with many machines, ``s3``.
        """
        return self._services[name]

    def machine(self, name: str) -> Machine:
        """Return the disk of a component; only with many machines.

        :param name: of the component.
        """
        return Machine(self.folder / "machines", name)

    def deploy(self) -> None:
        """Copy the current DAGs and workflows to every machine. Do nothing if all read the same folder."""
        if self.topology.own_disks:
            for name in self._components:
                self.machine(name).deploy(dags=self.dags, cfg=self.cfg)

    # starting and stopping

    def start(self) -> None:
        """Start everything and wait until it is ready.

        :raises StackError: a part does not come up; everything is stopped again.
        """
        self.topology.check()
        self._web_ui_reported = False
        try:
            self._own.lock()
            # Check a chosen port now, not after a minute.
            if self._port is not None and (reason := why_port_is_taken(self._port)):
                raise StackError(f"Port {self._port} cannot be used: {reason}. Choose another one.")
            self._guard = Guard(holds=self._own.lock_fd)
            self._keys = settings.Secrets.of(self.folder)
            self._start_servers()
            self._on_servers()
            self._start_airflow()
            self._say("running")
        except OSError as error:  # for example a full disk
            self.stop()
            raise StackError(f"The stack in {self.folder} cannot be started: {error}") from error
        except BaseException:  # including Ctrl-C: leave nothing running
            self.stop()
            raise

    def claim(self, *, fresh: bool = False) -> None:
        """Lock the folder before ``start``, which otherwise does it; ``stop`` unlocks it.

        :param fresh: remove what earlier stacks left in it.
        :raises AnotherStackError: another stack runs in it, and continues.
        :raises StackError: the folder contains something else, or cannot be used.
        """
        check_owned(self.folder)
        self._own.lock()
        if fresh:
            remove_database(self.folder)
            self._own.empty()

    def stop(self) -> None:
        """Stop everything. The folder stays. Does nothing if nothing runs."""
        self._stop(end_programs=stop_all)

    def discard(self) -> None:
        """Stop everything at once, and remove the database: nobody continues with this stack.

        Airflow's programs are killed. Each of them takes more than a second of a processor to end in order.
        """
        self._stop(end_programs=kill_all)
        remove_database(self.folder)

    def _stop(self, *, end_programs: Callable[[list[Service]], None]) -> None:
        # A second Ctrl-C must not interrupt this.
        with held_back(notice=lambda: self._report("Still stopping; this takes half a minute at most")):
            if self._services:
                self._report("Stopping Airflow, PostgreSQL and Valkey")
            self._own.say("stopping")
            if self._client is not None:
                self._client.close()
                self._client = None
            end_programs([service for name, service in self._services.items() if name in self._components])
            stop_all([service for name, service in self._services.items() if name not in self._components])
            self._services.clear()
            if self._guard is not None:
                self._guard.dismiss()
                self._guard = None
            self._own.release()

    def restart(self, name: str) -> None:
        """Start a stopped or killed program again, with the same port and data, and wait until it serves."""
        service = self._services[name]
        service.start()
        if name == "valkey":
            service.wait_until(self._data.redis_answers, timeout=30)
        elif name in self._components:
            self.wait_until_healthy()

    def check(self) -> None:
        """Check that every program is alive.

        :raises StackError: one has died; the text names it and shows the end of its log.
        """
        check_alive(self._services.values())

    def wait_until_healthy(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until all components of Airflow are healthy.

        :param timeout: seconds.
        :raises StackError: one has died, or is not healthy in time.
        """
        wait_until_healthy(
            self.client.health,
            self._services,
            report=self._report,
            on_answer=self._web_ui_answers,
            timeout=timeout,
        )

    def _web_ui_answers(self) -> None:
        if not self._web_ui_reported:
            self._web_ui_reported = True
            self._say("starting")
            self._on_web_ui()

    def _say(self, state: str) -> None:
        self._own.say(state, url=self.url, user=self.user, password=self.password)

    def _watcher(self, wave: int) -> Callable[[int], None]:
        assert self._guard is not None
        guard = self._guard

        def watch(pid: int) -> None:
            guard.watch(wave, pid)
            self._own.remember(wave, pid)

        return watch

    def _start_servers(self) -> None:
        self._report("Starting Valkey and PostgreSQL")
        base = settings.clean_environment()
        self._data = data = DataServers(
            self.folder,
            redis_password=self._keys.redis_password,
            env=base,
            watch=self._watcher(SERVERS_WAVE),
            services=self._services,
        )
        data.start(with_s3=self.topology.own_disks, timeout=START_TIMEOUT)
        connections = {} if data.s3_endpoint is None else {S3_CONNECTION: s3_connection(data.s3_endpoint)}
        programs_options = self.topology.options(database_url=data.database_url, broker_url=data.broker_url)
        variables = settings.airflow_environment(
            self.folder,
            dags=self.dags,
            cfg=self.cfg,
            database_url=data.database_url,
            redis_port=data.redis_port,
            api_port=self._port if self._port is not None else free_port(self._preferred_port),
            keys=self._keys,
            options={**programs_options, **self._options},
            connections={**connections, **self._connections},
            inherited=self._inherited,
        )
        settings.write_shell_file(self.shell_file, variables)
        self.environment = {**base, **variables, **self._more_environment}

    def _start_airflow(self) -> None:
        programs = AirflowPrograms(
            self.folder, topology=self.topology, environment=self.environment, watch=self._watcher(AIRFLOW_WAVE)
        )
        if not programs.is_migrated(self._data.database_file):
            self._report("Creating Airflow's tables")
            programs.migrate(self._data.database_file, timeout=START_TIMEOUT)
        self._report("Starting Airflow's components")
        self.deploy()
        for name in self._components:
            self._services[name] = programs.component(name)
            self._services[name].start()
        self.wait_until_healthy()
