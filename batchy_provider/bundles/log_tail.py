# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read what an execution writes while it is written, on the machine that holds its result store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.execution_record import StoredExecution
from batchy_provider.bundles.result_draft import RunningExecution
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.storage import read_chunks

_PAUSE_SECONDS = 0.2

StreamName = Literal["stdout", "stderr"]
STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")


class Follower:
    """Reads the output of a running execution up to its end.

    :param store: the result store that has the execution when it has ended.
    """

    def __init__(self, store: ResultStore, running: RunningExecution) -> None:
        self._store = store
        self._running = running
        self._read = dict.fromkeys(STREAMS, 0)
        self.ended: StoredExecution | None = None
        """The stored execution; None until `chunks` is exhausted."""

    def chunks(self) -> Iterator[tuple[StreamName, bytes]]:
        """Yield what the execution writes, as it is written.

        :raises ResultError: it has ended and nothing of it is stored: its worker was killed.
        """
        folder = self._running.folder
        while True:
            is_over = not folder.exists()
            wrote = False
            for stream in STREAMS:
                for data in self._new(folder / stream, stream):
                    wrote = True
                    yield stream, data
            if is_over:
                break
            if not wrote:
                time.sleep(_PAUSE_SECONDS)
        self.ended = self._stored()
        for stream in STREAMS:  # what was written between the last poll and the end
            for data in self._new(Path(self.ended.path) / stream, stream):
                yield stream, data

    def _new(self, path: Path, stream: StreamName) -> Iterator[bytes]:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(self._read[stream])
            for data in read_chunks(file):
                self._read[stream] += len(data)
                yield data

    def _stored(self) -> StoredExecution:
        identity = self._running.identity
        try:
            return self._store.latest(identity.workflow, identity.job, identity.batch_id, identity.attempt)
        except ResultError:
            raise ResultError(
                f"{identity.job} of {identity.workflow}, batch {identity.batch_id}, ended without a stored result: "
                "its worker was killed, or the result could not be stored. See its task log in Airflow."
            ) from None
