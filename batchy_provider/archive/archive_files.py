# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The files of the archive in the result store: where they are, and how to read, write and prune them.

::

    <results>/.archive/<workflow>/latest.json          the newest live state
                                  batches/<id>.json    a closed batch
                                  changes.json         audit entries: what people changed
                                  pruned.json          runs and days of batches that were pruned

They are apart from the results, so that the results can be pruned, or expire by a rule of the bucket. A file is
complete or does not exist: a local disk gets it by a rename, an object store by one upload.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from batchy_provider.archive.archived_batch import ArchivedBatch, add_runs_and_days
from batchy_provider.archive.archived_state import ArchivedState
from batchy_provider.archive.file_version import VERSION, checked, unreadable
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
_LATEST, _AUDIT, _PRUNED, _BATCHES = "latest.json", "changes.json", "pruned.json", "batches"
_AT_ONCE = 8

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ArchiveFiles:
    """Read and write the archive of one result store. Every method may raise `ArchiveError`.

    :param results: URL of the result store.
    :param open_path: returns the object with the API of `pathlib` for a URL. The default opens local paths only.
    """

    def __init__(self, results: str, open_path: OpenPath = open_local_path) -> None:
        root = open_path(results)
        self._is_local = is_local_path(root)
        if self._is_local:
            root = root.absolute()
        self._root = root / FOLDER
        self.url = f"{root.as_uri() if self._is_local else results.rstrip('/')}/{FOLDER}"

    # -- read ---------------------------------------------------------------------------------------------------

    def latest(self, workflow: str) -> ArchivedState | None:
        """Return the newest live state; None if the archive has none."""
        data = self._read(workflow, _LATEST)
        return None if data is None else ArchivedState.read(data, self._url(workflow, _LATEST))

    def workflows(self) -> list[str]:
        """Return the names of all workflows in the archive."""
        with self._translated_errors():
            self._forget_listings()
            return list_names(self._root)

    def batch_ids(self, workflow: str) -> list[int]:
        """Return the ids of all batches, oldest first."""
        with self._translated_errors():
            self._forget_listings()
            names = list_names(self._folder(workflow) / _BATCHES)
        stems = (name.removesuffix(".json") for name in names)
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def read_batches(self, workflow: str, ids: Sequence[int]) -> list[ArchivedBatch]:
        """Return some batches. Leave out ids that the archive does not have."""

        def read(batch_id: int) -> ArchivedBatch | None:
            name = f"{_BATCHES}/{batch_id}.json"
            data = self._read(workflow, name)
            return None if data is None else ArchivedBatch.read(data, self._url(workflow, name))

        return [batch for batch in _side_by_side(read, ids) if batch is not None]

    def audit(self, workflow: str) -> list[dict[str, Any]]:
        """Return the audit entries, newest first."""
        data = self._read(workflow, _AUDIT)
        if data is None:
            return []
        with checked(data, self._url(workflow, _AUDIT)):
            return list(data["changes"])

    def pruned(self, workflow: str) -> tuple[dict[str, int], dict[str, int]]:
        """Return run key → batch id, and day → batch id, of batches that were pruned."""
        data = self._read(workflow, _PRUNED)
        if data is None:
            return {}, {}
        with checked(data, self._url(workflow, _PRUNED)):
            return dict(data["runs"]), dict(data["days"])

    # -- write --------------------------------------------------------------------------------------------------

    def put_pruned(self, workflow: str, runs: Mapping[str, int], days: Mapping[str, int]) -> None:
        """Write run key → batch id, and day → batch id, of batches that were pruned."""
        data = {"version": VERSION, "workflow": workflow, "runs": dict(runs), "days": dict(days)}
        self._write(workflow, _PRUNED, data)

    def put_latest(self, state: ArchivedState) -> None:
        """Write the newest live state."""
        self._write(state.workflow, _LATEST, state.data())

    def put_batch(self, batch: ArchivedBatch) -> None:
        """Write a closed batch."""
        self._write(batch.workflow, f"{_BATCHES}/{batch.batch_id}.json", batch.data())

    def put_batches(self, batches: Collection[ArchivedBatch]) -> None:
        """Write closed batches, in any order. After an error, some of them are there."""
        _side_by_side(self.put_batch, batches)

    def put_audit(self, workflow: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write all audit entries, newest first."""
        self._write(workflow, _AUDIT, {"version": VERSION, "workflow": workflow, "changes": [*entries]})

    def prune(self, workflow: str, ids: Sequence[int]) -> int:
        """Remove batches, and keep their runs and days.

        :returns: how many batches were removed.
        """
        batches = self.read_batches(workflow, ids)
        if batches:
            runs, days = self.pruned(workflow)
            add_runs_and_days(batches, runs, days)
            self.put_pruned(workflow, runs, days)
        with self._translated_errors():
            self._unlink_batches(workflow, [f"{batch.batch_id}.json" for batch in batches])
            if self._is_local:
                remove_stale_files(self._folder(workflow))
        return len(batches)

    def remove(self, workflow: str) -> None:
        """Remove everything of a workflow. The live state goes last: until then, the workflow is in the archive."""
        with self._translated_errors():
            self._forget_listings()
            folder = self._folder(workflow)
            self._unlink_batches(workflow, list_names(folder / _BATCHES))
            for name in (_AUDIT, _PRUNED, _LATEST):
                self._unlink(workflow, name)
            if self._is_local:
                shutil.rmtree(folder, ignore_errors=True)

    # -- files --------------------------------------------------------------------------------------------------

    def _folder(self, workflow: str) -> Any:
        return self._root / folder_name(workflow)

    def _path(self, workflow: str, name: str) -> Any:
        return join(self._folder(workflow), name)

    def _url(self, workflow: str, name: str) -> str:
        return f"{self.url}/{folder_name(workflow)}/{name}"

    def _read(self, workflow: str, name: str) -> Any:
        """Return the content of a file, parsed from JSON; None if there is no such file."""
        with self._translated_errors():
            self._forget_listings()
            try:
                with self._path(workflow, name).open("rb") as file:
                    text = file.read()
            except FileNotFoundError:
                return None
        try:
            return json.loads(text)
        except ValueError as error:
            raise unreadable(self._url(workflow, name), error) from error

    def _write(self, workflow: str, name: str, data: Any) -> None:
        text = json.dumps(data, indent=1).encode()
        with self._translated_errors():
            write_whole(self._path(workflow, name), text)

    def _unlink_batches(self, workflow: str, names: Collection[str]) -> None:
        _side_by_side(lambda name: self._unlink(workflow, f"{_BATCHES}/{name}"), names)

    def _unlink(self, workflow: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(workflow, name).unlink()

    def _forget_listings(self) -> None:
        """Drop the listings that fsspec caches: another worker may have written since."""
        if not self._is_local:
            with contextlib.suppress(AttributeError):
                self._root.fs.invalidate_cache()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise `ArchiveError` for every error of the store's own library."""
        try:
            yield
        except Exception as error:
            raise ArchiveError(f"the archive {self.url} cannot be used: {first_line(error)}") from error


def _side_by_side(work: Callable[[_Item], _Result], items: Collection[_Item]) -> list[_Result]:
    """Do the same for many files at once, since most of the time is waiting for the store.

    :returns: the results in the order of the items.
    """
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batchy-archive") as pool:
        return list(pool.map(work, items))


def first_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
