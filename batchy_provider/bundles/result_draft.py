# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""An execution while it runs: a folder beside the result store, which becomes a stored execution in one step.

On a local disk the folder is renamed to its place. In an object store the files are uploaded, and the record last.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from batchy_provider.bundles.errors import ResultError, wrap_store_errors
from batchy_provider.bundles.execution_id import ExecutionId, folder_name
from batchy_provider.bundles.execution_record import RECORD, StoredExecution
from batchy_provider.bundles.result_upload import ESSENTIAL, upload_contents, upload_record
from batchy_provider.bundles.skipped_files import SkippedFile
from batchy_provider.bundles.storage import drop_listing_cache, hash_file, is_local_path, join, sync_path

_IDENTITY = "execution.json"
_FILES = "result"

Record = Mapping[str, Any] | Callable[[Sequence[SkippedFile]], Mapping[str, Any]]
"""How an execution ended, as JSON, or a function that returns this for the files that the store does not take."""


@dataclass(frozen=True, slots=True)
class RunningExecution:
    """An execution that has not ended.

    :param folder: where its files are being written.
    """

    identity: ExecutionId
    folder: Path


def begin_draft(folder: Path, identity: ExecutionId) -> Path:
    """Prepare the folder of a draft so that `find_running` finds it.

    :returns: the folder for its files.
    """
    files = folder / _FILES
    files.mkdir()
    (folder / _IDENTITY).write_text(json.dumps(asdict(identity)))
    return files


def find_running(drafts: Path, workflow: str, job: str, batch_id: str | None = None) -> list[RunningExecution]:
    """Return the executions of a job that run now. The last one is the one that began last.

    :param drafts: the folder that holds all drafts of the result store.
    """
    running = []
    for file in sorted(drafts.glob(f"*/{_IDENTITY}"), key=_time):
        with contextlib.suppress(OSError, ValueError, TypeError):  # it has just ended, or is just being made
            identity = ExecutionId(**json.loads(file.read_text()))
            if (identity.workflow, identity.job) == (workflow, job) and batch_id in (None, identity.batch_id):
                running.append(RunningExecution(identity, file.parent / _FILES))
    return running


def _time(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Draft:
    """An execution that is still running.

    :param root: path of the result store, and ``url`` its URL.
    :param folder: of its files: ``stdout``, ``stderr``, ``output``, ``files/``.
    """

    root: Any
    url: str
    identity: ExecutionId
    folder: Path

    @property
    def script_folder(self) -> Path:
        """A place for what the script writes itself, on the same file system as `folder`."""
        return self.folder.with_name("left")

    def commit(self, record: Record) -> StoredExecution:
        """Store the execution, or nothing of it if this raises.

        A file of ``output`` and ``files/`` that the store does not take is skipped, and the others are stored.

        :param record: how the execution ended, for ``exit.json``.
        :raises ResultError: the store does not take the record, ``stdout`` or ``stderr``.
        """
        with wrap_store_errors(
            ResultError,
            f"The result store {self.url} did not store the result of the script",
            "The script has ended, but nothing of this execution is stored. Check the store, then run the job again",
        ):
            skipped: list[SkippedFile] = []
            contents = _hash_files(self.folder, skipped)
            for number in range(1, 1000):
                stored = self._store_as(number, record, contents, skipped)
                if stored is not None:
                    return stored
        place = "/".join((self.url, *self.identity.parts()))
        raise ResultError(f"{place} has a thousand executions already. Prune the results of the workflow.")

    def _store_as(
        self, number: int, record: Record, contents: dict[str, dict[str, Any]], skipped: list[SkippedFile]
    ) -> StoredExecution | None:
        """Store it as execution ``number`` of its try; None if there is such an execution already."""
        identity = self.identity
        attempt = identity.attempt if number == 1 else f"{identity.attempt}.{number}"
        place = "/".join((*identity.parts()[:3], folder_name(attempt)))
        target = join(self.root, place)
        is_local = is_local_path(self.root)
        if not is_local:
            if drop_listing_cache(target / RECORD).exists():
                return None
            upload_contents(self.folder, target, contents, skipped)

        def complete() -> dict[str, Any]:
            return {
                "version": 1,
                "workflow": identity.workflow,
                "batch_id": identity.batch_id,
                "job": identity.job,
                "attempt": attempt,
                **(record(skipped) if callable(record) else record),
                "output": "output" if "output" in contents else "stdout",
                "contents": contents,
            }

        written = _write_record(self.folder, complete, contents, skipped)
        if is_local:
            if not _move(self.folder, target):
                return None
        else:
            upload_record(self.folder, target, contents)
        return StoredExecution(f"{self.url}/{place}", target, written)


def _move(folder: Path, target: Path) -> bool:
    """Rename a folder; False if there is another one under the new name."""
    sync_path(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(target)
    except OSError:
        if target.exists():
            return False
        raise
    sync_path(target.parent)
    return True


def _hash_files(folder: Path, skipped: list[SkippedFile]) -> dict[str, dict[str, Any]]:
    """Return bytes and sha256 of each file. One that cannot be read, or be written to the disk, is skipped."""
    contents = {}
    for name in _list_files(folder):
        try:
            contents[name] = hash_file(folder / name, sync=True).as_json()
        except OSError as error:
            if name in ESSENTIAL:
                raise
            skipped.append(SkippedFile(name, f"cannot be stored ({error.strerror or error})"))
            (folder / name).unlink(missing_ok=True)
    return contents


def _list_files(folder: Path) -> list[str]:
    """Return the names of all files of an execution, with ``/`` between folders.

    :raises ResultError: a link, a device or the like is among them; `OutputFolder.collect` moves none.
    """
    names = []
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    names.append(name)
                else:
                    raise ResultError(f"{name!r} cannot be stored: it is a link, a pipe or a device.")
    return sorted(names)


def _write_record(
    folder: Path,
    complete: Callable[[], dict[str, Any]],
    contents: dict[str, dict[str, Any]],
    skipped: list[SkippedFile],
) -> dict[str, Any]:
    """Write the record. If the disk is full, the largest files are skipped until there is room, and the record says so.

    :param complete: returns the record for the present ``contents`` and ``skipped``.
    """
    while True:
        written = complete()
        try:
            (folder / RECORD).write_text(json.dumps(written, indent=1))
            sync_path(folder / RECORD)
        except OSError as error:
            optional = [name for name in contents if name not in ESSENTIAL]
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not optional:
                raise
            name = max(optional, key=lambda name: (name != "output", contents[name]["bytes"]))
            (folder / name).unlink(missing_ok=True)
            del contents[name]
            skipped.append(SkippedFile(name, f"cannot be stored ({error.strerror})"))
        else:
            return written
