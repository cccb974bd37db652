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
from batchy_provider.config.reader import Reader, find_file
from batchy_provider.dag_factory.isolated import check_classes
from batchy_provider.exceptions import ConfigError
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.error_codes import ServerError
from batchy_provider.plugin.error_responses import documented
from batchy_provider.plugin.security import Caller, changing
from batchy_provider.services.upload_requests import AfterJob, Authorize, Stored, Upload, UploadedFile
from batchy_provider.services.uploads import MAX_FILES

router = APIRouter(tags=["uploads"])

_TEXTS = ("after_workflow", "after_job", "job", "input", "independent", "replace", "expected", "why")
_WORDS = {"true": True, "false": False, "": False}
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "config": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "Workflow files, YAML or JSON; each file's name is its workflow's.",
                        },
                        "bundle": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "Zips with a script.sh, stored in the folder bundles.",
                        },
                        "after_workflow": {
                            "type": "string",
                            "description": "With one bundle and no config: the workflow that gets it as a job.",
                        },
                        "after_job": {"type": "string", "description": "The job of it that the new one follows."},
                        "job": {"type": "string", "description": "Name of the new job; else that of the bundle."},
                        "input": {"type": "boolean", "description": "The new job reads the other's output."},
                        "independent": {"type": "boolean", "description": "It runs whatever became of the other."},
                        "replace": {"type": "boolean", "description": "Replace what is there."},
                        "expected": {
                            "type": "string",
                            "description": "NAME=SHA256 of a file as you know it; a changed one is not replaced. "
                            "Several are separated by commas.",
                        },
                        "why": {"type": "string", "maxLength": 2000, "description": "A reason, for the record."},
                    },
                }
            }
        },
    }
}

_REFUSED = documented(
    {
        411: "The request does not tell its length.",
        413: "It is larger than `[batchy] upload_max_mb`.",
        415: "It is no `multipart/form-data`.",
        507: "The disk of the workflow files does not take it.",
    }
)


def uploader(caller: Annotated[Caller, Depends(changing)]) -> Caller:
    """Return a caller who may upload."""
    if not conf.getboolean("batchy", "allow_upload", fallback=False):
        raise ServerError(403, "upload_off", "uploads are switched off here; [batchy] allow_upload switches them on")
    if not caller.may_upload():
        raise HTTPException(403, f"{caller.actor.by} may not upload: that needs the right to change the configuration")
    return caller


Uploader = Annotated[Caller, Depends(uploader)]


@router.post(
    "/uploads", operation_id="upload", summary="Store files", status_code=201, openapi_extra=_FORM, responses=_REFUSED
)
async def upload(request: Request, caller: Uploader, services: Deployment) -> Stored:
    """
    Check workflow files and bundles, also against what is there, and store all of them or nothing.

    422 with each fault and its line when any is wrong, 409 when a file is there already, 413 when it is too much.
    """
    async with _received(request, caller) as (wanted, why):
        return await run_in_threadpool(
            services.uploads.store,
            wanted,
            actor=caller.actor,
            why=why,
            check=_check_classes,
            authorize=_authorized(caller),
        )


@router.post(
    "/uploads/check", operation_id="check_upload", summary="Only check files", openapi_extra=_FORM, responses=_REFUSED
)
async def check_upload(request: Request, caller: Uploader, services: Deployment) -> Stored:
    """Do all checks of an upload and store nothing; returns what would be stored."""
    async with _received(request, caller) as (wanted, _):
        return await run_in_threadpool(
            services.uploads.check, wanted, check=_check_classes, authorize=_authorized(caller)
        )


@contextlib.asynccontextmanager
async def _received(request: Request, caller: Caller) -> AsyncIterator[tuple[Upload, str | None]]:
    """Read the form, once it is known who asks and how much comes."""
    most = conf.getint("batchy", "upload_max_mb", fallback=256) * MIB
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or len(length) > 20:
        raise HTTPException(411, "an upload must tell its length (Content-Length)")
    if int(length) > most:
        told = f"an upload has at most {most:,} bytes ([batchy] upload_max_mb); this one has {int(length):,}"
        raise HTTPException(413, told)
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(415, "an upload is a form: multipart/form-data")
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=100)
    except ClientDisconnect as error:
        raise HTTPException(400, "the upload was broken off") from error
    except (FormParserError, MultiPartException, LookupError, ValueError) as error:
        # What Starlette leaves to its callers, other things in each version: no boundary, a charset that is none.
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
    """Return what checks the rights for all that an upload changes."""

    def authorize(workflows: Collection[str], others: Collection[str]) -> None:
        for name in workflows:
            caller.must("PUT", name)
        for name in others:
            if not caller.may("PUT", name):
                whose = f"the workflow {name!r} runs" if caller.may("GET", name) else "a workflow of others runs"
                raise HTTPException(
                    403, f"{caller.actor.by} may not change a bundle that {whose} too; give yours another name"
                )

    return authorize


def _read(form: FormData, scratch: Path) -> Upload:
    unknown = set(form) - {"config", "bundle", *_TEXTS}
    if unknown:
        known = ", ".join(("config", "bundle", *_TEXTS))
        raise ConfigError(f"the form has no field {min(unknown)!r}; its fields are {known}")
    after = None
    workflow, job = _text(form, "after_workflow"), _text(form, "after_job")
    if workflow or job:
        if not (workflow and job):
            raise ConfigError("after_workflow and after_job go together")
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
            raise ConfigError(f"{field} is a file, with a name; it came as text")
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
        raise ConfigError(f"{field} is text; it came as a file")
    return value or None


def _flag(form: FormData, field: str) -> bool:
    text = (_text(form, field) or "").lower()
    if text not in _WORDS:
        raise ConfigError(f"{field} is {text!r}; expected true or false")
    return _WORDS[text]


_OPTIONS = (("core", "default_timezone"), ("core", "max_map_length"), ("batchy", "redis_conn_id"))
"""Options of Airflow that matter to a DAG; none of them is a secret."""


def _check_classes(folder: Path, workflows: Sequence[str]) -> list[Diagnostic]:
    """Build DAGs as the DAG processor would, where only that shows what is wrong; never in this process."""
    reader = Reader(folder)
    paths = {name: find_file(folder, name) for name in workflows}
    found = {name: reader.read(path)[0] for name, path in paths.items() if path is not None}
    named = [name for name, workflow in found.items() if workflow is not None and workflow.uses_classes]
    given = {(section, name): conf.get(section, name, fallback=None) for section, name in _OPTIONS}
    env = {f"AIRFLOW__{section}__{name}".upper(): value for (section, name), value in given.items() if value}
    return check_classes(folder, named, env=env)
