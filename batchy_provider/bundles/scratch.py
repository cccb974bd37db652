# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make temporary folders and locks between processes. The next process removes the folders of a killed one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

_NOT_IN_NAMES = re.compile("[^A-Za-z0-9-]")


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[int | None]:
    """Hold a lock between processes during the block. The kernel frees it if the process dies.

    Yields the file descriptor that holds the lock; None if ``wait`` is False and another process has it.

    :param path: the lock file; made if it does not exist.
    :param shared: other processes can hold the lock at the same time, if they hold it shared, too.
    :param wait: False gives up at once.
    """
    fd = acquire(path, shared=shared, wait=wait)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def acquire(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Take a lock as :func:`locked` does; the caller must close the descriptor."""
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        # The holder before us may have removed the file. Then no other process can see our lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        os.close(fd)


class ScratchFolder:
    """A new folder, private to this process, removed when the block ends.

    Beside it is a lock file, and the process holds the lock as long as it lives. The next process of the same host that
    makes a folder under the same ``root`` removes the folders with a free lock: their owners were killed. Folders of
    other hosts stay, since not every network file system has locks between hosts.

    :param root: the parent folder; made if it does not exist. Other programs may use it, too, as with /tmp.
    :param prefix: of the folder's name.
    """

    def __init__(self, root: Path, prefix: str = "") -> None:
        self._root = root
        self._prefix = prefix
        self.path = root / f"{prefix}{_host()}.{uuid.uuid4().hex}"
        self.lock_fd = -1

    def __enter__(self) -> ScratchFolder:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(self._root, self._prefix)
        fd = acquire(self._lock)
        assert fd is not None
        self.lock_fd = fd
        self.path.mkdir(mode=0o700)
        return self

    def __exit__(self, *_: object) -> None:
        # A script that became another user may leave files that we cannot remove. That does not fail its run. The
        # lock file stays, so that later runs try again.
        with contextlib.suppress(OSError):
            remove_tree(self.path)
            self._lock.unlink(missing_ok=True)
        os.close(self.lock_fd)

    @property
    def _lock(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")


def sweep(root: Path, prefix: str = "") -> int:
    """Remove the scratch folders that dead processes of this user have left on this host.

    :returns: how many were removed.
    """
    removed = 0
    beginning = f"{prefix}{_host()}."
    try:
        names = os.listdir(root)  # noqa: PTH208 - a Path for each entry of a folder like /tmp is slow
    except (FileNotFoundError, NotADirectoryError):
        return removed
    for lock in [root / name for name in names if name.startswith(beginning) and name.endswith(".lock")]:
        if not _is_ours(lock):
            continue
        with locked(lock, wait=False) as fd:
            if fd is None:
                continue
            folder = lock.with_name(lock.name.removesuffix(".lock"))
            with contextlib.suppress(OSError):
                removed += folder.exists()
                remove_tree(folder)
                lock.unlink(missing_ok=True)
    return removed


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _host() -> str:
    return _NOT_IN_NAMES.sub("-", socket.gethostname())[:60] or "host"


def remove_tree(folder: Path) -> None:
    """Remove a folder with any file modes in it, without following links; do nothing if it does not exist.

    :raises OSError: something in it cannot be removed.
    """
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink(missing_ok=True)
        return
    # Most folders can be removed like this; read-only and very deep ones cannot.
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
        return
    for _ in range(2):
        command = ["rm", "-rf", "--", str(folder)]
        subprocess.run(command, check=False, capture_output=True)  # nosec B603  # no shell; the PATH is the worker's
        if folder.exists():
            _make_writable(folder)
    if folder.exists():
        raise OSError(f"Folder {folder} cannot be removed: does another user own something in it?")


def _make_writable(top: Path) -> None:
    folders = [str(top)]
    while folders:
        folder = folders.pop()
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101 - a Path for each of thousands of folders is slow
            with os.scandir(folder) as found:
                folders += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
