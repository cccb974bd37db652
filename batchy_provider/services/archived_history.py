# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the batches that only the archive has, in the order in which the history lists batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from batchy_provider.core.batch_notes import acknowledgement
from batchy_provider.core.batch_search import BatchSearch, Place
from batchy_provider.core.dates import from_unix
from batchy_provider.core.presenters import stored_batch
from batchy_provider.core.values import Batch

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.state.backend import Backend
    from batchy_provider.state.batch_scan import FoundBatches

MOST_READ = 200
"""How many files of the archive one page reads at most."""
_READ_AT_ONCE = 50
_LONG = timedelta(days=2)
"""Batches that were opened so long before the searched time, and still ran in it, are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyArchived:
    """Batches of a workflow that are in the archive, and not in Redis any more.

    :param batches: how many.
    :param newest: the id of the newest one.
    """

    workflow: str
    batches: int
    newest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedBatches:
    """Batches that only the archive has and that match a search.

    :param found: with their places, newest first.
    :param complete_from: older ones were not read; None if all were.
    """

    found: list[tuple[Place, Batch]]
    complete_from: Place | None


def only_archived(files: ArchiveFiles, backend: Backend, workflow: str) -> list[Place]:
    """Return the places of the batches of a workflow that only the archive has, newest first.

    The id of a batch says well enough when it was opened; to know it exactly, each file would have to be read.
    """
    archived = set(files.batch_ids(workflow))
    if not archived:
        return []
    (kept,) = backend.ask(workflow, ("ZRANGE", backend.keys(workflow).history, 0, -1))
    lacking = archived - {int(each) for each in kept}
    return sorted((Place(from_unix(each), each, workflow) for each in lacking), reverse=True)


def archived_batch(files: ArchiveFiles, workflow: str, batch_id: int) -> Batch | None:
    """Return a batch as the archive has it; None if it does not have it.

    :raises ArchiveError: the archive cannot be read.
    """
    found = files.read_batches(workflow, [batch_id])
    return replace(stored_batch(workflow, found[0].stored), archived=True) if found else None


def read_archived(
    files: ArchiveFiles, places: Iterable[Place], search: BatchSearch, *, limit: int, most: int = MOST_READ
) -> ArchivedBatches:
    """Read batches of the archive until there are more than `limit` that match.

    :param places: of the batches that may match, newest first.
    :param most: how many files to read at most.
    """
    left = [place for place in places if _may_match(search, place)]
    found: list[tuple[Place, Batch]] = []
    at = 0
    while at < len(left) and at < most and len(found) <= limit:
        part = left[at : at + min(_READ_AT_ONCE, most - at)]
        found += _read(files, part, search)
        at += len(part)
    return ArchivedBatches(found=found, complete_from=left[at - 1] if 0 < at < len(left) else None)


def _may_match(search: BatchSearch, place: Place) -> bool:
    earliest = datetime.min if search.start is None else search.start - min(_LONG, search.start - datetime.min)
    return search.may_be(place.batch_id) and earliest <= place.started < (search.end or datetime.max)


def _read(files: ArchiveFiles, places: list[Place], search: BatchSearch) -> list[tuple[Place, Batch]]:
    by_workflow: dict[str, list[int]] = {}
    for place in places:
        by_workflow.setdefault(place.workflow, []).append(place.batch_id)
    batches = {
        (name, each.batch_id): stored_batch(name, each.stored)
        for name, ids in by_workflow.items()
        for each in files.read_batches(name, ids)
    }
    pairs = ((place, batches.get((place.workflow, place.batch_id))) for place in places)
    return [
        (place, replace(batch, archived=True))
        for place, batch in pairs
        if batch is not None and _is(search, place, batch)
    ]


def _is(search: BatchSearch, place: Place, batch: Batch) -> bool:
    record = batch.record
    return search.matches(batch) and search.may_match(
        place,
        status=batch.status,
        kind=batch.kind,
        run=None if record is None else record.run,
        is_acknowledged=record is not None and acknowledgement(record.notes) is not None,
    )


def is_between(place: Place, low: Place | None, high: Place | None) -> bool:
    """Tell whether a place is on the page that begins below `high` and ends with `low`."""
    return (low is None or place >= low) and (high is None or place < high)


def merged(found: FoundBatches, archived: ArchivedBatches, limit: int) -> tuple[list[Batch], Place | None]:
    """Return the batches of a page, and the place below which the next page begins; None for the last page.

    One of both lists may end before the page is full. Batches that are older than its end are for the next page.
    """
    both = [*zip(found.places, found.batches, strict=True), *archived.found]
    both.sort(key=lambda pair: pair[0], reverse=True)
    ends = [each for each in (found.below, archived.complete_from) if each is not None]
    end = max(ends, default=None)
    complete = [pair for pair in both if end is None or pair[0] >= end]
    batches = [batch for _, batch in complete[:limit]]
    return batches, complete[limit - 1][0] if len(complete) > limit else end


def totals(places: Sequence[Place], search: BatchSearch) -> list[OnlyArchived]:
    """Return how many of some batches were opened in the searched time, by workflow."""
    start, end = search.start or datetime.min, search.end or datetime.max
    ids: dict[str, list[int]] = {}
    for place in places:
        if start <= place.started < end:
            ids.setdefault(place.workflow, []).append(place.batch_id)
    return [OnlyArchived(workflow=name, batches=len(some), newest=max(some)) for name, some in sorted(ids.items())]
