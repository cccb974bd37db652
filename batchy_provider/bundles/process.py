# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One process group: started behind a gate, limited, signalled, reaped."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.limits import ProcessLimits

# The process waits here until its limits are set and its guard is there. If the worker dies before, the gate never
# opens. `-p` keeps this first bash from reading BASH_ENV, which the script's own bash reads as usual.
_GATE = 'IFS= read -r -u "$1" go || exit 125; eval "exec $1<&-"; shift; exec "$@"'
_CPU_GRACE_SECONDS = 5


def find_bash(path: str | None = None) -> str:
    """
    Path of bash.

    :param path: value of PATH to search; None: that of this process
    :raises RunnerError: there is none
    """
    bash = shutil.which("bash", path=path) or shutil.which("bash")
    if bash is None:
        raise RunnerError("There is no bash in PATH on this worker; bundles are run by `bash script.sh`.")
    return bash


class ProcessGroup:
    """
    A command as leader of its own session, stopped at the gate until `open_gate`.

    :param stdin: open file, or None for empty
    :param stdout: file descriptor; ``stderr`` likewise
    :raises RunnerError: a limit cannot be set
    """

    def __init__(
        self,
        bash: str,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: IO[bytes] | None,
        stdout: int,
        stderr: int,
        umask: int,
        limits: ProcessLimits,
    ) -> None:
        read_end, self._gate = os.pipe()
        try:
            self._process = subprocess.Popen(  # nosec B603  # to run a job's script is what this is for
                [bash, "-p", "-c", _GATE, "bash", str(read_end), *command],
                cwd=cwd,
                env=dict(env),
                stdin=stdin if stdin is not None else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(read_end,),
                start_new_session=True,
                umask=umask,
            )
        except BaseException:
            os.close(self._gate)
            raise
        finally:
            os.close(read_end)
        self.pid = self._process.pid
        self.exit_fd = -1
        self.usage: resource.struct_rusage | None = None
        with contextlib.suppress(OSError, AttributeError):  # not Linux, or forbidden: the caller polls
            self.exit_fd = os.pidfd_open(self.pid)
        try:
            self._limit(limits)
        except BaseException:
            self.close()
            raise

    @property
    def returncode(self) -> int | None:
        """None until `reap` has said True; -n after signal n."""
        return self._process.returncode

    def open_gate(self) -> None:
        """Let the command start."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._gate, b"\n")
        self._close_gate()

    def reap(self) -> bool:
        """Whether the leader has ended; takes its exit status if so. Does not wait."""
        if self._process.returncode is None:
            self._wait(os.WNOHANG)
        return self._process.returncode is not None

    def alive(self) -> bool:
        """Whether any process of the group still runs."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        # The dead count for `killpg` until their parent takes notice, and in a container that may be never.
        return _any_runs(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Signal the whole group, if any of it is left."""
        # The id is not another group's: the leader is not reaped, or somebody was in the group a moment ago.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Kill what is left and leave no zombie."""
        self._close_gate()
        self.send(signal.SIGKILL)
        if self._process.returncode is None:
            self._wait(0)
        if self.exit_fd >= 0:
            os.close(self.exit_fd)
            self.exit_fd = -1

    def _wait(self, options: int) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, options)
        except ChildProcessError:  # somebody in this process waits for all children
            self._process.returncode = 255
            return
        if pid:
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.usage = usage

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def _limit(self, limits: ProcessLimits) -> None:
        wanted = {
            "cpu_seconds": (resource.RLIMIT_CPU, limits.cpu_seconds, _CPU_GRACE_SECONDS),
            "memory_bytes": (resource.RLIMIT_AS, limits.memory_bytes, 0),
            "open_files": (resource.RLIMIT_NOFILE, limits.open_files, 0),
            "file_bytes": (resource.RLIMIT_FSIZE, limits.file_bytes, 0),
        }
        for name, (kind, value, more) in wanted.items():
            if value is None:
                continue
            if sys.platform != "linux":
                raise RunnerError(f"Limit {name}={value:,} cannot be set: resource limits need Linux.")
            _, most = resource.prlimit(self.pid, kind)
            if most != resource.RLIM_INFINITY and value > most:
                raise RunnerError(f"Limit {name}={value:,} is above what this worker may give: {most:,}.")
            hard = value + more if most == resource.RLIM_INFINITY else min(value + more, most)
            resource.prlimit(self.pid, kind, (value, hard))


def _any_runs(group: int) -> bool:
    """Whether a process of the group is anything but a zombie; True where that cannot be seen."""
    try:
        with os.scandir("/proc") as entries:
            pids = [entry.name for entry in entries if entry.name.isdecimal()]
    except OSError:
        return True
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            facts = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(facts[2]) == group and facts[0] not in ("Z", "X"):
                return True
    return False
