# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes to upload workflow files and bundles. They are off unless ``[batchy] allow_upload`` is set."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

from airflow.configuration import conf
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from batchy_provider.bundles.limits import MIB
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.dag_factory.isolated import check_classes
from batchy_provider.exceptions import ConfigError
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.error_codes import ServerError
from batchy_provider.plugin.error_responses import documented
from batchy_provider.plugin.security import Caller, changing
from batchy_provider.services.upload_requests import AfterJob, Authorize, Stored, Upload, UploadedFile
from batchy_provider.services.uploads import MAX_FILES

router = APIRouter(tags=["uploads"])

_BOOLEANS = {"true": True, "false": False, "": False}
_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_FILE_FIELDS: dict[str, Any] = {
    "config": {
        **_FILES,
        "description": "Workflow files, YAML or JSON. The name of a file is the name of its workflow.",
    },
    "bundle": {
        **_FILES,
        "description": "Zip files that contain a script.sh. They are stored in the folder bundles.",
    },
}
_TEXT_FIELDS: dict[str, Any] = {
    "after_workflow": {
        "type": "string",
        "description": "With one bundle and no config: the workflow that gets the bundle as a new job.",
    },
    "after_job": {"type": "string", "description": "The job of this workflow after which the new job runs."},
    "job": {"type": "string", "description": "Name of the new job; by default the name of the bundle."},
    "input": {"type": "boolean", "description": "The new job reads the output of that job."},
    "independent": {"type": "boolean", "description": "The new job runs even if that job fails or is skipped."},
    "replace": {"type": "boolean", "description": "Replace existing files."},
    "expected": {
        "type": "string",
        "description": "NAME=SHA256 of a file that you replace. If somebody has changed the file, nothing is stored. "
        "Separate several by commas.",
    },
    "why": {"type": "string", "maxLength": 2000, "description": "A reason, for the audit log."},
}
_FORM: dict[str, Any] = {"type": "object", "properties": {**_FILE_FIELDS, **_TEXT_FIELDS}}
_OPENAPI: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}},
}
_UPLOAD_ERRORS = documented(
    {
        411: "The request has no Content-Length.",
        413: "The upload is larger than `[batchy] upload_max_mb`.",
        415: "The request is not `multipart/form-data`.",
        507: "The disk with the workflow files has no space for it.",
    }
)


def uploader(caller: Annotated[Caller, Depends(changing)]) -> Caller:
    """Return the caller, if uploads are on and the caller may upload."""
    if not conf.getboolean("batchy", "allow_upload", fallback=False):
        raise ServerError(403, "upload_off", "uploads are off; the option [batchy] allow_upload turns them on")
    if not caller.may_upload():
        raise HTTPException(
            403, f"{caller.actor.by} may not upload: this needs the permission to change Airflow's configuration"
        )
    return caller


Uploader = Annotated[Caller, Depends(uploader)]


@router.post(
    "/uploads",
    operation_id="upload",
    summary="Store files",
    status_code=201,
    openapi_extra=_OPENAPI,
    responses=_UPLOAD_ERRORS,
)
async def upload(request: Request, caller: Uploader, services: ServicesDep) -> Stored:
    """Check workflow files and bundles, together with the existing files, and store all of them or none.

    422 with each error and its line if a file is not valid, 409 if a file exists, 413 if the upload is too large.
    """
    async with _receive(request, caller) as (wanted, why):
        return await run_in_threadpool(
            services.uploads.store,
            wanted,
            actor=caller.actor,
            why=why,
            check=_check_classes,
            authorize=_authorized(caller),
        )


@router.post(
    "/uploads/check",
    operation_id="check_upload",
    summary="Check files without storing them",
    openapi_extra=_OPENAPI,
    responses=_UPLOAD_ERRORS,
)
async def check_upload(request: Request, caller: Uploader, services: ServicesDep) -> Stored:
    """Do all checks of an upload, and return what would be stored. Store nothing."""
    async with _receive(request, caller) as (wanted, _):
        return await run_in_threadpool(
            services.uploads.check, wanted, check=_check_classes, authorize=_authorized(caller)
        )


