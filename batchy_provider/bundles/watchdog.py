# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Stop a script when its worker dies.

A small bash waits at a pipe. Only the worker holds the other end, and the kernel closes it however the worker dies. The
bash has its own session, so a signal to the worker's process group does not reach it. It holds the locks of the working
copy and of the job until no process of the script's session is left.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from batchy_provider.bundles import process_session
from batchy_provider.bundles.process_session import Session, start_of

# If Python is gone, as in an environment that is being removed, bash can still end the leader's process group.
_SCRIPT = """
trap '' HUP INT TERM
IFS= read -r word && exit 0
leader=$1 started=$2 grace=$3 python=$4 program=$5 folder=$6
"$python" -I -S "$program" "$leader" "$started" "$grace" || {
    tenths=${grace%%.*}0
    kill -TERM -- "-$leader"
    kill -CONT -- "-$leader"
    while [ "$tenths" -gt 0 ] && kill -0 -- "-$leader"; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    kill -KILL -- "-$leader"
}
if [ -n "$folder" ]; then
    chmod -R u+rwx -- "$folder"
    rm -rf -- "$folder" "$folder.lock"
fi
"""


class Watchdog:
    """Ends one session if this process dies before `release` or `take_over` is called.

    :param bash: path of bash.
    :param session: the session to end.
    :param grace: seconds between TERM and KILL.
    :param folder: removed after the session's end, with ``<folder>.lock``; None: nothing is removed.
    :param lock_fds: descriptors that stay open until then.
    """

    def __init__(
        self, bash: str, session: Session, *, grace: float, folder: Path | None, lock_fds: Sequence[int] = ()
    ) -> None:
        leader = session.leader
        started = start_of(leader)
        read_end, self._pipe = os.pipe()  # no other child inherits it
        arguments = (leader, started or "", float(grace), sys.executable, process_session.__file__, folder or "")
        try:
            self._process = subprocess.Popen(  # nosec B603  # a script of ours; what varies are its arguments
                [bash, "--norc", "-c", _SCRIPT, "watchdog", *map(str, arguments)],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                pass_fds=tuple(lock_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(read_end)

    def release(self) -> None:
        """End the watchdog, since the session is empty, and leave no zombie."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"done\n")
        os.close(self._pipe)
        self._process.wait()

    def take_over(self) -> None:
        """Let the watchdog end a session that even KILL has not ended. It holds the locks until then. Does not wait."""
        os.close(self._pipe)
        self._process.returncode = 0  # keeps `subprocess` from warning that it still runs
