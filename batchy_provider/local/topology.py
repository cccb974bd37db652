# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Describe which programs an Airflow consists of, and what each has on its disk.

``ONE_MACHINE`` is LocalExecutor with everything in one folder. ``many_machines`` is CeleryExecutor: every program has
its own disk with a copy of DAGs and workflows, as in an image. They share only PostgreSQL, Redis and S3.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from batchy_provider.local.process import StackError

# Their log servers would listen on all interfaces. The API server reads the files, or S3, itself.
CORE = {
    "api-server": ["api-server"],
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}
BUCKET = "batchy"
S3_CONNECTION = "aws_default"
_S3_LOGIN = "local"
"""User and password: the S3 server of a stack accepts any."""
# Each machine sees only its own folder, under its usual path. The process id stays the same.
_HIDE_OTHERS = """
set -e
mkdir -p "$2"
mount --bind "$1/$3" "$2"
mount -t tmpfs -o size=1m none "$1"
mkdir "$1/$3"
mount --move "$2" "$1/$3"
shift 3
exec "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The programs of an Airflow.

    :param executor: Airflow's name of the executor.
    :param workers: Celery workers, name → queues.
    :param slots: tasks that a worker runs at once.
    :param own_disks: every program has its own AIRFLOW_HOME, DAGs, workflows, temp folder and bundle cache; results
        and task logs go to S3.
    :param hidden: a program cannot see the disks of other programs (Linux, root).
    """

    executor: str = "LocalExecutor"
    workers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    slots: int = 2
    own_disks: bool = False
    hidden: bool = False

    def check(self) -> None:
        """Check that everything it needs is installed.

        :raises StackError: a package is missing; the text says how to install it.
        """
        wanted = {}
        if self.workers:
            wanted["apache-airflow-providers-celery"] = "apache-airflow-providers-celery"
        if self.own_disks:
            wanted["apache-airflow-providers-amazon"] = wanted["s3fs"] = "apache-airflow-providers-amazon[s3fs]"
            wanted["moto"] = "moto[server]"
        missing = sorted({package for name, package in wanted.items() if not _is_installed(name)})
        if missing:
            packages = " ".join(f"'{package}'" for package in missing)
            raise StackError(f"{self.executor} on many machines needs more packages: pip install {packages}")
        if self.hidden and not can_hide():
            raise StackError("Only root on Linux, where it may mount, can hide the machines' disks from each other.")

    def components(self) -> dict[str, list[str]]:
        """Return name → arguments of ``airflow``, for each program."""
        found = {name: list(arguments) for name, arguments in CORE.items()}
        for name, queues in self.workers.items():
            found[name] = ["celery", "worker", "-H", f"{name}@%h", "-q", ",".join(queues), "-c", str(self.slots)]
            found[name] += ["--skip-serve-logs", "--without-mingle", "--without-gossip"]
        return found

    def options(self, *, database_url: str, broker_url: str) -> dict[str, str]:
        """Return Airflow options for all programs, as ``section.name`` → value."""
        found = {"core.executor": self.executor}
        if self.workers:
            found["core.parallelism"] = str(max(4, self.slots * len(self.workers)))
            found["celery.broker_url"] = broker_url
            found["celery.result_backend"] = f"db+{database_url}"
            # The first request takes longer than five seconds when six programs start at once.
            found["workers.execution_api_timeout"] = "60"
        if self.own_disks:
            found["batchy.results_url"] = f"s3://{S3_CONNECTION}@{BUCKET}/results"
            found["logging.remote_logging"] = "True"
            found["logging.remote_base_log_folder"] = f"s3://{BUCKET}/logs"
            found["logging.remote_log_conn_id"] = S3_CONNECTION
        return found


ONE_MACHINE = Topology()


def many_machines(workers: int = 2, *, hidden: bool = False) -> Topology:
    """Return a topology with Celery workers ``w1``, ``w2``…; each has the default queue and one with its own name.

    :param hidden: see `Topology`; needs `can_hide`.
    """
    names = [f"w{number}" for number in range(1, workers + 1)]
    queues = {name: ("default", name) for name in names}
    return Topology(executor="CeleryExecutor", workers=queues, own_disks=True, hidden=hidden)


def _is_installed(distribution: str) -> bool:
    """Tell whether a package is installed, without importing Airflow, which would write to the user's home."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def can_hide() -> bool:
    """Tell whether this user can hide disks from a process."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # nosec B603  # a fixed command


class Machine:
    """The disk of one program.

    :param root: folder of all disks.
    :param name: of the program.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self.name = name
        self.disk = root / name

    def deploy(self, *, dags: Path, cfg: Path) -> None:
        """Copy DAGs and workflows to the disk, and remove files that no longer exist."""
        for source, name in ((dags, "dags"), (cfg, "cfg")):
            target = self.disk / name
            # A file that disappears, or that is not readable, must not stop the others.
            with contextlib.suppress(shutil.Error):
                shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            for path in sorted(target.rglob("*")):
                if "__pycache__" in path.parts or (source / path.relative_to(target)).exists():
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)  # removed with its folder
        (self.disk / "tmp").mkdir(exist_ok=True)

    def environment(self, of_all: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the program, with the paths of its own files.

        :param of_all: variables of all programs.
        """
        return {
            **of_all,
            "AIRFLOW_HOME": str(self.disk / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.disk / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.disk / "logs"),
            "AIRFLOW__BATCHY__CFG_FOLDER": str(self.disk / "cfg"),
            "AIRFLOW__BATCHY__BUNDLE_CACHE": str(self.disk / "bundle-cache"),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(self.disk / "dag-bundles"),
            "BATCHY_CFG": str(self.disk / "cfg"),
            "TMPDIR": str(self.disk / "tmp"),
        }

    def hiding_others(self, command: Sequence[str]) -> list[str]:
        """Wrap a command so that it sees only this disk."""
        moving = self._root.with_name(f"{self._root.name}-moving")
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*unshare, "bash", "-c", _HIDE_OTHERS, "bash", str(self._root), str(moving), self.name, *command]


def s3_connection(endpoint: str) -> str:
    """Return an Airflow connection to an S3 server, as JSON."""
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    return json.dumps({"conn_type": "aws", "login": _S3_LOGIN, "password": _S3_LOGIN, "extra": extra})
