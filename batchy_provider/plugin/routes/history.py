# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of the history of all workflows: what ran or failed in some time, by batch or run."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from batchy_provider.config.durations import parse_duration
from batchy_provider.core.vocabulary import Kind
from batchy_provider.exceptions import ConfigError
from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import DisclosureDep
from batchy_provider.plugin.security import AnyCaller
from batchy_provider.services.archived_history import OnlyArchived
from batchy_provider.services.batch_history import MAX_LIMIT, HistoryQuery, HistoryRow

router = APIRouter(tags=["batches"])


class HistoryPage(BaseModel):
    """A page of the batches of all workflows, newest first."""

    items: list[HistoryRow]
    next: str | None = Field(description="Give it as `below` for the next page; null on the last one.")
    unreadable: list[str] = Field(description="Workflows with batches that cannot be read. They may be missing here.")
    archived: list[OnlyArchived] = Field(
        description="With `workflow`, on the last page: how many batches only the archive has. They are in `items`, "
        "each marked as `archived`."
    )
    archive_error: str | None = Field(description="Why the archive cannot be read.")


@router.get("/history", operation_id="search_batches", summary="Search the batches of all workflows")
def search_batches(
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    from_date: Annotated[
        str | None,
        Query(
            alias="from",
            max_length=100,
            description="Only batches that ended at this moment or later, or have not ended; UTC, ISO 8601.",
            examples=["2026-11-29T01:00:00"],
        ),
    ] = None,
    to_date: Annotated[
        str | None,
        Query(
            alias="to",
            max_length=100,
            description="Only batches that were opened before this moment; UTC, ISO 8601.",
            examples=["2026-11-29T04:00:00"],
        ),
    ] = None,
    last: Annotated[
        str | None,
        Query(
            max_length=100,
            description="Only batches that ran in this time up to now; instead of `from`.",
            examples=["12h"],
        ),
    ] = None,
    status: Annotated[
        Literal["open", "success", "failed"] | None, Query(description="Only batches with this status.")
    ] = None,
    kind: Annotated[
        Kind | None, Query(description="`history`: backfills, one-off loads, and old windows that run again.")
    ] = None,
    workflow: Annotated[list[str] | None, Query(max_length=1000, description="Only these workflows.")] = None,
    tag: Annotated[str | None, Query(max_length=200, description="Only workflows whose file has this tag.")] = None,
    owner: Annotated[
        str | None, Query(max_length=200, description="Only workflows whose file names this owner.")
    ] = None,
    job: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Only batches with this job; with the status success or failed, those in which it ended so.",
        ),
    ] = None,
    acknowledged: Annotated[
        bool | None, Query(description="Only failures that somebody has acknowledged, or (`false`) nobody has.")
    ] = None,
    search: Annotated[
        str | None, Query(max_length=500, description="A part of the batch id, the run id or the workflow's name.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many batches at most.")] = 50,
    below: Annotated[str | None, Query(max_length=300, description="`next` of the page before.")] = None,
) -> HistoryPage:
    """Return the batches of all workflows that you may read, newest first. All conditions must hold.

    A batch ran in a time if it was opened before its end, and had not ended before its start. Pages stay stable while
    new batches open: no batch is on two pages, and none is left out. Batches that only the archive has are listed only
    with `workflow`; without it, only Redis is asked.
    """
    query = HistoryQuery(
        workflows=workflow or (),
        tag=tag,
        owner=owner,
        from_date=from_date,
        to_date=to_date,
        last=_length(last),
        status=status,
        kind=kind,
        job=job,
        acknowledged=acknowledged,
        search=search,
    )
    readable = caller.readable({*workflow} if workflow else services.workflows.all_names())
    found = services.history.find(query, limit=limit, below=below, only=readable)
    error = found.archive_error
    return HistoryPage(
        items=[disclosure.history_row(row) for row in found.rows],
        next=found.next,
        unreadable=found.unreadable,
        archived=found.archived,
        archive_error=None if error is None else disclosure.text(error, own=[*query.workflows]),
    )


def _length(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"last: {error}") from None
