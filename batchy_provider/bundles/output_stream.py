# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read one output stream of a script from its pipe, and write it to its files."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.masking import MaskedStream, Masker
from batchy_provider.bundles.output_lines import LineSplitter, Unfinished
from batchy_provider.bundles.storage import copy_stream

READ_BYTES = 256 * 1024
PIPE_BYTES = 1024 * 1024


class Stream:
    """One output stream of a script.

    :param name: ``stdout`` or ``stderr``.
    :param path: new file for its bytes, masked.
    :param masker: masks secrets in them.
    :param exact: new file for the unmasked bytes, made only if a secret was masked; None: never made.
    """

    def __init__(self, name: str, path: Path, masker: Masker, exact: Path | None = None) -> None:
        self.name = name
        self._path, self._exact_path, self._exact = path, exact, -1
        self._masked = MaskedStream(masker)
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        with contextlib.suppress(OSError, AttributeError):  # a larger pipe is faster, not necessary
            fcntl.fcntl(self.read_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.file = _create(path)
        self.splitter = LineSplitter()
        self.unfinished: Unfinished | None = None
        self.bytes = 0
        self.open = True

    def show_unfinished(self, view: LiveView) -> None:
        """Show the line that is being written from time to time."""
        self.unfinished = Unfinished(self.splitter, lambda line, now: view.put_state(self.name, line, now))

    def read(self) -> bytes | None:
        """Return what is in the pipe: no bytes at the end of the stream, None if there is nothing yet."""
        try:
            return os.read(self.read_end, READ_BYTES)
        except BlockingIOError:
            return None

    @property
    def masked(self) -> int:
        """How many secrets were masked."""
        return self._masked.count

    def write(self, data: bytes) -> bytes:
        """Write what was read to the files; returns what can be shown now, masked."""
        before = self._masked.held
        masked = self._masked.feed(data)
        if self._exact >= 0:
            _write(self._exact, data)
        elif self.masked and self._exact_path is not None:
            self._begin_exact(before + data)
        _write(self.file, masked)
        self.bytes += len(data)
        return masked

    def finish(self) -> bytes:
        """Write the end of the stream to the files; returns what was not shown yet, masked."""
        before = self._masked.held
        rest = self._masked.finish()
        if self.masked and self._exact < 0 and self._exact_path is not None:
            self._begin_exact(before)
        _write(self.file, rest)
        return rest

    def _begin_exact(self, data: bytes) -> None:
        """Begin the unmasked file at the first secret. Everything before it is in the other file as it was written."""
        assert self._exact_path is not None
        self._exact = _create(self._exact_path)
        with self._path.open("rb") as source, os.fdopen(os.dup(self._exact), "wb") as target:
            copy_stream(source, target)
        _write(self._exact, data)

    def close_write_end(self) -> None:
        """Leave the pipe to the script: it ends when no process can write to it any more."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close pipe and file."""
        self.close_write_end()
        os.close(self.read_end)
        os.close(self.file)
        if self._exact >= 0:
            os.close(self._exact)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
