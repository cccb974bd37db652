# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check new workflow files and bundles from outside as a whole, then store them as a whole.

What would be in the folder of workflow files after the upload is laid out in a scratch folder and checked like any
folder. Rights and audit entries go by everything that changes. Then the files are renamed into place under a written
plan: an upload that was killed after its plan was written is finished by the next one, one that was killed before is
removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from batchy_provider.bundles.scratch import locked, remove_tree
from batchy_provider.config.bundle_paths import FOLDER, locate_bundle
from batchy_provider.config.diagnostics import Diagnostic, did_you_mean
from batchy_provider.config.editing import add_job
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import InvalidFilesError, Reader, find_file, find_files, read_workflow
from batchy_provider.core.names import check_job_name, check_workflow_name
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import ConfigError
from batchy_provider.services.answers import Audit
from batchy_provider.services.upload_effects import is_outside, named_bundles, who_runs
from batchy_provider.services.upload_files import (
    UploadConflictError,
    UploadStorageError,
    bundle_name,
    check_target,
    config_name,
    copy_file,
    digest_of,
    lay_out,
    move_in,
    put_in,
    write_file,
)
from batchy_provider.services.upload_requests import AfterJob, Authorize, Check, Stored, Upload

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.config.workflow import Workflow
    from batchy_provider.services.answers import AuditLog

STAGING = ".uploads"
MAX_FILES = 100
_PLAN = "plan.json"


