# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start Airflow's programs in a local stack, and migrate their database."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from batchy_provider.local import settings
from batchy_provider.local.process import Service, Watch
from batchy_provider.local.topology import Machine, Topology


class AirflowPrograms:
    """Makes the `Service` of each Airflow program, not yet started.

    :param folder: of the stack.
    :param topology: which programs there are, and what they share.
    :param environment: variables of every program.
    :param watch: called with the process id of each start.
    """

    def __init__(self, folder: Path, *, topology: Topology, environment: Mapping[str, str], watch: Watch) -> None:
        self._folder = folder
        self._topology = topology
        self._environment = environment
        self._watch = watch
        self._stamp = folder / "migrated"
        (folder / "logs").mkdir(exist_ok=True)

    def is_migrated(self, database: Path) -> bool:
        """Tell whether the database has the tables of this Airflow.

        :param database: a file that PostgreSQL makes once with its data.
        """
        return self._stamp.exists() and self._stamp.read_text() == _stamp_of(database)

    def migrate(self, database: Path, *, timeout: float) -> None:
        """Make Airflow's tables, or bring them up to date.

        :param database: see `is_migrated`.
        :param timeout: seconds.
        :raises StackError: it failed, or took too long.
        """
        self._service("db-migrate", ["db", "migrate"]).run(timeout=timeout)
        self._stamp.write_text(_stamp_of(database))

    def component(self, name: str) -> Service:
        """Return a component of the topology, on its own disk where each has one."""
        arguments = self._topology.components()[name]
        if not self._topology.own_disks:
            return self._service(name, arguments)
        machine = Machine(self._folder / "machines", name)
        variables = machine.environment(self._environment)
        changed = {key: value for key, value in variables.items() if self._environment.get(key) != value}
        settings.write_shell_file(machine.disk / "env.sh", changed)
        return self._service(name, arguments, machine=machine, env=variables)

    def _service(
        self, name: str, arguments: list[str], *, machine: Machine | None = None, env: Mapping[str, str] | None = None
    ) -> Service:
        command = [sys.executable, "-m", "airflow", *arguments]
        return Service(
            f"Airflow's {name}",
            machine.hiding_others(command) if machine is not None and self._topology.hidden else command,
            log=self._folder / "logs" / f"{name}.log",
            env=self._environment if env is None else env,
            watch=self._watch,
        )


def _stamp_of(database: Path) -> str:
    return f"{version('apache-airflow-core')} {database.stat().st_ctime_ns}"
