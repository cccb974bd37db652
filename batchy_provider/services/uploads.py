# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
New workflow files and bundles from outside: checked as a whole, then stored as a whole.

What would be in the folder of workflow files after the upload is laid out beside it and checked like any folder.
Then the files are renamed into place under a written plan: an upload that was killed after its plan was written is
finished by the next one, one that was killed before is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.batches.names import check_job_name, check_workflow_name
from batchy_provider.bundles.scratch import locked, remove_tree
from batchy_provider.config.bundles import FOLDER
from batchy_provider.config.editing import add_job
from batchy_provider.config.faults import Fault, did_you_mean
from batchy_provider.config.inspection import Check, inspect_folder
from batchy_provider.config.reader import DEFAULTS_STEM, SUFFIXES, FaultsError, find_file, read_workflow
from batchy_provider.exceptions import BatchyError, ConfigError
from batchy_provider.services.model import Audit

if TYPE_CHECKING:
    from batchy_provider.batches.model import Actor
    from batchy_provider.services.core import Services

STAGING = ".uploads"
MAX_FILES = 100
_PLAN = "plan.json"
_BUNDLE = re.compile(r"[A-Za-z0-9_.-]{1,200}\.zip")


class UploadConflictError(BatchyError):
    """What is to be stored is there already, or is not what the caller took it to be; nothing was stored."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """
    One file of an upload.

    :param name: as the caller named it.
    :param path: where its bytes are now, on this machine.
    """

    name: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """
    An existing job after which an uploaded bundle runs.

    :param workflow: whose file is edited.
    :param job: the job that it follows.
    :param name: of the new job; the bundle's name without its ending where that is None.
    :param takes_input: it reads the job's output.
    :param independent: it runs whatever became of the job.
    """

    workflow: str
    job: str
    name: str | None = None
    takes_input: bool = False
    independent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """
    What a caller wants stored: all of it, or nothing.

    :param configs: workflow files, YAML or JSON; the name without its ending is the workflow's.
    :param bundles: zips, stored in the folder ``bundles``.
    :param after: with one bundle and no config: a job more for an existing workflow.
    :param replace: what is there under these names is replaced.
    :param expected: file name → sha256 that it must have now, so that nobody else's change is lost.
    """

    configs: Sequence[UploadedFile] = ()
    bundles: Sequence[UploadedFile] = ()
    after: After | None = None
    replace: bool = False
    expected: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """
    What an upload stored, or would store.

    :param workflows: names of the workflows that are new or changed.
    :param files: file, relative to the folder of workflow files → its sha256.
    :param replaced: which of them were there before.
    """

    workflows: list[str]
    files: dict[str, str]
    replaced: list[str]


class UploadService:
    """
    Uploads.

    :param services: all services.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def check(self, upload: Upload, *, check: Check | None = None) -> Stored:
        """
        Do all checks of `store` and store nothing.

        :raises: as `store`.
        """
        with self._staged(upload, check) as (stored, _):
            return stored

    def store(self, upload: Upload, *, actor: Actor, why: str | None = None, check: Check | None = None) -> Stored:
        """
        Store an upload.

        :param check: a further check of each sound workflow.
        :raises ConfigError: it is no upload: a name that cannot be, nothing in it, too much.
        :raises FaultsError: its files have faults, or others would have new ones; each is told.
        :raises BundleRefusedError: a bundle breaks a rule of unpacking.
        :raises UploadConflictError: what is there is not to be replaced, or is not what the caller expects.
        """
        with self._staged(upload, check) as (stored, folder):
            plan = json.dumps({"files": [*stored.files]})
            _write(folder / _PLAN, plan.encode())
            self._carry_out(folder)
        for workflow in stored.workflows:
            details = {"files": stored.files, "replaced": stored.replaced}
            self._services.audit(Audit(workflow=workflow, action="upload", actor=actor, why=why, details=details))
        return stored

    @property
    def _cfg(self) -> Path:
        folder = self._services.catalog.folder
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder} of workflow files; make it, or set [batchy] cfg_folder")
        return folder

    @contextlib.contextmanager
    def _staged(self, upload: Upload, check: Check | None) -> Iterator[tuple[Stored, Path]]:
        cfg = self._cfg
        top = cfg / STAGING
        top.mkdir(mode=0o700, exist_ok=True)
        # One at a time: what was checked must be what is there when it is stored.
        with locked(top / "lock"):
            self._tidy(top)
            folder = top / uuid.uuid4().hex
            folder.mkdir()
            try:
                new = self._new_files(upload, folder / "new")
                stored = self._checked(upload, new, folder, check)
                yield stored, folder
            finally:
                remove_tree(folder)

    def _tidy(self, top: Path) -> None:
        """Finish what was planned before its process died, and remove what was not."""
        for folder in top.iterdir():
            if folder.is_dir():
                if (folder / _PLAN).exists():
                    self._carry_out(folder)
                remove_tree(folder)

    def _carry_out(self, folder: Path) -> None:
        """Rename all files into place, bundles before the workflows that name them; once more does no harm."""
        files = json.loads((folder / _PLAN).read_bytes())["files"]
        for name in sorted(files, key=lambda name: not name.startswith(f"{FOLDER}/")):
            source, target = folder / "new" / name, self._cfg / name
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
                _sync(target.parent)
        (folder / _PLAN).unlink()

    def _new_files(self, upload: Upload, into: Path) -> dict[str, str]:
        """Lay the uploaded files out as they would be stored; returns name → sha256."""
        wanted = [(_config_name(file.name), file.path) for file in upload.configs]
        wanted += [(f"{FOLDER}/{_bundle_name(file.name)}", file.path) for file in upload.bundles]
        names = [name.casefold() for name, _ in wanted]
        if len(set(names)) < len(names):
            raise ConfigError("two files of the upload have the same name")
        if not wanted:
            raise ConfigError("nothing was uploaded: give a workflow file, or a bundle with the job it follows")
        if len(wanted) > MAX_FILES:
            raise ConfigError(f"an upload has at most {MAX_FILES} files; this one has {len(wanted)}")
        into.mkdir()
        (into / FOLDER).mkdir()
        digests = {}
        for name, path in wanted:
            digests[name] = _copy(path, into / name)
        if upload.after is not None:
            name, text = self._edited(upload.after, upload)
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            digests[name] = _write(into / name, text.encode())
        elif not upload.configs:
            raise ConfigError("no job runs the bundle: give a workflow file that names it, or the job it follows")
        return digests

    def _edited(self, after: After, upload: Upload) -> tuple[str, str]:
        """Return the file of an existing workflow with one more job."""
        if upload.configs or len(upload.bundles) != 1:
            raise ConfigError("to run after an existing job, upload one bundle and no workflow file")
        bundle = _bundle_name(upload.bundles[0].name)
        workflow = read_workflow(self._cfg, check_workflow_name(after.workflow))
        jobs = workflow.model.jobs if workflow.model is not None else {}
        if after.job not in jobs:
            raise ConfigError(f"{after.workflow} has no job {after.job!r}{did_you_mean(after.job, jobs)}")
        name = check_job_name(after.name or bundle.removesuffix(".zip"))
        if name in jobs:
            raise UploadConflictError(f"{after.workflow} has a job {name!r} already; give the new one another name")
        job: dict[str, object] = {"after": [after.job], "bundle": bundle}
        if after.takes_input:
            job["input"] = after.job
        if after.independent:
            job["independent"] = True
        with workflow.path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        edited = add_job(text, name, job, is_json=workflow.path.suffix == ".json")
        return workflow.path.relative_to(self._cfg).as_posix(), edited

    def _checked(self, upload: Upload, new: dict[str, str], folder: Path, check: Check | None) -> Stored:
        cfg = self._cfg
        replaced = [name for name in new if (cfg / name).exists()]
        edited = [name for name in new if name in replaced and upload.after is not None and not _is_bundle(name)]
        for name, digest in upload.expected.items():
            if name not in replaced or _digest(cfg / name) != digest:
                raise UploadConflictError(f"{name} is not what it was when you looked; look again, then replace it")
        if not upload.replace and (there := [name for name in replaced if name not in edited]):
            raise UploadConflictError(f"there already: {', '.join(there)}; rename, or say that it is to be replaced")
        for name in new:
            other = None if _is_bundle(name) else find_file(cfg, Path(name).stem)
            if other is not None and other != cfg / name:
                place = other.relative_to(cfg)
                raise UploadConflictError(
                    f"the workflow {Path(name).stem!r} is defined by {place} already; use that name"
                )
        preview = folder / "preview"
        shutil.copytree(cfg, preview, symlinks=True, ignore=_without_staging, copy_function=_link)
        for name in new:
            (preview / name).parent.mkdir(exist_ok=True)
            (preview / name).unlink(missing_ok=True)
            _link(str(folder / "new" / name), str(preview / name))
        workflows = sorted(Path(name).stem for name in new if not _is_bundle(name))
        self._check_faults(preview, new, workflows, check)
        return Stored(workflows=workflows, files=new, replaced=replaced)

    def _check_faults(self, preview: Path, new: Iterable[str], workflows: Sequence[str], check: Check | None) -> None:
        """
        Check what would be; faults that other files have today are not the caller's.

        :raises FaultsError: there are others.
        """
        before = {
            (fault.file, fault.key, fault.message)
            for fault in _relative(inspect_folder(self._cfg, look_into_bundles=False), self._cfg)
        }
        found = inspect_folder(preview, look_into_bundles=True, check=check, bundles_of=workflows)
        names = set(new)
        wrong = [
            fault
            for fault in _relative(found, preview)
            if fault.file in names or (fault.file, fault.key, fault.message) not in before
        ]
        if wrong:
            texts = {name: (preview / name).read_text("utf-8", "replace") for name in names if not _is_bundle(name)}
            raise FaultsError(wrong, texts)


