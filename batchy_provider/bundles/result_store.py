# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What an execution left behind, kept whole or not at all.

::

    <root>/<workflow>/<batch_id>/<job>/<attempt>/stdout, stderr   all bytes, secrets masked
                                                 output          if the script wrote to BATCHY_OUTPUT, or if a
                                                                 later job reads a stdout with secrets: as it is
                                                 files/…         what it left in BATCHY_OUTPUT_DIR
                                                 exit.json       the record; written last

An execution exists when its ``exit.json`` does. On a local disk it appears by one rename; in an object store
``exit.json`` is uploaded after all that it speaks of.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchy_provider.bundles.errors import OutputGoneError, ResultError, wrap_store_errors
from batchy_provider.bundles.execution_id import ExecutionId, batch_age, folder_name
from batchy_provider.bundles.execution_record import (
    StoredExecution,
    belongs_to_try,
    damaged_record,
    finished,
    read_record,
)
from batchy_provider.bundles.leftovers import SkippedFile
from batchy_provider.bundles.log_tail import Running, find_running, label
from batchy_provider.bundles.result_upload import ESSENTIAL, RECORD, upload_contents, upload_record
from batchy_provider.bundles.scratch import ScratchFolder
from batchy_provider.bundles.storage import (
    OpenPath,
    copy_hashed,
    digest_of,
    drop_listing_cache,
    is_local_path,
    list_names,
    list_output_files,
    open_local_path,
    walk_files,
)
from batchy_provider.bundles.unpack import sync_folder

_DRAFTS = ".drafts"

Record = Mapping[str, Any] | Callable[[Sequence[SkippedFile]], Mapping[str, Any]]


