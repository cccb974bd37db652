# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Lock the folder of a local stack, and clean up what an earlier stack has left in it.

A lock shows whether a stack runs. A file beside it describes the stack, for the messages of a second one. The guard
process holds the lock, too, so that it is free only when all programs are stopped, also after ``kill -9``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from batchy_provider.local import guard
from batchy_provider.local.process import StackError
from batchy_provider.local.settings import write_private

LOCK, RUNNING, PROCESSES, SECRETS = "batchy-stack.lock", "running.json", "processes", "secrets.json"
STOP_TIMEOUT = 90.0
"""Seconds after which every stack has stopped, with SIGKILL at the end."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """Description of a running stack, for a second one in its folder.

    :param pid: of its program; ``started`` distinguishes it from a later process with the same id.
    :param state: ``starting``, ``running`` or ``stopping``.
    :param url: of the web UI, with ``user`` and ``password``; empty until the web UI answers.
    """

    pid: int
    started: str
    state: str = "starting"
    url: str = ""
    user: str = ""
    password: str = ""

    @classmethod
    def read(cls, folder: Path) -> Running | None:
        """Read the description of the folder's stack, or of the last one that was killed; None if there is none."""
        try:
            return cls(**json.loads((folder / RUNNING).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def alive(self) -> bool:
        """Tell whether its program still runs."""
        return guard.identify(self.pid).started == self.started


class AnotherStackError(StackError):
    """Another stack runs in the folder.

    :param running: its description, if there is one.
    """

    def __init__(self, folder: Path, running: Running | None) -> None:
        super().__init__(
            f"Another stack runs in {folder}. Stop it first (Ctrl-C where it runs), or choose another folder."
        )
        self.folder = folder
        self.running = running


class StackFolder:
    """The folder of a stack, locked by this program.

    :param path: of the folder.
    :param report: called with a line for each step that takes a while.
    """

    def __init__(self, path: Path, *, report: Callable[[str], None] = lambda line: None) -> None:
        self.path = path
        self._report = report
        self._lock: TextIO | None = None
        self._self = guard.identify(os.getpid())

    @property
    def lock_fd(self) -> int | None:
        """File descriptor of the lock: a process that inherits it holds the lock as well."""
        return self._lock.fileno() if self._lock is not None else None

    def lock(self) -> None:
        """Lock the folder. Do nothing if this program has locked it already.

        Wait for an earlier stack that is stopping, and stop processes that a killed one has left running.

        :raises AnotherStackError: another stack runs in it.
        :raises StackError: the folder cannot be used, or contains something else.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("a")
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            self._wait_for(lock)
        except BaseException:
            lock.close()
            raise
        self._lock = lock
        self.say("starting")
        self._end_leftovers()

    def _wait_for(self, lock: TextIO) -> None:
        began = time.monotonic()
        reported = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            except OSError as error:
                raise _unusable(self.path, error) from error
            else:
                return
            holder = Running.read(self.path)
            waited = time.monotonic() - began
            # A stack that has just taken the lock needs a moment to write its description.
            is_up = holder is not None and holder.state != "stopping" and holder.alive()
            if (is_up and waited > 1) or waited > STOP_TIMEOUT:
                raise AnotherStackError(self.path, holder)
            if not is_up and not reported and waited > 1:
                reported = True
                self._report("Waiting until the earlier stack in this folder is stopped")
            time.sleep(0.1)

    def say(self, state: str, **more: str) -> None:
        """Write the description of this stack for a second one. Ignore an error of the disk."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                running = Running(pid=self._self.pid, started=self._self.started, state=state, **more)
                write_private(self.path / RUNNING, json.dumps(asdict(running)))

    def remember(self, wave: int, pid: int) -> None:
        """Record a started process, in case this program and its guard are both killed."""
        process = guard.identify(pid)
        with contextlib.suppress(OSError), (self.path / PROCESSES).open("a") as file:
            file.write(f"{wave} {process.pid} {_boot()} {process.started}\n")

    def _end_leftovers(self) -> None:
        waves: dict[int, list[guard.Process]] = {}
        with contextlib.suppress(OSError, ValueError):
            for line in (self.path / PROCESSES).read_text().splitlines():
                fields = line.split(maxsplit=3)
                if len(fields) != 4 or fields[2] != _boot():  # half a line, or from before the last boot
                    continue
                process = guard.Process(int(fields[1]), fields[3])
                # Only this process: another one may have its id now.
                if guard.identify(process.pid) == process:
                    waves.setdefault(int(fields[0]), []).append(process)
        if waves:
            self._report("Stopping what an earlier stack in this folder has left running")
        for wave in sorted(waves, reverse=True):
            guard.stop_families(waves[wave])
        (self.path / PROCESSES).unlink(missing_ok=True)

    def empty(self) -> None:
        """Remove everything in the folder but the lock.

        :raises StackError: the folder was not made by a stack, or cannot be emptied.
        """
        check_owned(self.path)
        try:
            for entry in self.path.iterdir():
                if entry.name in (LOCK, RUNNING):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            for name in (RUNNING, PROCESSES):
                with contextlib.suppress(OSError):
                    (self.path / name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def check_owned(folder: Path) -> None:
    """Refuse a folder that contains something else.

    :raises StackError: it is not empty, and was not made by a stack.
    """
    try:
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise _unusable(folder, error) from error
    if names and LOCK not in names and not _are_ours(folder / SECRETS):
        raise StackError(f"{folder} was not made by batchy; it stays as it is. Choose another folder.")


def _are_ours(secrets: Path) -> bool:
    """Tell whether a file contains the secrets of a stack, and not those of another program."""
    try:
        return {"admin_password", "fernet_key"} <= set(json.loads(secrets.read_text()))
    except (OSError, ValueError, TypeError):
        return False


def _unusable(folder: Path, error: OSError) -> StackError:
    return StackError(f"{folder} cannot be used: {error}. Choose another folder that you may write to.")


def _boot() -> str:
    """Return the id of this boot: on Linux, process start times are relative to it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "-"
