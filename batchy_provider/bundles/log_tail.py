# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What an execution writes, read while it is written, on the machine that holds its result store."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.execution_id import ExecutionId

if TYPE_CHECKING:
    from batchy_provider.bundles.execution_record import StoredExecution
    from batchy_provider.bundles.result_store import ResultStore

IDENTITY = "execution.json"
_CHUNK = 256 * 1024
_PAUSE_SECONDS = 0.2

Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Running:
    """
    An execution that has not ended.

    :param folder: where its files are being written.
    """

    identity: ExecutionId
    folder: Path


def label(draft: Path, identity: ExecutionId) -> None:
    """Say whose draft a folder is, so that it can be found while it is written."""
    (draft / IDENTITY).write_text(json.dumps(asdict(identity)))


def find_running(drafts: Path, workflow: str, job: str, batch_id: str | None = None) -> list[Running]:
    """Return the executions of a job that run now, the one that began last at the end."""
    found = []
    for file in sorted(drafts.glob(f"*/{IDENTITY}"), key=_time):
        with contextlib.suppress(OSError, ValueError, TypeError):  # it has ended, or is just being made
            identity = ExecutionId(**json.loads(file.read_text()))
            if (identity.workflow, identity.job) == (workflow, job) and batch_id in (None, identity.batch_id):
                found.append(Running(identity, file.parent / "result"))
    return found


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


class Follower:
    """
    Reads an execution to its end.

    :param store: which keeps it when it has ended.
    """

    def __init__(self, store: ResultStore, running: Running) -> None:
        self._store = store
        self._running = running
        self._read = dict.fromkeys(STREAMS, 0)
        self.ended: StoredExecution | None = None

    def parts(self) -> Iterator[tuple[Stream, bytes]]:
        """
        Yield what is written, as it is written; afterwards `ended` is how it ended.

        :raises ResultError: it ended and left nothing: its worker was killed.
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
        for stream in STREAMS:  # what came between our last look and the end
            for data in self._new(Path(self.ended.path) / stream, stream):
                yield stream, data

    def _new(self, path: Path, stream: Stream) -> Iterator[bytes]:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(self._read[stream])
            while data := file.read(_CHUNK):
                self._read[stream] += len(data)
                yield data

    def _stored(self) -> StoredExecution:
        identity = self._running.identity
        try:
            return self._store.latest(identity.workflow, identity.job, identity.batch_id, identity.attempt)
        except ResultError:
            raise ResultError(
                f"{identity.job} of {identity.workflow}, batch {identity.batch_id}, ended and left nothing: its worker "
                "was killed, or its result could not be kept. The task log in Airflow tells more."
            ) from None
