# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Move a regular file that a script made, so that nothing can change it afterwards. Anything else is refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from batchy_provider.bundles.limits import GIB
from batchy_provider.bundles.storage import copy_stream

HOLES_BYTES = GIB
"""A file with more holes than this, and more holes than data, is refused: it takes as long to read as real data."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnsuitableFileError(OSError):
    """A file that is refused for what it is. Its text is the end of a sentence that begins with the name."""


def move_file(path: Path, target: Path) -> None:
    """Move one regular file. A file with hard links is copied, because it could be changed later by another name.

    :raises UnsuitableFileError: it is no regular file, or most of it is holes.
    :raises OSError: it cannot be read or moved; ``target`` does not exist then.
    """
    kind = stat.S_IFMT(path.lstat().st_mode)
    if kind != stat.S_IFREG:
        raise UnsuitableFileError(f"is {KINDS.get(kind, 'not a file')}")
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as source:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise UnsuitableFileError("was replaced while it was being stored")
        if _is_mostly_holes(fd, status.st_size):
            raise UnsuitableFileError(f"has {status.st_size:,} bytes, most of them holes (a sparse file): pack it")
        if status.st_nlink == 1:
            try:
                path.rename(target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EACCES, errno.EPERM):
                    raise
            else:
                return
        try:
            with target.open("xb") as out:
                copy_stream(source, out)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def why_not_moved(error: OSError) -> str:
    """Return the reason of an error of `move_file`, as the end of a sentence that begins with the name."""
    if isinstance(error, UnsuitableFileError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "vanished while it was being stored"
    return f"cannot be stored ({error.strerror or error})"


def _is_mostly_holes(fd: int, size: int) -> bool:
    """Tell whether most of a large file is holes; False where the system does not say."""
    limit = max(HOLES_BYTES, size // 2)
    holes = at = 0
    if size <= limit or not hasattr(os, "SEEK_DATA"):
        return False
    try:
        while at < size and holes <= limit:
            data = os.lseek(fd, at, os.SEEK_DATA)
            holes += data - at
            at = os.lseek(fd, data, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            holes += size - at
    os.lseek(fd, 0, os.SEEK_SET)
    return holes > limit
