# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What ends a script whose worker was killed.

A small bash waits for the other end of a pipe that the worker alone holds. The kernel closes it however the worker
dies. It has its own session, so what kills the worker's process group does not reach it. It holds the locks of the
working copy and of the job until no process of the script's session is left.
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

# The group alone is what is left to do where Python has gone meanwhile, as in an environment that is being removed.
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
    """
    Watches over one session until `release` or `take_over`.

    :param bash: path of bash
    :param session_of: the session
    :param grace: seconds between TERM and KILL
    :param folder: removed after the session's end, with ``<folder>.lock``; None: nothing
    :param lock_fds: kept open until then
    """

    def __init__(
        self, bash: str, session_of: Session, *, grace: float, folder: Path | None, lock_fds: Sequence[int] = ()
    ) -> None:
        leader = session_of.leader
        started = start_of(leader)
        read_end, self._life = os.pipe()  # not inherited by any other child
        arguments = (leader, started or "", float(grace), sys.executable, process_session.__file__, folder or "")
        try:
            self._process = subprocess.Popen(  # nosec B603  # a script of ours; what varies are its arguments
                [bash, "--norc", "-c", _SCRIPT, "guard", *map(str, arguments)],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                pass_fds=tuple(lock_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._life)
            raise
        finally:
            os.close(read_end)

    def release(self) -> None:
        """The session is empty: end the watch and leave no zombie."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._life, b"done\n")
        os.close(self._life)
        self._process.wait()

    def take_over(self) -> None:
        """Leave to it a session that does not end; it holds the locks until then. Does not wait."""
        os.close(self._life)
        self._process.returncode = 0  # `subprocess` need not warn that it still runs
