# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Start a command as leader of its own session, limit its resources, and collect its exit code and usage."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from batchy_provider.bundles.errors import RunnerError
from batchy_provider.bundles.limits import MIB, ProcessLimits
from batchy_provider.bundles.process_session import Member, Session, peak_memory

# The process waits here until its limits are set and its watchdog runs. If the worker dies before, the command never
# starts. `-p` keeps this first bash from reading BASH_ENV, which the script's own bash reads as usual.
_WAIT_FOR_START = 'IFS= read -r -u "$1" go || exit 125; eval "exec $1<&-"; shift; exec "$@"'
_CPU_GRACE_SECONDS = 5
_FIRST_SAMPLE_SECONDS, _LONGEST_SAMPLE_SECONDS = 0.05, 2.0
# The kernel counts resident pages for each processor, so two readings of one process differ a little.
_INHERITED_MARGIN_BYTES = 4 * MIB


def find_bash(path: str | None = None) -> str:
    """Return the path of bash.

    :param path: value of PATH to search; None: that of this process.
    :raises RunnerError: there is no bash.
    """
    bash = shutil.which("bash", path=path) or shutil.which("bash")
    if bash is None:
        raise RunnerError("There is no bash in PATH on this worker; bundles are run by `bash script.sh`.")
    return bash


class SessionLeader:
    """A command as leader of its own session. It waits until `start_command` is called.

    :param bash: path of bash.
    :param stdin: open file, or None for empty.
    :param stdout: file descriptor.
    :param stderr: file descriptor.
    :raises RunnerError: a limit cannot be set, or arguments and environment are too large.
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
        read_end, self._start_pipe = os.pipe()
        try:
            self._process = subprocess.Popen(  # nosec B603  # to run a job's script is what this is for
                [bash, "-p", "-c", _WAIT_FOR_START, "bash", str(read_end), *command],
                cwd=cwd,
                env=dict(env),
                stdin=stdin if stdin is not None else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(read_end,),
                start_new_session=True,
                umask=umask,
            )
        except BaseException as error:
            os.close(self._start_pipe)
            if isinstance(error, OSError) and error.errno == errno.E2BIG:
                raise RunnerError(
                    "The script cannot be started: its arguments and its environment together are larger than this "
                    "machine allows. Put large values into files or into params."
                ) from error
            raise
        finally:
            os.close(read_end)
        self.pid = self._process.pid
        self.session = Session(self.pid)
        self.exit_fd = -1
        self.usage: resource.struct_rusage | None = None
        # A process inherits the peak of its parent. Up to this value, the kernel reports the worker's own peak.
        self._inherited = _bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) + _INHERITED_MARGIN_BYTES
        self._next_sample, self._sample_seconds = math.inf, _FIRST_SAMPLE_SECONDS
        # It is alone still, so the processes of the machine need not be listed.
        self._peak_seen = peak_memory([Member(self.pid, self.pid, "")])
        if self._peak_seen:
            self._next_sample = time.monotonic() + self._sample_seconds
        with contextlib.suppress(OSError, AttributeError):  # not Linux, or forbidden: the caller polls
            self.exit_fd = os.pidfd_open(self.pid)
        try:
            self._limit(limits)
        except BaseException:
            self.close()
            raise

    @property
    def returncode(self) -> int | None:
        """Exit code of the leader; None until `close`, -n after signal n."""
        return self._process.returncode

    def start_command(self) -> None:
        """Start the command."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._start_pipe, b"\n")
        self._close_start_pipe()

    def exited(self) -> int | None:
        """Return the exit code of the leader, -n after signal n, or None while it runs. Does not wait.

        The leader is not reaped here, so that its process id stays the session's until `close`.
        """
        if self._process.returncode is None and hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None:
                    return None
                self.session.leader_has_ended = True
                return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        if self._process.returncode is None:  # macOS, or other code in this process waits for all children
            self._wait(os.WNOHANG)
        return self._process.returncode

    def due(self) -> float:
        """Return when `tick` takes the next sample of the memory (monotonic seconds)."""
        return self._next_sample

    def tick(self, now: float) -> None:
        """Take a sample of the memory of all processes of the session, if it is time."""
        if now >= self._next_sample:
            self._sample()
            self._sample_seconds = min(_LONGEST_SAMPLE_SECONDS, self._sample_seconds * 2)
            self._next_sample = now + self._sample_seconds

    def _sample(self) -> None:
        with contextlib.suppress(OSError):
            self._peak_seen = max(self._peak_seen, peak_memory(self.session.members()))

    @property
    def peak_bytes(self) -> int:
        """Largest resident size of any one process of the script.

        This is the kernel's value if it is larger than the worker has ever been. A smaller value is the worker's own,
        inherited by all its children. Then this is the largest sample.
        """
        kernel = _bytes(self.usage.ru_maxrss) if self.usage else 0
        return kernel if kernel > self._inherited or not self._peak_seen else self._peak_seen

    def close(self, *, wait: bool = True, is_empty: bool = False) -> None:
        """Kill all processes that are left, and leave no zombie.

        :param wait: False if even KILL has not ended the leader.
        :param is_empty: no process is left, as the caller knows.
        """
        self._close_start_pipe()
        if self._process.returncode is None:
            if not is_empty:
                self.session.kill()
            self._wait(0 if wait else os.WNOHANG)
            if self._process.returncode is None:
                self._process.returncode = -signal.SIGKILL
        if self.exit_fd >= 0:
            os.close(self.exit_fd)
            self.exit_fd = -1

    def _wait(self, options: int) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, options)
        except ChildProcessError:  # other code in this process waits for all children
            self._process.returncode = 255
            return
        if pid:
            self._process.returncode = os.waitstatus_to_exitcode(status)
            self.usage = usage

    def _close_start_pipe(self) -> None:
        if self._start_pipe >= 0:
            os.close(self._start_pipe)
            self._start_pipe = -1

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


def _bytes(maxrss: int) -> int:
    """Convert what `getrusage` reports: KiB, but bytes on macOS."""
    return maxrss if sys.platform == "darwin" else maxrss * 1024
