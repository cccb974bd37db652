# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Batches that only the archive has: they are in the list of a workflow that is named, marked, at their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from history_site import Site

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.exceptions import ArchiveError
from batchy_provider.hooks.deployment import archive_files
from batchy_provider.services import archived_history
from batchy_provider.services.archive import ArchiveService


@pytest.fixture
def site(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path)


@pytest.fixture
def files(site: Site, tmp_path: Path) -> ArchiveFiles:
    found = archive_files(str(tmp_path / "results"))
    site.archive = lambda: found
    return found


def nights(site: Site, files: ArchiveFiles, *, failed: tuple[int, ...] = (), keep: int = 2) -> list[int]:
    """Six nights of which Redis has the newest only, and the archive all; newest first."""
    made = [
        site.batch("sales", f"{day} 02:00", f"{day} 03:00", failed=("load",) if day in failed else (), run=f"run {day}")
        for day in range(21, 27)
    ]
    ArchiveService(site.store, files).write("sales")
    site.store.prune("sales", keep=keep)
    return made[::-1]


def test_the_archive_is_asked_for_what_redis_lacks(site: Site, files: ArchiveFiles, redis_client: redis.Redis) -> None:
    first = site.batch("sales", "27 02:00", "27 03:00")
    site.batch("sales", "28 02:00", "28 03:00")
    ArchiveService(site.store, files).write("sales")
    assert site.find(workflows=["sales"]).archived == []
    redis_client.zrem("sales:history", first)
    (lacks,) = site.find(workflows=["sales"]).archived
    assert (lacks.workflow, lacks.batches, lacks.newest) == ("sales", 1, first)
    assert site.find(workflows=["sales"], from_date="2026-11-28").archived == []
    assert site.find().archived == []


def test_an_archive_that_cannot_be_read_hides_nothing(site: Site) -> None:
    def broken() -> ArchiveFiles:
        raise ArchiveError("the result store is gone")

    site.archive = broken
    batch_id = site.batch("sales", "27 02:00", "27 03:00")
    found = site.find(workflows=["sales"])
    assert ([each.batch_id for each in found.batches], found.archive_error) == ([batch_id], "the result store is gone")


def test_they_follow_those_in_redis_and_are_marked(site: Site, files: ArchiveFiles) -> None:
    made = nights(site, files, failed=(22,))
    found = site.find(workflows=["sales"])
    assert [row.batch_id for row in found.rows] == made
    assert [row.archived for row in found.rows] == [False] * 2 + [True] * 4
    assert (found.next, found.archived[0].batches, found.archived[0].newest) == (None, 4, made[2])
    row = found.rows[4]
    assert (row.status, row.run, row.failed_jobs) == ("failed", "run 22", ["load"])
    assert (row.started, row.batch_end) == ("2026-11-22T02:00:00.000000", "2026-11-22T03:00:00.000000")
    assert row.to_date == "2026-11-22T02:00:00.000000"
    assert site.ids() == [("sales", each) for each in made[:2]], (
        "without the name of a workflow, the archive is not read"
    )


def test_conditions_hold_for_them_too(site: Site, files: ArchiveFiles) -> None:
    made = nights(site, files, failed=(22, 26))

    def ids(**given: object) -> list[int]:
        return [each for _, each in site.ids(workflows=["sales"], **given)]

    assert ids(status="failed") == [made[0], made[4]]
    assert ids(status="failed", job="extract") == []
    assert ids(search="run 23") == [made[3]]
    assert ids(search=str(made[5])) == [made[5]]
    assert ids(from_date="2026-11-22T02:30", to_date="2026-11-23T02:30") == [made[3], made[4]]
    assert ids(kind="history") == []
    assert ids(acknowledged=False) == [made[0], made[4]]
    assert ids(acknowledged=True) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 50])
@pytest.mark.parametrize("lost", [False, True])
def test_each_page_size_gives_the_same_list(
    site: Site,
    files: ArchiveFiles,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    lost: bool,
) -> None:
    """Also where Redis has lost newer batches than it has kept, and where a page reads only a few files."""
    made = nights(site, files, keep=3)
    if lost:
        for each in (made[0], made[2]):
            redis_client.zrem("sales:history", each)
    monkeypatch.setattr(archived_history, "MOST_READ", 2)
    seen: list[int] = []
    below = None
    for _ in range(20):
        found = site.find(workflows=["sales"], limit=limit, below=below)
        assert len(found.batches) <= limit
        seen += [each.batch_id for each in found.batches]
        if (below := found.next) is None:
            break
    assert seen == made
    assert [each.batches for each in found.archived] == [5 if lost else 3]


def test_an_archived_file_that_is_damaged_hides_nothing_of_redis(site: Site, files: ArchiveFiles) -> None:
    made = nights(site, files)
    (Path(files.url.removeprefix("file://")) / "sales" / "batches" / f"{made[3]}.json").write_text("{")
    found = site.find(workflows=["sales"])
    assert [each.batch_id for each in found.batches] == made[:2]
    assert str(made[3]) in (found.archive_error or "")