class ResultStore:
    """
    Executions under one root.

    :param url: a local path, or any URL that ``open_path`` understands
    :param open_path: makes the object with the `pathlib` API; default: local paths alone
    """

    def __init__(self, url: str, open_path: OpenPath = open_local_path) -> None:
        path = open_path(url)
        self._open_path = open_path
        self.is_local = is_local_path(path)
        self.root = path.absolute() if self.is_local else path
        self.url = self.root.as_uri() if self.is_local else url.rstrip("/")

    @contextlib.contextmanager
    def draft(self, identity: ExecutionId, scratch: Path) -> Iterator[Draft]:
        """
        Begin an execution; without `Draft.commit` nothing of it is kept.

        :param scratch: a private local folder, used where the store is not local
        """
        if not self.is_local:
            folder = scratch / "result"
            folder.mkdir(mode=0o700)
            yield Draft(self, identity, folder)
            return
        with contextlib.ExitStack() as stack:
            try:
                own = stack.enter_context(ScratchFolder(self.root / _DRAFTS))
                folder = own.path / "result"
                folder.mkdir()
                label(own.path, identity)
            except OSError as error:
                raise ResultError(
                    f"The result store {self.url} cannot be written to: {error}. Is `results_url` right? A folder is "
                    "written by one user alone: for tasks with `run_as_user` it must be in an object store."
                ) from error
            yield Draft(self, identity, folder)

    def get(self, identity: ExecutionId) -> StoredExecution:
        """
        Read back one execution.

        :raises ResultError: there is none
        :raises DamagedRecordError: its record cannot be read
        """
        found = self._read(identity.parts())
        if found is None:
            raise ResultError(f"There is no execution {self._url(identity.parts())}.")
        return found.checked()

    def find(self, workflow: str, batch_id: str | None = None, job: str | None = None) -> list[StoredExecution]:
        """All executions of a workflow, of one batch or one job, in the order in which they ended."""
        wanted = (batch_id, job, None)
        found = list(self._walk((folder_name(workflow),), wanted))
        return sorted(found, key=finished)

    def latest(
        self, workflow: str, job: str, batch_id: str | None = None, attempt: str | None = None
    ) -> StoredExecution:
        """
        The last execution of a job.

        :param batch_id: default: the newest batch in which the job was executed
        :param attempt: the task's try; of several executions of the same try it is the last
        :raises ResultError: there is none
        :raises DamagedRecordError: its record cannot be read
        """
        folder = self._folder((folder_name(workflow),))
        batches = [folder_name(batch_id)] if batch_id is not None else sorted(list_names(folder), key=batch_age)
        numbered = [name for name in batches if name.isdecimal()]
        # One folder after the other, so that of a long history only the end is read.
        groups = [[name] for name in reversed(numbered)] + [[name for name in batches if name not in set(numbered)]]
        for group in groups:
            found = [
                execution
                for name in group
                for execution in self._walk((folder_name(workflow), name), (job, None))
                if attempt is None or belongs_to_try(execution, attempt)
            ]
            if found:
                return max(found, key=finished).checked()
        of = f"job {job} of {workflow}" + ("" if batch_id is None else f", batch {batch_id}")
        of += "" if attempt is None else f", attempt {attempt}"
        raise ResultError(
            f"The result store {self.url} has no execution of {of}. Was it pruned, or is it another store?"
        )

    def batches(self, workflow: str) -> list[str]:
        """Names of a workflow's batches with results, newest first; runs outside of a workflow come last."""
        names = list_names(self._folder((folder_name(workflow),)))
        return sorted(names, key=batch_age, reverse=True)

    def running(self, workflow: str, job: str, batch_id: str | None = None) -> list[Running]:
        """
        Executions of a job that run now and write here, the one that began last at the end.

        :raises ResultError: the store is no folder: what is written is there only when it has ended
        """
        if not self.is_local:
            raise ResultError(
                f"The result store {self.url} is no local folder: what a job writes is in it when the job has ended. "
                "While it runs, its task log in Airflow shows it."
            )
        return find_running(self.root / _DRAFTS, workflow, job, batch_id)

    def workflows(self) -> list[str]:
        """All names of workflows, and of DAGs outside of any, that have results."""
        found = set()
        for name in list_names(self.root):
            if folder_name(name) == name:
                found.add(name)
                continue
            first = next(self._walk((name,), (None, None, None)), None)
            if first is not None:
                found.add(str(first.record["workflow"]))
        return sorted(found)

    def prune(self, workflow: str, *, keep: int, spare: Collection[str] = ()) -> int:
        """
        Remove the results of all but the newest batches.

        :param keep: how many batches stay; 0 removes all
        :param spare: ids of batches that stay in any case
        :return: how many batches were removed
        """
        place = folder_name(workflow)
        ages: dict[str, tuple[int, str]] = {}
        for name in list_names(self._folder((place,))):
            ages[name] = batch_age(name)
            if ages[name][0] < 0:
                ended = [finished(each) for each in self._walk((place, name), (None, None))]
                if not ended:
                    del ages[name]  # nothing there, or being written at this moment
                    continue
                ages[name] = (-1, max(ended))
        stay = {folder_name(batch_id) for batch_id in spare}
        gone = [name for name in sorted(ages, key=lambda name: ages[name], reverse=True)[keep:] if name not in stay]
        for name in gone:
            self._remove(self.root / place / name)
        return len(gone)

    def fetch(self, reference: Mapping[str, Any], into: Path) -> None:
        """
        Copy what a reference names to a local file.

        :raises ResultError: it is gone, or not what it was when the reference was made, or secrets were masked in it
        """
        url = str(reference["url"])
        if reference.get("masked"):
            raise ResultError(
                f"The output {url} is no data: it is what a script printed, and {reference['masked']} secrets were "
                "masked in it. A script that hands over data writes them to $BATCHY_OUTPUT, which is never masked."
            )
        with wrap_store_errors(
            ResultError, f"The output {url} cannot be read", "See to the store, and run the job again"
        ):
            try:
                with drop_listing_cache(self._open_path(url)).open("rb") as source:
                    found = copy_hashed(source, into)
            except FileNotFoundError:
                raise OutputGoneError(url) from None
        if found != {"bytes": reference["bytes"], "sha256": reference["sha256"]}:
            raise ResultError(
                f"The output {url} was changed: expected {reference['bytes']:,} bytes with sha256 "
                f"{reference['sha256']}, found {found['bytes']:,} with {found['sha256']}."
            )

    def _folder(self, parts: tuple[str, ...]) -> Any:
        path = self.root
        for part in parts:
            path = path / part
        return path

    def _url(self, parts: tuple[str, ...]) -> str:
        return "/".join((self.url, *parts))

    def _read(self, parts: tuple[str, ...]) -> StoredExecution | None:
        folder, url = self._folder(parts), self._url(parts)
        try:
            with drop_listing_cache(folder / RECORD).open("rb") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        try:
            return StoredExecution(url, folder, read_record(text))
        except ValueError as error:
            damage = f"The record {url}/{RECORD} cannot be read: {error}."
            return StoredExecution(url, folder, damaged_record(parts, damage))

    def _walk(self, parts: tuple[str, ...], wanted: tuple[str | None, ...]) -> Iterator[StoredExecution]:
        """All executions below a place; one whose record is damaged is among them, see `StoredExecution.damage`."""
        if not wanted:
            found = self._read(parts)
            if found is not None:
                yield found
            return
        names = [folder_name(wanted[0])] if wanted[0] is not None else list_names(self._folder(parts))
        for name in names:
            yield from self._walk((*parts, name), wanted[1:])

    def _remove(self, folder: Any) -> None:
        """Records go first: what is half removed is no execution any more."""
        if self.is_local:
            with ScratchFolder(self.root / _DRAFTS) as own:
                folder.rename(own.path / "gone")
            return
        files = list(walk_files(folder))
        for path in sorted(files, key=lambda path: path.name != RECORD):
            path.unlink()
        # Only stores that know folders keep empty ones.
        folders = {parent for path in files for parent in path.parents if str(parent).startswith(str(folder))}
        for empty in sorted(folders, key=lambda path: -len(str(path))):
            with contextlib.suppress(Exception):
                empty.rmdir()

    def commit(self, identity: ExecutionId, folder: Path, record: Record) -> StoredExecution:
        """Keep a draft; see :meth:`Draft.commit`."""
        lost: list[SkippedFile] = []
        with wrap_store_errors(
            ResultError,
            f"The result store {self.url} did not take what the script left",
            "The script has ended, and of this execution nothing is kept: see to the store, and run the job again",
        ):
            contents = _digests(folder, lost)
            for number in range(1, 1000):
                attempt = identity.attempt if number == 1 else f"{identity.attempt}.{number}"
                parts = (*identity.parts()[:3], folder_name(attempt))
                target = self._folder(parts)
                if not self.is_local:
                    if drop_listing_cache(target / RECORD).exists():
                        continue
                    upload_contents(folder, target, contents, lost)

                def whole(attempt: str = attempt) -> dict[str, Any]:
                    return {
                        "version": 1,
                        "workflow": identity.workflow,
                        "batch_id": identity.batch_id,
                        "job": identity.job,
                        "attempt": attempt,
                        **(record(lost) if callable(record) else record),
                        "output": "output" if "output" in contents else "stdout",
                        "contents": contents,
                    }

                written = _write_record(folder, whole, contents, lost)
                if self._move(folder, target) if self.is_local else upload_record(folder, target, contents):
                    return StoredExecution(self._url(parts), target, written)
        raise ResultError(f"There are a thousand executions of {self._url(identity.parts())} already.")

    def _move(self, folder: Path, target: Path) -> bool:
        sync_folder(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError:
            if target.exists():
                return False
            raise
        sync_folder(target.parent)
        return True


def _digests(folder: Path, lost: list[SkippedFile]) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of each file; one that cannot be read or written to the disk is left out."""
    contents = {}
    for name in list_output_files(folder):
        try:
            contents[name] = digest_of(folder / name)
        except OSError as error:
            if name in ESSENTIAL:
                raise
            lost.append(SkippedFile(name, f"cannot be kept ({error.strerror or error})"))
            (folder / name).unlink(missing_ok=True)
    return contents


def _write_record(
    folder: Path, whole: Callable[[], dict[str, Any]], contents: dict[str, dict[str, Any]], lost: list[SkippedFile]
) -> dict[str, Any]:
    """Write the record; where there is no room for it, the largest files make room, and the record says so."""
    while True:
        written = whole()
        try:
            (folder / RECORD).write_text(json.dumps(written, indent=1))
            digest_of(folder / RECORD)  # on disk before the name is
        except OSError as error:
            spare = [name for name in contents if name not in ESSENTIAL]
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not spare:
                raise
            name = max(spare, key=lambda name: (name != "output", contents[name]["bytes"]))
            (folder / name).unlink(missing_ok=True)
            del contents[name]
            lost.append(SkippedFile(name, f"cannot be kept ({error.strerror})"))
        else:
            return written


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An execution that is still running.

    :param folder: of its files: ``stdout``, ``stderr``, ``output``, ``files/``
    """

    store: ResultStore
    identity: ExecutionId
    folder: Path

    @property
    def left(self) -> Path:
        """A place for what the script writes, on the same file system, apart from what is written about the script."""
        return self.folder.with_name("left")

    def commit(self, record: Record) -> StoredExecution:
        """
        Keep it, or nothing of it if this raises.

        A file of ``output`` and ``files/`` that the store does not take is left out, and the others are kept.

        :param record: how it ended; goes into ``exit.json``. A function is called with what was left out
        :raises ResultError: the store does not take the record, ``stdout`` or ``stderr``
        """
        return self.store.commit(self.identity, self.folder, record)
