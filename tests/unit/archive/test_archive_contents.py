# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the archive stores of a workflow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from archived import WORKFLOW, Site

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archived_batch import ArchivedBatch
from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import (
    ArchiveError,
)
from batchy_provider.state.store import Store

OPS = Actor("ops", "cli")


def test_a_closed_batch_is_archived_with_all_its_fields(site: Site) -> None:
    odd = {"big": 12345678901234567890123, "none": None, "list": [], "ü": "\udc80é", "nested": {"b": 1, "a": [1.5]}}
    site.jobs["extract"] |= odd
    batch = site.night(run="first")
    (kept,) = site.files.read_batches(WORKFLOW, [batch.batch_id])
    assert {name: kept.jobs["extract"].fields[name] for name in odd} == odd
    assert list(kept.jobs["extract"].fields["nested"]) == ["b", "a"]
    assert (kept.status, kept.run, kept.day) == ("success", "first", batch.record.day)
    assert kept.config["timezone"] == "Europe/Paris"
    assert site.warnings == []


def test_a_file_of_a_newer_package_is_refused(site: Site, tmp_path: Path) -> None:
    site.night()
    path = tmp_path / "results/.archive/sales/latest.json"
    data = json.loads(path.read_text())
    assert data["version"] == 1
    path.write_text(json.dumps(data | {"version": 2}))
    with pytest.raises(ArchiveError, match=r"latest.json was written by a newer batchy_provider: .* Upgrade"):
        site.files.latest(WORKFLOW)


@pytest.mark.parametrize("content", ["[]", "{}", '{"version": 1}', '{"version": 1, "live": [], "jobs": []}'])
def test_a_file_that_is_not_of_the_archive_is_an_error_with_a_remedy(site: Site, tmp_path: Path, content: str) -> None:
    batch_id = site.night().batch_id
    folder = tmp_path / "results/.archive/sales"
    reads: dict[str, Callable[[], Any]] = {
        "latest.json": lambda: site.files.latest(WORKFLOW),
        f"batches/{batch_id}.json": lambda: site.files.read_batches(WORKFLOW, [batch_id]),
        "changes.json": lambda: site.files.audit(WORKFLOW),
        "pruned.json": lambda: site.files.pruned(WORKFLOW),
    }
    for name, read in reads.items():
        (folder / name).write_text(content)
        expected = f"{name} cannot be read: a field is missing or has a wrong type. Restore it from a backup, or remove"
        with pytest.raises(ArchiveError, match=expected):
            read()


def test_a_batch_that_was_taken_over_is_archived_when_the_next_one_closes(site: Site) -> None:
    first = site.opened("killed")
    second = site.opened("next", if_open="take_over")
    assert site.files.batch_ids(WORKFLOW) == []
    site.closed(second)
    kept = site.files.read_batches(WORKFLOW, site.files.batch_ids(WORKFLOW))
    assert [(each.batch_id, each.status) for each in kept] == [(first.batch_id, "failed"), (second.batch_id, "success")]


def test_a_backfill_is_archived_and_does_not_change_the_archived_state(site: Site) -> None:
    site.night()
    before = site.files.latest(WORKFLOW)
    window = Window(from_date="2026-01-01", to_date="2026-01-02")
    batch = site.night(run="backfill", window=window, backfill=True, day="2026-01-01")
    assert site.files.latest(WORKFLOW) == before
    assert site.files.read_batches(WORKFLOW, [batch.batch_id])[0].day == "2026-01-01"


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site.store.set_window(WORKFLOW, "2026-01-01", by="ops"),
        lambda site: site.store.set_window(WORKFLOW, "2026-01-01", jobs=["load"], by="ops"),
        lambda site: site.store.disable(WORKFLOW, "load", by="ops"),
        lambda site: site.store.load(WorkflowConfig(name=WORKFLOW, jobs={"new": {}}), by="ops"),
    ],
    ids=["set window", "set window of a job", "disable", "load"],
)
def test_changes_by_people_are_restored(site: Site, change: Callable[[Site], Any]) -> None:
    site.night()
    change(site)
    before = site.dump()
    changes = site.store.status(WORKFLOW).changes
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.dump() == before
    assert [*site.store.status(WORKFLOW).changes][1:] == [*changes]
    assert "restored the state and 1 batch from" in site.store.status(WORKFLOW).changes[0].what


def test_without_an_archive_nothing_is_archived_and_no_revision_is_counted(
    redis_client: redis.Redis, tmp_path: Path
) -> None:
    site = Site(redis_client, tmp_path)
    site.store = Store(redis_client)
    site.night()
    assert not (tmp_path / ".archive").exists()
    assert b"archive" not in redis_client.hgetall("sales:meta")


def test_a_batch_closed_without_an_archive_is_written_by_the_next_closing_with_one(site: Site) -> None:
    site.night()
    plain = Store(site.client)
    batch = plain.open(WORKFLOW, OpenRequest(holder=Holder(by="a script")))
    plain.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))
    assert batch.batch_id not in site.files.batch_ids(WORKFLOW)
    site.night()
    assert batch.batch_id in site.files.batch_ids(WORKFLOW)
    assert site.service.compare(WORKFLOW).unarchived == ()


def test_the_temporary_file_of_a_killed_writer_is_ignored(site: Site, tmp_path: Path) -> None:
    site.night()
    left = tmp_path / "results/.archive/sales/.new-latest.json-0"
    left.write_text('{"vers')
    assert site.files.latest(WORKFLOW) is not None
    assert site.files.workflows() == [WORKFLOW]
    assert site.files.batch_ids(WORKFLOW) == [site.store.status(WORKFLOW).batch.batch_id]


def test_the_files_of_many_batches_are_written_and_removed_side_by_side(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an object store, each file takes a wait."""
    for _ in range(2):
        site.night()
    site.files.remove(WORKFLOW)
    together = threading.Barrier(2, timeout=30)

    def waiting(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if isinstance(args[-1], ArchivedBatch) or "batches" in str(args[-1]):
                together.wait()
            return method(*args)

        return call

    for name in ("put_batch", "_unlink"):
        monkeypatch.setattr(ArchiveFiles, name, waiting(getattr(ArchiveFiles, name)))
    assert site.service.write(WORKFLOW).batches == 2
    assert len(site.files.batch_ids(WORKFLOW)) == 2
    site.files.remove(WORKFLOW)
    assert site.files.workflows() == []