@contextlib.asynccontextmanager
async def _receive(request: Request, caller: Caller) -> AsyncIterator[tuple[Upload, str | None]]:
    """Check the size of an upload, read its form into temporary files, and check the permissions for it."""
    most = conf.getint("batchy", "upload_max_mb", fallback=256) * MIB
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or len(length) > 20:
        raise HTTPException(411, "an upload needs a Content-Length")
    if int(length) > most:
        detail = f"an upload has at most {most:,} bytes ([batchy] upload_max_mb); this one has {int(length):,}"
        raise HTTPException(413, detail)
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(415, "an upload must be a form: multipart/form-data")
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=100)
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection was closed before the upload was complete") from error
    except (FormParserError, MultiPartException, LookupError, ValueError) as error:
        # Starlette passes these on, others in each version: a form without a boundary, an unknown charset.
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        with tempfile.TemporaryDirectory(prefix="batchy-upload-") as scratch:
            wanted = await run_in_threadpool(_read, form, Path(scratch))
            for file in wanted.configs:
                caller.must("PUT", file.name.rpartition(".")[0])
            if wanted.after is not None:
                caller.must("PUT", wanted.after.workflow)
            yield wanted, _text(form, "why")


def _authorized(caller: Caller) -> Authorize:
    """Return a function that checks the permissions for all workflows that an upload changes."""

    def authorize(workflows: Collection[str], others: Collection[str]) -> None:
        for name in workflows:
            caller.must("PUT", name)
        for name in others:
            if not caller.may("PUT", name):
                which = f"the workflow {name!r}" if caller.may("GET", name) else "another workflow"
                raise HTTPException(
                    403, f"{caller.actor.by} may not change a bundle that {which} runs too; give yours another name"
                )

    return authorize


def _read(form: FormData, scratch: Path) -> Upload:
    unknown = set(form) - set(_FORM["properties"])
    if unknown:
        known = ", ".join(_FORM["properties"])
        raise ConfigError(f"the form has no field {min(unknown)!r}; its fields are {known}")
    after = None
    workflow, job = _text(form, "after_workflow"), _text(form, "after_job")
    if workflow or job:
        if not (workflow and job):
            raise ConfigError("after_workflow and after_job go together: give both or neither")
        after = AfterJob(
            workflow=workflow,
            job=job,
            name=_text(form, "job"),
            takes_input=_flag(form, "input"),
            independent=_flag(form, "independent"),
        )
    parts = [part.strip() for part in (_text(form, "expected") or "").split(",") if part.strip()]
    expected = dict(part.partition("=")[::2] for part in parts)
    return Upload(
        configs=_files(form, "config", scratch),
        bundles=_files(form, "bundle", scratch),
        after=after,
        replace=_flag(form, "replace"),
        expected=expected,
    )


def _files(form: FormData, field: str, scratch: Path) -> list[UploadedFile]:
    found = []
    for number, part in enumerate(form.getlist(field)):
        if not isinstance(part, UploadFile):
            raise ConfigError(f"{field} must be a file with a name, not text")
        path = scratch / f"{field}-{number}"
        with path.open("xb") as out:
            shutil.copyfileobj(part.file, out, MIB)
        found.append(UploadedFile(part.filename or "", path))
    return found


def _text(form: FormData, field: str) -> str | None:
    if len(form.getlist(field)) > 1:
        raise ConfigError(f"{field} is given more than once")
    value = form.get(field)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"{field} must be text, not a file")
    return value or None


def _flag(form: FormData, field: str) -> bool:
    text = (_text(form, field) or "").lower()
    if text not in _BOOLEANS:
        raise ConfigError(f"{field} is {text!r}; expected true or false")
    return _BOOLEANS[text]


_OPTIONS = (("core", "default_timezone"), ("core", "max_map_length"), ("batchy", "redis_conn_id"))
"""Airflow options that change what a DAG is. None of them is a secret."""


def _check_classes(folder: Path, workflows: Sequence[str]) -> list[Diagnostic]:
    """Build DAGs that use classes of the site in another process: only that shows the errors of those classes."""
    given = {(section, name): conf.get(section, name, fallback=None) for section, name in _OPTIONS}
    env = {f"AIRFLOW__{section}__{name}".upper(): value for (section, name), value in given.items() if value}
    return check_classes(folder, workflows, env=env)
