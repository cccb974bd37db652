# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What ends a script whose worker was killed.

A small bash waits for the other end of a pipe that the worker alone holds. The kernel closes it however the worker
dies. It has its own session, so what kills the worker's process group does not reach it. It holds the locks of the
working copy and of the job until it is done.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = """
trap '' HUP INT TERM
IFS= read -r word && exit 0
group=$1 tenths=$2 folder=$3
kill -TERM -- "-$group"
kill -CONT -- "-$group"
while [ "$tenths" -gt 0 ] && kill -0 -- "-$group"; do
    sleep 0.1
    tenths=$((tenths - 1))
done
kill -KILL -- "-$group"
if [ -n "$folder" ]; then
    chmod -R u+rwx -- "$folder"
    rm -rf -- "$folder" "$folder.lock"
fi
"""


class Guard:
    """
    Watches over one process group until `release`.

    :param bash: path of bash
    :param group: id of the process group
    :param grace: seconds between TERM and KILL
    :param folder: removed after the group's end, with ``<folder>.lock``; None: nothing
    :param lock_fds: kept open until then
    """

    def __init__(
        self, bash: str, group: int, *, grace: float, folder: Path | None, lock_fds: Sequence[int] = ()
    ) -> None:
        read_end, self._life = os.pipe()  # not inherited by any other child
        try:
            self._process = subprocess.Popen(  # nosec B603  # a script of ours; what varies are its arguments
                [bash, "--norc", "-c", _SCRIPT, "guard", str(group), str(int(grace * 10)), str(folder or "")],
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
        """The run is over: end the watch and leave no zombie."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._life, b"done\n")
        os.close(self._life)
        self._process.wait()
