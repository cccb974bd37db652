# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Routes of the archive: show which batches Redis lacks, and restore them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from batchy_provider.exceptions import LostStateError, UnknownWorkflowError
from batchy_provider.plugin.airflow_services import Deployment
from batchy_provider.plugin.disclosure import Discloses
from batchy_provider.plugin.error_codes import ServerError
from batchy_provider.plugin.routes.workflows import Reason
from batchy_provider.plugin.security import AnyCaller, Editor, Reader, WorkflowName
from batchy_provider.services.archive import ArchiveService, Comparison, Restored, Written

router = APIRouter(tags=["archive"])


class ArchiveView(BaseModel):
    """How Redis stands to the archive, of one workflow; batches are closed ones."""

    workflow: str
    relation: str = Field(
        description="Of the live states: `in step`, `lost`, `behind`, `conflict`, `archive behind`, `not archived`, "
        "`unknown` to both; `not kept` where this Airflow keeps none."
    )
    is_lost: bool = Field(default=False, description="Redis lacks something that the archive has.")
    redis: str | None = Field(default=None, description="What Redis has, in words.")
    archive: str | None = Field(default=None, description="What the archive has, in words.")
    missing: list[int] = Field(default=[], description="Batches that Redis does not know, or not as closed.")
    unarchived: list[int] = Field(default=[], description="Batches that Redis alone has.")
    in_the_way: str | None = Field(
        default=None, description="An open batch in Redis that a restored state would be written over."
    )
    unfinished: list[int] = Field(
        default=[],
        description="Batches whose jobs have run, but of which no end is known: their windows are taken again.",
    )

    @classmethod
    def of(cls, found: Comparison, unfinished: list[int]) -> ArchiveView:
        """Show a comparison."""
        return cls(**found.data(), is_lost=found.is_lost, unfinished=unfinished)


class LostWorkflows(BaseModel):
    """Workflows with a file whose state the archive alone has."""

    workflows: list[str]


class Restoring(Reason):
    """How much is brought back."""

    history: bool = Field(default=True, description="The batches too, not only what the next windows hang on.")
    overwrite: bool = Field(default=False, description="Also over a state that did not come of the archived one.")


class Archiving(Reason):
    """What is written."""

    overwrite: bool = Field(default=False, description="Also over an archived state that Redis knows nothing of.")


def archive_if_kept(services: Deployment) -> ArchiveService | None:
    """Return the archive, if this Airflow keeps one."""
    return services.archive


PerhapsArchive = Annotated[ArchiveService | None, Depends(archive_if_kept)]


def archive(found: PerhapsArchive) -> ArchiveService:
    """
    Return the archive.

    :raises ServerError: 404, if this Airflow keeps none.
    """
    if found is None:
        raise ServerError(
            404, "archive_off", "this Airflow keeps no archive of closed batches: [batchy] archive is off"
        )
    return found


Archive = Annotated[ArchiveService, Depends(archive)]


@router.get("/archive/lost", operation_id="list_lost_workflows", summary="Workflows that Redis has lost")
def list_lost(caller: AnyCaller, services: Deployment, kept: PerhapsArchive) -> LostWorkflows:
    """Return workflows with a file that the archive knows and Redis does not, as after it came back empty."""
    if kept is None:
        return LostWorkflows(workflows=[])
    found = services.workflows.search(None, only=caller.readable(services.workflows.all_names()))
    return LostWorkflows(workflows=kept.archived({each.workflow for each in found if not each.in_redis}))


@router.get("/workflows/{workflow}/archive", operation_id="get_archive", summary="Compare with the archive")
def get_archive(
    workflow: WorkflowName, caller: Reader, services: Deployment, tells: Discloses, kept: PerhapsArchive
) -> ArchiveView:
    """Tell whether Redis lacks something of a workflow that the archive in the result store has."""
    if kept is None:
        return ArchiveView(workflow=workflow, relation="not kept")
    try:
        found = kept.compare(workflow)
    except UnknownWorkflowError:
        services.workflows.get(workflow)  # which has a file, or there is none of that name
        return ArchiveView(workflow=workflow, relation="unknown")
    view = ArchiveView.of(found, kept.unfinished(found))
    texts = {name: getattr(view, name) for name in ("redis", "archive", "in_the_way")}
    return view.model_copy(update={name: tells.text(text, own=(workflow,)) for name, text in texts.items() if text})


@router.post("/workflows/{workflow}/restore", operation_id="restore_workflow", summary="Bring back what Redis lost")
def restore_workflow(workflow: WorkflowName, caller: Editor, kept: Archive, body: Restoring | None = None) -> Restored:
    """Bring back what Redis lacks; what is there is never made older. 409 where `overwrite` is needed."""
    wish = body or Restoring()
    done = kept.restore(workflow, actor=caller.actor, history=wish.history, overwrite=wish.overwrite, why=wish.why)
    if done.refused is not None:
        raise LostStateError(f"workflow {workflow!r} was not restored: {done.refused}")
    return done


@router.post("/workflows/{workflow}/archive", operation_id="write_archive", summary="Write what the archive lacks")
def write_archive(workflow: WorkflowName, caller: Editor, kept: Archive, body: Archiving | None = None) -> Written:
    """Write closed batches and the state that Redis alone has. 409 where `overwrite` is needed."""
    done = kept.write(workflow, overwrite=bool(body and body.overwrite))
    if done.refused is not None:
        raise LostStateError(f"the state of workflow {workflow!r} was not written: {done.refused}")
    return done
