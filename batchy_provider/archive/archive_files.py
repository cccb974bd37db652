# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The files of the archive: read and write closed batches beside the results.

::

    <results>/.archive/<workflow>/latest.json          the newest live state
                                  batches/<id>.json    a closed batch
                                  changes.json         what people changed by hand
                                  pruned.json          which runs and days batches had that were pruned

Apart from the results, so that these can be pruned, or expire by a rule of the store, without it. Each file appears
whole: on a local disk by a rename, in an object store by one upload.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from batchy_provider.archive.entries import VERSION, ArchivedBatch, ArchivedState, add_runs_and_days
from batchy_provider.bundles.execution_id import folder_name
from batchy_provider.bundles.storage import (
    OpenPath,
    is_local_path,
    join,
    list_names,
    open_local_path,
    remove_stale_files,
    write_whole,
)
from batchy_provider.exceptions import ArchiveError

FOLDER = ".archive"
_LATEST, _CHANGES, _PRUNED, _BATCHES = "latest.json", "changes.json", "pruned.json", "batches"
_AT_ONCE = 8


class ArchiveFiles:
    """
    The archive of one result store.

    :param results: URL of the result store
    :param open_path: makes the object with the `pathlib` API; default: local paths alone
    """

    def __init__(self, results: str, open_path: OpenPath = open_local_path) -> None:
        root = open_path(results)
        self._is_local = is_local_path(root)
        if self._is_local:
            root = root.absolute()
        self._root = root / FOLDER
        self.url = f"{root.as_uri() if self._is_local else results.rstrip('/')}/{FOLDER}"

    # -- read --------------------------------------------------------------------------------------------------

    def latest(self, workflow: str) -> ArchivedState | None:
        """The newest live state; None if none was kept."""
        data = self._read(workflow, _LATEST)
        return None if data is None else ArchivedState.read(data, self._where(workflow, _LATEST))

    def workflows(self) -> list[str]:
        """All workflows that have something here."""
        with self._faults():
            self._forget()
            return list_names(self._root)

    def batches(self, workflow: str) -> list[int]:
        """Ids of all batches that are kept, oldest first."""
        with self._faults():
            self._forget()
            names = list_names(self._folder(workflow) / _BATCHES)
        stems = (name.removesuffix(".json") for name in names)
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def read_batches(self, workflow: str, ids: Sequence[int]) -> list[ArchivedBatch]:
        """Some batches; those that are not there are left out."""

        def read(batch_id: int) -> ArchivedBatch | None:
            name = f"{_BATCHES}/{batch_id}.json"
            data = self._read(workflow, name)
            return None if data is None else ArchivedBatch.read(data, self._where(workflow, name))

        # Most of the time is waiting for the store.
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batchy-archive") as pool:
            return [batch for batch in pool.map(read, ids) if batch is not None]

    def changes(self, workflow: str) -> list[dict[str, Any]]:
        """What people changed, newest first."""
        data = self._read(workflow, _CHANGES)
        return [] if data is None else list(data["changes"])

    def pruned(self, workflow: str) -> tuple[dict[str, int], dict[str, int]]:
        """Run → batch and day → batch of batches that were pruned."""
        data = self._read(workflow, _PRUNED)
        return ({}, {}) if data is None else (dict(data["runs"]), dict(data["days"]))

    # -- write -------------------------------------------------------------------------------------------------

    def put_latest(self, state: ArchivedState) -> None:
        """Keep the newest live state."""
        self._write(state.workflow, _LATEST, state.data())

    def put_batch(self, batch: ArchivedBatch) -> None:
        """Keep a closed batch."""
        self._write(batch.workflow, f"{_BATCHES}/{batch.batch_id}.json", batch.data())

    def put_changes(self, workflow: str, changes: Sequence[Mapping[str, Any]]) -> None:
        """Keep what people changed."""
        self._write(workflow, _CHANGES, {"version": VERSION, "workflow": workflow, "changes": [*changes]})

    def prune(self, workflow: str, ids: Sequence[int]) -> int:
        """
        Remove batches; which run opened them, and which day they loaded, stays.

        :return: how many there were
        """
        gone = self.read_batches(workflow, ids)
        if gone:
            runs, days = self.pruned(workflow)
            add_runs_and_days(gone, runs, days)
            self._write(workflow, _PRUNED, {"version": VERSION, "workflow": workflow, "runs": runs, "days": days})
        with self._faults():
            folder = self._folder(workflow) / _BATCHES
            for batch in gone:
                with contextlib.suppress(FileNotFoundError):
                    (folder / f"{batch.batch_id}.json").unlink()
            if self._is_local:
                remove_stale_files(folder.parent)
        return len(gone)

    # -- how it is done ----------------------------------------------------------------------------------------

    def _folder(self, workflow: str) -> Any:
        return self._root / folder_name(workflow)

    def _where(self, workflow: str, name: str) -> str:
        return f"{self.url}/{folder_name(workflow)}/{name}"

    def _path(self, workflow: str, name: str) -> Any:
        return join(self._folder(workflow), name)

    def _read(self, workflow: str, name: str) -> Any:
        with self._faults():
            self._forget()
            try:
                with self._path(workflow, name).open("rb") as file:
                    text = file.read()
            except FileNotFoundError:
                return None
            try:
                return json.loads(text)
            except ValueError as error:
                raise ArchiveError(
                    f"{self._where(workflow, name)} cannot be read: {error}. Restore it from a backup, or remove it: "
                    "`batchy archive` writes it anew from what Redis has"
                ) from error

    def _write(self, workflow: str, name: str, data: Any) -> None:
        text = json.dumps(data, indent=1).encode()
        with self._faults():
            write_whole(self._path(workflow, name), text)

    def _forget(self) -> None:
        """Let no store answer by what it listed before."""
        if not self._is_local:
            with contextlib.suppress(AttributeError):
                self._root.fs.invalidate_cache()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Say in one way whatever the store's own library says."""
        try:
            yield
        except ArchiveError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
            raise ArchiveError(f"the archive {self.url} cannot be used: {text}") from error
