# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of the archive: show which batches Redis lacks, and restore them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from batchy_provider.exceptions import LostStateError, UnknownWorkflowError
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.error_codes import ServerError
from batchy_provider.plugin.routes.workflows import ChangeRequest
from batchy_provider.plugin.security import AnyCaller, WorkflowEditor, WorkflowName, WorkflowReader
from batchy_provider.services.archive import ArchiveService, Comparison, Restored, Written

router = APIRouter(tags=["archive"])


class ArchiveView(BaseModel):
    """A comparison of Redis with the archive, for one workflow. It counts closed batches only."""

    workflow: str
    relation: str = Field(
        description="How the state in Redis compares with the archived state: `in step`, `lost`, `behind`, `conflict`, "
        "`archive behind`, `not archived`, `unknown` to both; `not kept` if this Airflow has no archive."
    )
    is_lost: bool = Field(default=False, description="Redis lacks data that the archive has.")
    redis: str | None = Field(default=None, description="What Redis has, as a sentence for people.")
    archive: str | None = Field(default=None, description="What the archive has, as a sentence for people.")
    missing: list[int] = Field(default=[], description="Batches that Redis lacks, or does not have as closed.")
    unarchived: list[int] = Field(default=[], description="Batches that only Redis has.")
    in_the_way: str | None = Field(default=None, description="An open batch in Redis that restoring would overwrite.")
    unfinished: list[int] = Field(
        default=[],
        description="Batches whose jobs ran, but whose end is not known. Their windows are loaded again.",
    )

    @classmethod
    def of(cls, found: Comparison, unfinished: list[int]) -> ArchiveView:
        """Make the view of a comparison."""
        return cls(**found.data(), is_lost=found.is_lost, unfinished=unfinished)


class LostWorkflows(BaseModel):
    """Workflows with a file whose state only the archive has."""

    workflows: list[str]


class RestoreRequest(ChangeRequest):
    """What to restore."""

    history: bool = Field(
        default=True, description="Restore the history too, not only the state that decides the next windows."
    )
    overwrite: bool = Field(
        default=False, description="Overwrite a state in Redis that does not follow the archived one."
    )


class ArchiveRequest(ChangeRequest):
    """What to write into the archive."""

    overwrite: bool = Field(default=False, description="Overwrite an archived state that Redis does not know.")


def get_archive_service(services: ServicesDep) -> ArchiveService | None:
    """Return the archive; None if this Airflow has none."""
    return services.archive


OptionalArchive = Annotated[ArchiveService | None, Depends(get_archive_service)]


def require_archive(found: OptionalArchive) -> ArchiveService:
    """Return the archive.

    :raises ServerError: 404, if this Airflow has none.
    """
    if found is None:
        raise ServerError(
            404, "archive_off", "this Airflow has no archive of closed batches: the option [batchy] archive is off"
        )
    return found


RequiredArchive = Annotated[ArchiveService, Depends(require_archive)]


@router.get("/archive/lost", operation_id="list_lost_workflows", summary="Workflows that Redis has lost")
def list_lost(caller: AnyCaller, services: ServicesDep, archive: OptionalArchive) -> LostWorkflows:
    """Return workflows with a file whose state only the archive has, for example after Redis lost its data."""
    if archive is None:
        return LostWorkflows(workflows=[])
    found = services.workflows.search(None, only=caller.readable(services.workflows.all_names()))
    return LostWorkflows(workflows=archive.archived({each.workflow for each in found if not each.in_redis}))


@router.get("/workflows/{workflow}/archive", operation_id="get_archive", summary="Compare with the archive")
def get_archive(
    workflow: WorkflowName,
    caller: WorkflowReader,
    services: ServicesDep,
    disclosure: DisclosureDep,
    archive: OptionalArchive,
) -> ArchiveView:
    """Compare the state of a workflow in Redis with its archive in the result store."""
    if archive is None:
        return ArchiveView(workflow=workflow, relation="not kept")
    try:
        found = archive.compare(workflow)
    except UnknownWorkflowError:
        services.workflows.get(workflow)  # 404 for a name that has no file either
        return ArchiveView(workflow=workflow, relation="unknown")
    view = ArchiveView.of(found, archive.unfinished(found))
    texts = {name: getattr(view, name) for name in ("redis", "archive", "in_the_way")}
    return view.model_copy(
        update={name: disclosure.text(text, own=(workflow,)) for name, text in texts.items() if text}
    )


@router.post("/workflows/{workflow}/restore", operation_id="restore_workflow", summary="Restore what Redis lost")
def restore_workflow(
    workflow: WorkflowName, caller: WorkflowEditor, archive: RequiredArchive, body: RestoreRequest | None = None
) -> Restored:
    """Restore what Redis lacks. Newer data in Redis does not change. 409 if `overwrite` is needed."""
    request = body or RestoreRequest()
    done = archive.restore(
        workflow, actor=caller.actor, history=request.history, overwrite=request.overwrite, why=request.why
    )
    if done.refused is not None:
        raise LostStateError(f"workflow {workflow!r} was not restored: {done.refused}")
    return done


@router.post("/workflows/{workflow}/archive", operation_id="write_archive", summary="Archive what the archive lacks")
def write_archive(
    workflow: WorkflowName, caller: WorkflowEditor, archive: RequiredArchive, body: ArchiveRequest | None = None
) -> Written:
    """Archive closed batches and state that only Redis has. 409 if `overwrite` is needed."""
    done = archive.write(workflow, overwrite=bool(body and body.overwrite))
    if done.refused is not None:
        raise LostStateError(f"the state of workflow {workflow!r} was not written: {done.refused}")
    return done
