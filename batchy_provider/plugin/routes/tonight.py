# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Route of a night: the actual and the expected runs of all workflows on one time axis."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter

from batchy_provider.plugin.airflow_services import ServicesDep
from batchy_provider.plugin.disclosure import Disclosure, DisclosureDep
from batchy_provider.plugin.routes.workflows import Offset
from batchy_provider.plugin.security import AnyCaller
from batchy_provider.services.timeline_views import Timeline, TimelineRowView, TimelineRunView
from batchy_provider.services.tonight_answers import MOST_ROWS

router = APIRouter(tags=["plan"])
_form = TypeAdapter(Timeline)  # ten times as fast as FastAPI's own way, which checks each value again


@router.get(
    "/tonight",
    operation_id="get_tonight",
    summary="The actual and the expected runs of all workflows in a night",
    response_model=Timeline,
    responses={304: {"description": "Nothing has changed but the time, since the answer with this `ETag`."}},
)
def get_tonight(
    request: Request,
    caller: AnyCaller,
    services: ServicesDep,
    disclosure: DisclosureDep,
    from_date: Annotated[
        str | None,
        Query(
            max_length=100,
            description="Where the span starts (inclusive), ISO 8601; without an offset in `timezone`. Default: 18:00 "
            "of yesterday.",
        ),
    ] = None,
    to_date: Annotated[
        str | None,
        Query(
            max_length=100,
            description="Where the span ends (exclusive), ISO 8601; without an offset in `timezone`. Default: 12:00 of "
            "tomorrow.",
        ),
    ] = None,
    timezone: Annotated[str, Query(max_length=100, description="IANA name of your timezone.")] = "UTC",
    workflow: Annotated[
        list[str] | None, Query(max_length=1000, description="Only these workflows. Default: all that you may read.")
    ] = None,
    search: Annotated[
        str | None, Query(max_length=200, description="Part of a name, description, owner or tag.")
    ] = None,
    problems: Annotated[bool, Query(description="Only workflows with problems.")] = False,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="How many workflows at most.")] = MOST_ROWS,
    offset: Offset = 0,
) -> Response:
    """Return the runs of the workflows that you may read, those with problems first.

    Runs before now are batches; those after now come from the plan. What is not known is null, never a guess. A
    workflow with more than 24 runs in the span has `bands`: many runs in a row with the same result, as one.
    """
    span = services.tonight.span(from_date, to_date, timezone=timezone)
    found = services.tonight.show(
        span,
        caller.readable(services.workflows.all_names()),
        workflows=workflow or (),
        search=search,
        problems=problems,
        limit=limit,
        offset=offset,
    )
    shown = replace(found, items=[_visible(row, disclosure) for row in found.items])
    # The time alone is no news: a page that asks again gets 304 then.
    etag = f'"{hashlib.sha256(_form.dump_json(replace(shown, now=""))).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(_form.dump_json(shown), media_type="application/json", headers=headers)


def _visible(row: TimelineRowView, disclosure: Disclosure) -> TimelineRowView:
    """Return a row without the names of workflows that the caller may not read."""
    return replace(
        row,
        hold=None if row.hold is None else disclosure.hold(row.hold),
        warning=None if row.warning is None else disclosure.warning(row.warning),
        runs=[_run(run, row.workflow, disclosure) for run in row.runs],
    )


def _run(run: TimelineRunView, workflow: str, disclosure: Disclosure) -> TimelineRunView:
    known = {*disclosure.names({step.workflow for step in run.critical_path})}
    noted = [] if run.acknowledged is None else disclosure.notes([run.acknowledged], own=(workflow, *run.failed_jobs))
    return replace(
        run,
        run=None if run.run is None else disclosure.text(run.run, own=(workflow,)),
        waits_for=disclosure.names(run.waits_for),
        critical_path=[step for step in run.critical_path if step.workflow in known],
        acknowledged=noted[0] if noted else None,
    )