def _config_name(name: str) -> str:
    """Return the name of a workflow file, checked: no path, an ending that is read, a name that can be."""
    stem, dot, suffix = name.rpartition(".")
    if dot + suffix not in SUFFIXES or stem == DEFAULTS_STEM:
        raise ConfigError(f"{name!r} is no workflow file; expected NAME{', NAME'.join(SUFFIXES)}")
    check_workflow_name(stem)
    return name


def _bundle_name(name: str) -> str:
    if not _BUNDLE.fullmatch(name) or name.startswith("."):
        raise ConfigError(f"{name!r} is no name of a bundle; expected NAME.zip, with letters, digits, _, . and - alone")
    return name


def _is_bundle(name: str) -> bool:
    return name.startswith(f"{FOLDER}/")


def _relative(faults: Iterable[Fault], folder: Path) -> list[Fault]:
    """Name files as a caller knows them, who has never seen this machine's folders."""
    prefix = f"{folder}{os.sep}"
    return [
        replace(
            fault,
            file=fault.file.removeprefix(prefix),
            message=fault.message.replace(prefix, "").replace(str(folder), "cfg"),
        )
        for fault in faults
    ]


def _without_staging(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".")]


def _link(source: str, target: str) -> None:
    """Let a second name stand for a file: a whole folder is laid out without copying it."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as file, target.open("xb") as out:
        while data := file.read(1024 * 1024):
            digest.update(data)
            out.write(data)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _write(target: Path, data: bytes) -> str:
    with target.open("xb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    _sync(target.parent)
    return hashlib.sha256(data).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
