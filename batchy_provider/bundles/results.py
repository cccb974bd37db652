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
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from batchy_provider.bundles.errors import OutputGoneError, ResultError, told_as
from batchy_provider.bundles.files import (
    copy_checked,
    digest_of,
    files_below,
    is_plain,
    kept_files,
    names_in,
    refreshed,
)
from batchy_provider.bundles.follow import Running, find_running, label
from batchy_provider.bundles.identity import ExecutionId, by_age, folder_name
from batchy_provider.bundles.scratch import ScratchFolder
from batchy_provider.bundles.stored import StoredExecution, finished, is_of_try
from batchy_provider.bundles.unpack import sync_folder

RECORD = "exit.json"
_DRAFTS = ".drafts"

OpenPath = Callable[[str], Any]
"""From a URL to an object with the `pathlib` API."""


def local_path(url: str) -> Path:
    """
    The path that a ``file:`` URL or a plain path names.

    :raises ResultError: it is a URL of another kind
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme:
        raise ResultError(f"Results at {url} cannot be read here: only local paths can be.")
    return Path(url)


class ResultStore:
    """
    Executions under one root.

    :param url: a local path, or any URL that ``open_path`` understands
    :param open_path: makes the object with the `pathlib` API; default: local paths alone
    """

    def __init__(self, url: str, open_path: OpenPath = local_path) -> None:
        path = open_path(url)
        self._open_path = open_path
        self.is_local = is_plain(path)
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
        """
        found = self._read(self._folder(identity.parts()), self._url(identity.parts()))
        if found is None:
            raise ResultError(f"There is no execution {self._url(identity.parts())}.")
        return found

    def find(self, workflow: str, batch_id: str | None = None, job: str | None = None) -> list[StoredExecution]:
        """All executions of a workflow, of one batch or one job, in the order in which they ended."""
        wanted = (batch_id, job, None)
        found = list(self._walk(self._folder((folder_name(workflow),)), (folder_name(workflow),), wanted))
        return sorted(found, key=finished)

    def latest(
        self, workflow: str, job: str, batch_id: str | None = None, attempt: str | None = None
    ) -> StoredExecution:
        """
        The last execution of a job.

        :param batch_id: default: the newest batch in which the job was executed
        :param attempt: the task's try; of several executions of the same try it is the last
        :raises ResultError: there is none
        """
        folder = self._folder((folder_name(workflow),))
        batches = [folder_name(batch_id)] if batch_id is not None else sorted(names_in(folder), key=by_age)
        numbered = [name for name in batches if name.isdecimal()]
        # One folder after the other, so that of a long history only the end is read.
        groups = [[name] for name in reversed(numbered)] + [[name for name in batches if name not in set(numbered)]]
        for group in groups:
            found = [
                execution
                for name in group
                for execution in self._walk(folder / name, (folder_name(workflow), name), (job, None))
                if attempt is None or is_of_try(execution, attempt)
            ]
            if found:
                return max(found, key=finished)
        of = f"job {job} of {workflow}" + ("" if batch_id is None else f", batch {batch_id}")
        of += "" if attempt is None else f", attempt {attempt}"
        raise ResultError(
            f"The result store {self.url} has no execution of {of}. Was it pruned, or is it another store?"
        )

    def batches(self, workflow: str) -> list[str]:
        """Names of a workflow's batches with results, newest first; runs outside of a workflow come last."""
        names = names_in(self._folder((folder_name(workflow),)))
        return sorted(names, key=by_age, reverse=True)

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
        for name in names_in(self.root):
            if folder_name(name) == name:
                found.add(name)
                continue
            first = next(self._walk(self.root / name, (name,), (None, None, None)), None)
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
        for name in names_in(self._folder((place,))):
            ages[name] = by_age(name)
            if ages[name][0] < 0:
                ended = [finished(each) for each in self._walk(self.root / place / name, (place, name), (None, None))]
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
        with told_as(ResultError, f"The output {url} cannot be read", "See to the store, and run the job again"):
            try:
                with refreshed(self._open_path(url)).open("rb") as source:
                    found = copy_checked(source, into)
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

    def _read(self, folder: Any, url: str) -> StoredExecution | None:
        try:
            with refreshed(folder / RECORD).open("rb") as file:
                record = json.loads(file.read())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ResultError(f"The record {url}/{RECORD} cannot be read: {error}.") from None
        return StoredExecution(url, folder, record)

    def _walk(self, folder: Any, parts: tuple[str, ...], wanted: tuple[str | None, ...]) -> Iterator[StoredExecution]:
        if not wanted:
            found = self._read(folder, self._url(parts))
            if found is not None:
                yield found
            return
        names = [folder_name(wanted[0])] if wanted[0] is not None else names_in(folder)
        for name in names:
            yield from self._walk(folder / name, (*parts, name), wanted[1:])

    def _remove(self, folder: Any) -> None:
        """Records go first: what is half removed is no execution any more."""
        if self.is_local:
            with ScratchFolder(self.root / _DRAFTS) as own:
                folder.rename(own.path / "gone")
            return
        files = list(files_below(folder))
        for path in sorted(files, key=lambda path: path.name != RECORD):
            path.unlink()
        # Only stores that know folders keep empty ones.
        folders = {parent for path in files for parent in path.parents if str(parent).startswith(str(folder))}
        for empty in sorted(folders, key=lambda path: -len(str(path))):
            with contextlib.suppress(Exception):
                empty.rmdir()

    def commit(self, identity: ExecutionId, folder: Path, record: Mapping[str, Any]) -> StoredExecution:
        """Keep a draft; see :meth:`Draft.commit`."""
        contents = {name: digest_of(folder / name) for name in kept_files(folder)}
        whole = {
            "version": 1,
            "workflow": identity.workflow,
            "batch_id": identity.batch_id,
            "job": identity.job,
            "attempt": identity.attempt,
            **record,
            "output": "output" if "output" in contents else "stdout",
            "contents": contents,
        }
        for number in range(1, 1000):
            attempt = identity.attempt if number == 1 else f"{identity.attempt}.{number}"
            whole["attempt"] = attempt
            (folder / RECORD).write_text(json.dumps(whole, indent=1))
            parts = (*identity.parts()[:3], folder_name(attempt))
            keep = self._move if self.is_local else self._upload
            with told_as(
                ResultError,
                f"The result store {self.url} did not take what the script left",
                "The script has ended, and of this execution nothing is kept: see to the store, and run the job again",
            ):
                kept = keep(folder, self._folder(parts), contents)
            if kept:
                return StoredExecution(self._url(parts), self._folder(parts), whole)
        raise ResultError(f"There are a thousand executions of {self._url(identity.parts())} already.")

    def _move(self, folder: Path, target: Path, contents: Mapping[str, Any]) -> bool:
        digest_of(folder / RECORD)  # on disk before the name is
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

    def _upload(self, folder: Path, target: Any, contents: Mapping[str, Any]) -> bool:
        if refreshed(target / RECORD).exists():
            return False
        with contextlib.suppress(Exception):  # an object store has no folders to make
            target.mkdir(parents=True, exist_ok=True)
        done = []
        try:
            for name in (*contents, RECORD):
                path = target
                for part in name.split("/"):
                    path = path / part
                done.append(path)
                with (folder / name).open("rb") as source, path.open("wb") as out:
                    shutil.copyfileobj(source, out, 1024 * 1024)
        except BaseException:
            for path in done:
                with contextlib.suppress(Exception):
                    path.unlink()
            raise
        return True


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An execution that is still running.

    :param folder: where its files are written: ``stdout``, ``stderr``, ``output``, ``files/``
    """

    store: ResultStore
    identity: ExecutionId
    folder: Path

    def commit(self, record: Mapping[str, Any]) -> StoredExecution:
        """
        Keep it: all of it, or nothing if this raises.

        :param record: how it ended; goes into ``exit.json``
        """
        return self.store.commit(self.identity, self.folder, record)
