# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Share one Airflow between test processes: the first one starts it, and it stops when the last one has left.

As a program, this file is the process that runs the Airflow: ``python airflow_host.py FOLDER``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from batchy_provider.local.process import Service, StackError
from batchy_provider.local.rest import AirflowClient
from batchy_provider.local.stack import START_TIMEOUT, LocalStack
from batchy_provider.local.topology import ONE_MACHINE, Topology

ROOT = Path(__file__).parents[2]
_FOR_MANY = {
    "core.parallelism": "12",
    "database.sql_alchemy_max_overflow": "30",
    # Nobody kills its scheduler: when it is late, it must not take its own tasks for those of a dead one.
    "scheduler.scheduler_health_check_threshold": "120",
    # Nor its triggerer: on a busy machine, a late heartbeat must not look like a dead one.
    "triggerer.triggerer_health_check_threshold": "120",
    "scheduler.orphaned_tasks_check_interval": "300",
    # Some test always has work for it: looking more often costs the others' processor time.
    "scheduler.scheduler_idle_sleep_time": "0.5",
}
"""Options of an Airflow that several processes use at the same time."""
RUNNING, STARTING, USERS, LOG = "running.json", "starting.lock", "users.lock", "host.log"


@dataclass(frozen=True, kw_only=True)
class SharedStack:
    """An Airflow that another process has started, with what tests use of `LocalStack`.

    None of its programs can be stopped: other tests use them at the same time.
    """

    home: str
    dags_folder: str
    cfg_folder: str
    user: str
    password: str
    environment: dict[str, str]

    @property
    def folder(self) -> Path:
        """AIRFLOW_HOME."""
        return Path(self.home)

    @property
    def dags(self) -> Path:
        """Folder of DAG files."""
        return Path(self.dags_folder)

    @property
    def cfg(self) -> Path:
        """Folder of workflow files."""
        return Path(self.cfg_folder)

    @property
    def url(self) -> str:
        """Address of the web UI."""
        return self.environment["AIRFLOW__API__BASE_URL"]

    @property
    def redis_url(self) -> str:
        """URL of the Valkey, with its password."""
        return self.environment["BATCHY_REDIS_URL"]

    @cached_property
    def client(self) -> AirflowClient:
        """Its REST API, as an admin."""
        return AirflowClient(self.url, self.user, self.password)

    def deploy(self) -> None:
        """Do nothing: all programs read the same folder."""

    def service(self, name: str) -> Service:
        """Refuse to return a program."""
        raise AssertionError(f"{name} serves other tests too: a test that stops it belongs to grouping.STRUCK")


@contextlib.contextmanager
def own_stack(
    folder: Path,
    *,
    options: dict[str, str],
    environment: dict[str, str] | None = None,
    topology: Topology = ONE_MACHINE,
) -> Iterator[LocalStack]:
    """Run an Airflow with a copy of the project's example workflows.

    :param folder: gets everything.
    :param options: of Airflow, as ``section.name`` → value.
    :param environment: more variables for Airflow's programs.
    :param topology: which programs there are, and what they share.
    """
    for name in ("cfg", "dags"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    stack = LocalStack(
        folder / "home",
        dags=folder / "dags",
        cfg=folder / "cfg",
        options=options,
        environment=environment,
        topology=topology,
    )
    # A program that does not find this folder when it starts never looks for it again.
    (stack.folder / "plugins").mkdir(parents=True, mode=0o700)
    try:
        stack.start()
        yield stack
    finally:
        stack.discard()


@contextlib.contextmanager
def shared_stack(folder: Path) -> Iterator[SharedStack]:
    """Use the Airflow of a folder. Start it if nobody uses it yet.

    :param folder: the same for all processes that share it.
    """
    folder.mkdir(exist_ok=True)
    # An Airflow that stops holds the lock of its users until it is gone.
    with _locked(folder / USERS, fcntl.LOCK_SH):
        with _locked(folder / STARTING, fcntl.LOCK_EX):
            if not (folder / RUNNING).exists():
                _start(folder)
        yield SharedStack(**json.loads((folder / RUNNING).read_text()))


@contextlib.contextmanager
def _locked(file: Path, kind: int) -> Iterator[None]:
    with file.open("a") as lock:
        fcntl.flock(lock, kind)
        yield


def _start(folder: Path) -> None:
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(folder)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + START_TIMEOUT
    while not (folder / RUNNING).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"The shared Airflow did not start:\n{(folder / LOG).read_text()}")
        time.sleep(0.1)


def main(folder: Path) -> None:
    """Run an Airflow until nobody uses it."""
    from nights import QUICK

    with (folder / USERS).open("a") as users:
        place = Path(tempfile.mkdtemp(dir=folder))
        with own_stack(place, options=QUICK | _FOR_MANY) as stack:
            shared = SharedStack(
                home=str(stack.folder),
                dags_folder=str(stack.dags),
                cfg_folder=str(stack.cfg),
                user=stack.user,
                password=stack.password,
                environment=stack.environment,
            )
            (folder / f".{RUNNING}").write_text(json.dumps(asdict(shared)))
            (folder / f".{RUNNING}").replace(folder / RUNNING)
            try:
                fcntl.flock(users, fcntl.LOCK_EX)
            finally:
                (folder / RUNNING).unlink()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    main(Path(sys.argv[1]))