class UploadService:
    """
    Check and store new workflow files and bundles.

    :param catalog: the workflow files.
    :param audit: called with each change after it is made.
    """

    def __init__(self, *, catalog: Catalog, audit: AuditLog) -> None:
        self._catalog = catalog
        self._audit = audit

    def check(self, upload: Upload, *, check: Check | None = None, authorize: Authorize | None = None) -> Stored:
        """
        Do all checks of `store`; nothing is written but a scratch folder, which is removed.

        :raises: as `store`.
        """
        with _storing(), tempfile.TemporaryDirectory(prefix="batchy-check-") as scratch:
            return self._checked(upload, Path(scratch, "new"), Path(scratch, "layout"), check, authorize)[0]

    def store(
        self,
        upload: Upload,
        *,
        actor: Actor,
        why: str | None = None,
        check: Check | None = None,
        authorize: Authorize | None = None,
    ) -> Stored:
        """
        Store an upload.

        :param check: a further check of the sound workflows.
        :param authorize: called with all workflows that change, before any answer about the files.
        :raises ConfigError: it is no upload: a name that cannot be, nothing in it, too much.
        :raises InvalidFilesError: its files have errors, or others would have new ones; it lists each.
        :raises BundleRefusedError: a bundle breaks a rule of unpacking.
        :raises UploadConflictError: what is there is not to be replaced, or is not what the caller expects.
        :raises UploadStorageError: the disk does not take it.
        """
        with _storing(), self._staging() as folder, tempfile.TemporaryDirectory(prefix="batchy-check-") as scratch:
            stored, runs = self._checked(upload, folder / "new", Path(scratch, "layout"), check, authorize)
            whole: dict[str, object] = {"files": stored.files, "replaced": stored.replaced}
            changed: dict[str, dict[str, object]] = dict.fromkeys(stored.workflows, whole)
            for name in stored.also_changed:
                changed[name] = {
                    "files": {file: stored.files[file] for file in runs[name]},
                    "replaced": [file for file in runs[name] if file in stored.replaced],
                }
            audits = [Audit(workflow=n, action="upload", actor=actor, why=why, details=d) for n, d in changed.items()]
            plan = {"files": [*stored.files], "audits": [asdict(each) for each in audits]}
            write_file(folder / _PLAN, json.dumps(plan).encode())
            self._carry_out(folder)
        return stored

    @property
    def _cfg(self) -> Path:
        folder = self._catalog.folder
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder} of workflow files; create it, or set [batchy] cfg_folder")
        return folder.resolve()

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        """A folder on the disk of the workflow files. One upload at a time: what was checked is what is replaced."""
        top = self._cfg / STAGING
        top.mkdir(mode=0o700, exist_ok=True)
        if top.is_symlink():
            raise UploadConflictError(f"{STAGING} is a link, and an upload follows none; remove it")
        with locked(top / "lock"):
            self._tidy(top)
            folder = top / uuid.uuid4().hex
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                remove_tree(folder)

    def _tidy(self, top: Path) -> None:
        """Finish what was planned before its process died, and remove what was not."""
        for folder in top.iterdir():
            if folder.is_dir() and not folder.is_symlink():
                if (folder / _PLAN).exists():
                    self._carry_out(folder)
                remove_tree(folder)

    def _carry_out(self, folder: Path) -> None:
        """Move all files into place and record who did it; once more does no harm."""
        plan = json.loads((folder / _PLAN).read_bytes())
        move_in(plan["files"], folder / "new", self._cfg)
        for each in plan.get("audits", ()):
            self._audit(Audit(**{**each, "actor": Actor(**each["actor"])}))
        (folder / _PLAN).unlink()

    def _checked(
        self, upload: Upload, into: Path, layout: Path, check: Check | None, authorize: Authorize | None
    ) -> tuple[Stored, dict[str, list[str]]]:
        """Do all checks; returns what is stored, and workflow → bundles of the upload that it runs."""
        cfg = self._cfg
        new = self._new_files(upload, into)
        configs = [name for name in new if not _is_bundle(name)]
        workflows = sorted(Path(name).stem for name in configs)
        runs = who_runs(self._catalog.read(), cfg, [name for name in new if _is_bundle(name)])
        others = [name for name in runs if name not in workflows]
        if authorize is not None:
            authorize(workflows, others)
        replaced = [name for name in new if check_target(cfg, name)]
        self._check_conflicts(upload, new, replaced)
        for name in configs:
            self._check_outside(into / name, name)
        lay_out(cfg, layout)
        before = {
            _what(diagnostic) for diagnostic in _relative(inspect_folder(layout, look_into_bundles=False), layout)
        }
        for name in new:
            put_in(layout, name, into / name)
        self._check_diagnostics(layout, new, workflows, before, check)
        self._check_use(layout, new, configs)
        return Stored(workflows=workflows, files=new, replaced=replaced, also_changed=others), runs

    def _new_files(self, upload: Upload, into: Path) -> dict[str, str]:
        """Lay the uploaded files out as they would be stored; returns name → sha256."""
        configs = [(config_name(file.name), file) for file in upload.configs]
        bundles = [(bundle_name(file.name), file) for file in upload.bundles]
        names = [name.casefold() for name, _ in (*configs, *bundles)]
        if len(set(names)) < len(names):
            raise ConfigError("two files of the upload have the same name")
        if not names:
            raise ConfigError("nothing was uploaded: give a workflow file, or a bundle with the job it follows")
        if len(names) > MAX_FILES:
            raise ConfigError(f"an upload has at most {MAX_FILES} files; this one has {len(names)}")
        into.mkdir()
        digests = {}
        named: list[tuple[str, set[str]]] = []
        for name, file in configs:
            target = self._target(name, upload)
            digests[target] = copy_file(file.path, into / target)
            found = named_bundles((into / target).read_bytes(), is_json=target.endswith(".json"))
            named.append((str(PurePath(target).parent), {str(PurePath(each)) for each in found}))
        if upload.after is not None:
            name, text = self._edited(upload.after, upload)
            digests[name] = write_file(into / name, text.encode())
            named = [(str(PurePath(name).parent), {bundle for bundle, _ in bundles})]
        elif not configs:
            raise ConfigError("no job runs the bundle: give a workflow file that names it, or the job it follows")
        for name, file in bundles:
            # Beside each workflow file that names it: there it is looked for.
            folders = {folder for folder, found in named if not found.isdisjoint((name, f"{FOLDER}/{name}"))}
            for folder in sorted(folders or {"."}):
                target = PurePath(folder, FOLDER, name).as_posix()
                digests[target] = copy_file(file.path, into / target)
        return digests

    def _target(self, name: str, upload: Upload) -> str:
        """Return where a workflow file is stored: where the workflow's file is now, or at the top."""
        cfg = self._cfg
        there = find_file(cfg, Path(name).stem)
        if there is None or there == cfg / name:
            return name
        place = there.relative_to(cfg).as_posix()
        if there.name == name and upload.replace:
            return place
        what = "say that it is to be replaced" if there.name == name else "use that name"
        raise UploadConflictError(f"the workflow {Path(name).stem!r} is defined by {place} already; {what}")

    def _edited(self, after: AfterJob, upload: Upload) -> tuple[str, str]:
        """Return the file of an existing workflow with one more job."""
        if upload.configs or len(upload.bundles) != 1:
            raise ConfigError("to run after an existing job, upload one bundle and no workflow file")
        bundle = bundle_name(upload.bundles[0].name)
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

    def _check_conflicts(self, upload: Upload, new: Mapping[str, str], replaced: Collection[str]) -> None:
        for name, digest in upload.expected.items():
            if name not in replaced or digest_of(self._cfg / name) != digest:
                raise UploadConflictError(f"{name} is not what it was when you looked; look again, then replace it")
        edited = [name for name in new if upload.after is not None and not _is_bundle(name)]
        if not upload.replace and (there := [name for name in replaced if name not in edited]):
            raise UploadConflictError(f"there already: {', '.join(there)}; rename, or say that it is to be replaced")

    def _check_outside(self, file: Path, name: str) -> None:
        """
        Refuse bundles of this server's disk outside of the folder; none of them is looked at.

        Those that the workflow's file names today are its author's, and stay.
        """
        place = self._cfg / name
        is_json = name.endswith(".json")
        known = named_bundles(place.read_bytes(), is_json=is_json) if place.is_file() else set()
        for bundle in sorted(named_bundles(file.read_bytes(), is_json=is_json) - known):
            if is_outside(self._cfg, place.parent, bundle):
                raise ConfigError(
                    f"{name}: the bundle {bundle!r} lies outside of the folder of workflow files; an uploaded file "
                    "names bundles in that folder, without links that lead out, or on an object store"
                )

    def _check_diagnostics(
        self,
        layout: Path,
        new: Iterable[str],
        workflows: Sequence[str],
        before: Collection[tuple[str, str, str]],
        check: Check | None,
    ) -> None:
        """
        Check what would be; errors that other files have today are not the caller's.

        :raises InvalidFilesError: there are others.
        """
        names = set(new)
        found = _relative(inspect_folder(layout, look_into_bundles=True, bundles_of=workflows), layout)
        wrong = [diagnostic for diagnostic in found if diagnostic.file in names or _what(diagnostic) not in before]
        if not wrong and check is not None:
            wrong = _relative(check(layout, workflows), layout)
        if wrong:
            texts = {name: (layout / name).read_text("utf-8", "replace") for name in names if not _is_bundle(name)}
            raise InvalidFilesError(wrong, texts)

    def _check_use(self, layout: Path, new: Iterable[str], configs: Sequence[str]) -> None:
        """
        Check that each file is one that is read: all others would be stored without a check.

        :raises ConfigError: one is not.
        """
        files = {path.relative_to(layout).as_posix() for path in find_files(layout)}
        if strange := [name for name in configs if name not in files]:
            raise ConfigError(f"{strange[0]} is not read as a workflow file; choose another name")
        reader = Reader(layout)
        used = {place for name in configs for place in _bundle_places(reader.read(layout / name)[0])}
        for name in new:
            if _is_bundle(name) and str(layout / name) not in used:
                raise ConfigError(
                    f"no job of this upload runs the bundle {PurePath(name).name}: give a workflow file that names it, "
                    "or the job it follows"
                )


def _bundle_places(workflow: Workflow | None) -> Iterator[str]:
    if workflow is not None and workflow.model is not None:
        for job in workflow.model.jobs.values():
            if job.bundle:
                yield os.path.normpath(locate_bundle(workflow.path.parent, job.bundle))


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UploadStorageError(f"the upload cannot be stored: {error.strerror or error}") from error


def _is_bundle(name: str) -> bool:
    return PurePath(name).parent.name == FOLDER


def _what(diagnostic: Diagnostic) -> tuple[str, str, str]:
    # Not the message: the name that it suggests may change with each file.
    return diagnostic.file, diagnostic.key, diagnostic.code


def _relative(diagnostics: Iterable[Diagnostic], folder: Path) -> list[Diagnostic]:
    """Name files as a caller knows them, who has never seen this machine's folders."""
    prefix = f"{folder}{os.sep}"
    return [
        replace(
            diagnostic,
            file=diagnostic.file.removeprefix(prefix),
            message=diagnostic.message.replace(prefix, "").replace(str(folder), "cfg"),
        )
        for diagnostic in diagnostics
    ]
