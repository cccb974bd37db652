# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check and store uploads of workflow files and bundles: all files of an upload, or none.

The service lays out in a scratch folder what the folder of workflow files would be after the upload, and checks that.
Rights and audit entries cover all workflows that change. Then it writes a plan and renames the files into place. If the
process dies after it has written the plan, the next upload finishes it. If it dies before that, the next upload removes
what it left.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from batchy_provider.bundles.scratch import locked, remove_tree
from batchy_provider.config.bundle_paths import FOLDER
from batchy_provider.config.diagnostics import did_you_mean
from batchy_provider.config.editing import add_job
from batchy_provider.config.reader import find_file, read_workflow
from batchy_provider.core.names import check_job_name, check_workflow_name
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import ConfigError
from batchy_provider.services.answers import Audit
from batchy_provider.services.upload_checks import (
    check_all_are_read,
    check_bundle_places,
    check_conflicts,
    check_files,
    known_errors,
)
from batchy_provider.services.upload_effects import named_bundles, who_runs
from batchy_provider.services.upload_files import (
    UploadConflictError,
    UploadStorageError,
    bundle_name,
    check_target,
    config_name,
    copy_file,
    is_bundle,
    lay_out,
    move_in,
    put_in,
    write_file,
)
from batchy_provider.services.upload_requests import AfterJob, Authorize, Check, Stored, Upload

if TYPE_CHECKING:
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.services.answers import AuditLog

STAGING = ".uploads"
MAX_FILES = 100
_PLAN = "plan.json"


class UploadService:
    """Check and store new workflow files and bundles.

    :param catalog: the workflow files.
    :param audit: called with each change after it is made.
    """

    def __init__(self, *, catalog: Catalog, audit: AuditLog) -> None:
        self._catalog = catalog
        self._audit = audit

    def check(self, upload: Upload, *, check: Check | None = None, authorize: Authorize | None = None) -> Stored:
        """Do all checks of `store`, and store nothing.

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
        """Store an upload.

        :param check: a further check of the workflows that use classes of operators.
        :param authorize: called with all workflows that change, before any answer about the files.
        :raises ConfigError: it is not an upload: an invalid name, no files, or too many.
        :raises InvalidFilesError: its files have errors, or cause new errors in other files; it lists each error.
        :raises BundleRefusedError: a bundle breaks a rule of unpacking.
        :raises UploadConflictError: a file exists and must not be replaced, or is not what the caller expects.
        :raises UploadStorageError: the files cannot be written.
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
        """Make a folder on the disk of the workflow files, for one upload.

        Only one upload at a time gets a folder, so that no file changes between its check and its replacement.
        """
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
        """Finish the uploads that have a plan and whose process died; remove those without a plan."""
        for folder in top.iterdir():
            if folder.is_dir() and not folder.is_symlink():
                if (folder / _PLAN).exists():
                    self._carry_out(folder)
                remove_tree(folder)

    def _carry_out(self, folder: Path) -> None:
        """Move all files into place and record who did it. To repeat this does no harm."""
        plan = json.loads((folder / _PLAN).read_bytes())
        move_in(plan["files"], folder / "new", self._cfg)
        for each in plan.get("audits", ()):
            self._audit(Audit(**{**each, "actor": Actor(**each["actor"])}))
        (folder / _PLAN).unlink()

    def _checked(
        self, upload: Upload, into: Path, layout: Path, check: Check | None, authorize: Authorize | None
    ) -> tuple[Stored, dict[str, list[str]]]:
        """Do all checks.

        :returns: what is stored; and workflow → the bundles of the upload that it runs.
        """
        cfg = self._cfg
        new = self._new_files(upload, into)
        configs = [name for name in new if not is_bundle(name)]
        workflows = sorted(Path(name).stem for name in configs)
        runs = who_runs(self._catalog.read(), cfg, [name for name in new if is_bundle(name)])
        also_changed = [name for name in runs if name not in workflows]
        if authorize is not None:
            authorize(workflows, also_changed)
        replaced = [name for name in new if check_target(cfg, name)]
        check_conflicts(cfg, upload, new, replaced)
        for name in configs:
            check_bundle_places(cfg, into / name, name)
        lay_out(cfg, layout)
        known = known_errors(layout)
        for name in new:
            put_in(layout, name, into / name)
        check_files(layout, new, workflows, known, check)
        check_all_are_read(layout, new, configs)
        return Stored(workflows=workflows, files=new, replaced=replaced, also_changed=also_changed), runs

    def _new_files(self, upload: Upload, into: Path) -> dict[str, str]:
        """Lay out the uploaded files as they would be stored.

        :returns: path relative to the folder of workflow files → sha256.
        """
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
            # Beside each workflow file that names it, since workflows look for bundles there.
            folders = {folder for folder, found in named if not found.isdisjoint((name, f"{FOLDER}/{name}"))}
            for folder in sorted(folders or {"."}):
                target = PurePath(folder, FOLDER, name).as_posix()
                digests[target] = copy_file(file.path, into / target)
        return digests

    def _target(self, name: str, upload: Upload) -> str:
        """Return where to store a workflow file: where the file of this workflow is now, or at the top."""
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
        """Add a job to the file of an existing workflow.

        :returns: the file, relative to the folder of workflow files, and its new text.
        """
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


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UploadStorageError(f"the upload cannot be stored: {error.strerror or error}") from error
