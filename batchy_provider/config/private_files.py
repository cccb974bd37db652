# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Caches that the processes of one user share on one machine, in a temporary folder that only this user can open."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

MAX_AGE = 30 * 24 * 3600.0
"""Seconds after which a file is removed that nobody has used."""
_TOUCH_AGE = 24 * 3600.0
"""Seconds after which a reader shows that a file is in use."""
_UNFINISHED_AGE = 3600.0
"""The same for a file whose writer was killed: many of them would fill the disk."""
_UNFINISHED = "unfinished-"
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Follow no link, and do not wait for a writer if it is a FIFO."""


def digest(*parts: str | bytes) -> str:
    """Return one digest of several texts. The same texts, divided in another way, have another digest."""
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode(errors="backslashreplace") if isinstance(part, str) else part
        found.update(b"%d:" % len(raw))
        found.update(raw)
    return found.hexdigest()


class PrivateFile:
    """One cache file. Nothing is raised: a cache that cannot be read or written only costs time.

    Its first line is the digest of the rest, so that a file which was cut off or changed is not used.

    :param name: of the file.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _folder(self) -> Path:
        # Raises an OSError where no temporary folder can be written.
        return Path(tempfile.gettempdir(), f"batchy-stored-{os.geteuid()}")

    def read(self) -> bytes:
        """Return its content; nothing if there is none, if it is damaged, or if other users could have written it."""
        with suppress(OSError):
            if self._is_private():
                descriptor = os.open(self._folder / self._name, _READ)
                with os.fdopen(descriptor, "rb") as file:
                    # The folder may be another one by now, if others can rename what is beside it.
                    found = os.fstat(descriptor)
                    known, _, content = file.read().partition(b"\n")
                    if found.st_uid == os.geteuid() and known == digest(content).encode():
                        self._touch(found)
                        return content
        return b""

    def replace(self, content: bytes) -> None:
        """Write it in one step, so that other processes read the old or the new content."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            if not self._is_private():
                return
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=_UNFINISHED)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(digest(content).encode() + b"\n" + content)
                Path(name).replace(self._folder / self._name)
            except OSError:
                Path(name).unlink()
            _remove_old(self._folder)

    def _touch(self, found: os.stat_result) -> None:
        """Show that it is in use, so that nobody removes it."""
        with suppress(OSError):
            if time.time() - found.st_mtime > _TOUCH_AGE:
                os.utime(self._folder / self._name, follow_symlinks=False)

    def _is_private(self) -> bool:
        found = self._folder.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077 == 0


def _remove_old(folder: Path) -> None:
    """Remove what nobody has used for a while, such as the caches of folders that are gone."""
    for path in folder.iterdir():
        with suppress(OSError):
            most = _UNFINISHED_AGE if path.name.startswith(_UNFINISHED) else MAX_AGE
            if time.time() - path.stat().st_mtime > most:
                path.unlink()
