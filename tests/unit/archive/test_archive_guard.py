# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive guard: which openings are refused because Redis has lost state, and which are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from archived import WORKFLOW, Site, everything, fail_with, fall_back_to, pass_id_of, snapshot, windows

from batchy_provider.core.revision import MAX_TOKENS
from batchy_provider.core.values import Actor, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import (
    ArchiveUnavailableError,
    BatchyError,
    LostStateError,
)

OPS = Actor("ops", "cli")


def test_an_empty_redis_opens_no_batch_and_the_message_describes_the_archived_state(site: Site, tmp_path: Path) -> None:
    batch = site.night()
    site.client.flushall()
    with pytest.raises(LostStateError) as refused:
        site.opened("next")
    text = str(refused.value)
    assert "does not know this workflow" in text
    assert f"batch {batch.batch_id}, success, loaded up to {batch.record.to_date}" in text
    assert (tmp_path / "results").as_uri() in text
    assert "`batchy restore sales`" in text
    assert "`batchy load sales`" in text
    assert everything(site.client) == {}


def test_an_opening_without_a_configuration_is_refused_too(site: Site) -> None:
    site.night()
    site.client.flushall()
    with pytest.raises(LostStateError):
        site.store.open(WORKFLOW, OpenRequest(holder=Holder(by="ops")))


def test_a_replica_that_lagged_opens_no_batch_until_it_is_restored(site: Site) -> None:
    site.night()
    saved = snapshot(site)
    lost = [site.night().batch_id, site.night().batch_id]
    before, expected = site.dump(), windows(site.opened("next"))
    fall_back_to(site, saved)
    with pytest.raises(LostStateError, match=r"has an older state .* Redis has lost the batches in between"):
        site.opened("next")
    found = site.service.compare(WORKFLOW)
    assert (found.relation, found.missing) == ("behind", tuple(lost))
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.dump() == before
    assert {name: start for name, (start, _) in windows(site.opened("next")).items()} == {
        name: start for name, (start, _) in expected.items()
    }


def test_a_replica_that_lagged_by_more_changes_than_redis_remembers_is_behind(site: Site) -> None:
    site.night()
    saved = snapshot(site)
    for number in range(MAX_TOKENS + 1):
        site.store.set_window(WORKFLOW, f"2026-01-01T00:{number:02}", by="ops")
    fall_back_to(site, saved)
    assert site.service.compare(WORKFLOW).relation == "behind"


def test_an_archive_that_missed_many_changes_is_behind_and_refuses_nothing(failing: Site) -> None:
    failing.night()
    fail_with(failing, OSError("gone"))
    for number in range(MAX_TOKENS + 1):
        failing.store.set_window(WORKFLOW, f"2026-01-01T00:{number:02}", jobs=["load"], by="ops")
    fail_with(failing, None)
    assert failing.service.compare(WORKFLOW).relation == "archive behind"
    failing.night()
    assert failing.service.compare(WORKFLOW).relation == "in step"


def test_a_lost_opening_refuses_nothing_and_its_window_is_loaded_by_the_next_batch(site: Site) -> None:
    """Its window is taken again, as that of any batch that was never closed, and what it loaded is not counted."""
    pass_id_of(site.night())
    saved = snapshot(site)
    lost = site.opened("killed")
    fall_back_to(site, saved)
    with pytest.raises(BatchyError, match=str(lost.batch_id)):
        site.closed(lost)
    pass_id_of(lost)
    assert windows(site.opened("next"))["extract"][0] == windows(lost)["extract"][0]


@pytest.mark.parametrize(
    "asked", [{}, {"window": Window(from_date="2026-03-05", to_date="2026-03-17")}], ids=["next", "its own"]
)
def test_a_lost_takeover_refuses_nothing_and_can_be_repeated(site: Site, asked: dict[str, Any]) -> None:
    """The batch that is open in what came back is taken over once more, with its window, by the next opening."""
    site.night()
    first = site.opened("killed")
    saved = snapshot(site)
    lost = site.opened("taker", if_open="take_over", **asked)
    fall_back_to(site, saved)
    with pytest.raises(BatchyError, match=str(lost.batch_id)):
        site.closed(lost)
    pass_id_of(lost)
    again = site.opened("taker", if_open="take_over", **asked)
    assert windows(again)["extract"][0] == windows(lost)["extract"][0]
    fall_back_to(site, saved)
    assert windows(site.opened("other", if_open="take_over"))["extract"][0] == windows(first)["extract"][0]


def test_load_replaces_the_archived_state_on_purpose(site: Site) -> None:
    pass_id_of(site.night())
    site.client.flushall()
    site.store.load(WorkflowConfig(name=WORKFLOW, jobs=site.jobs), by="ops", why="start again")
    assert windows(site.opened())["extract"][0].startswith("1776")
    assert site.service.compare(WORKFLOW).relation == "in step"
    # The history may come back all the same.
    assert site.service.restore(WORKFLOW, actor=OPS).batches == 1
    assert site.store.status(WORKFLOW).batch.status == "open"


def test_set_window_for_all_jobs_replaces_the_archived_state_on_purpose(site: Site) -> None:
    site.night()
    saved = snapshot(site)
    site.night()
    fall_back_to(site, saved)
    site.store.set_window(WORKFLOW, "2026-01-01", by="ops")
    assert windows(site.opened())["extract"][0] == "2026-01-01T00:00:00.000000"


@pytest.mark.parametrize("back", ["2026-01-01", "2026-11-01"])
def test_a_watermark_that_people_move_back_refuses_nothing(site: Site, back: str) -> None:
    site.night()
    site.store.set_window(WORKFLOW, back, by="ops")
    assert windows(site.opened())["extract"][0].startswith(back)


def test_a_workflow_that_is_older_than_the_archive_opens(redis_client: redis.Redis, tmp_path: Path) -> None:
    site = Site(redis_client, tmp_path)
    kept_by = site.store.archive
    site.store.archive = None
    old = site.night()
    site.store.archive = kept_by
    new = site.night()
    assert windows(new)["extract"][0] == old.record.to_date
    assert site.files.batch_ids(WORKFLOW) == [new.batch_id]
    assert site.service.write(WORKFLOW).batches == 1
    assert site.files.batch_ids(WORKFLOW) == [old.batch_id, new.batch_id]
    assert site.warnings == []


def test_a_workflow_of_the_original_server_opens(site: Site) -> None:
    job = {"status": "success", "batch_start": "2026-01-01T00:00:00.000001", "from_date": "2025-12-31T00:00:00.000001"}
    site.client.hset(WORKFLOW, "extract", json.dumps(job | {"batch_id": 1767225600}))
    assert windows(site.night())["extract"][0] == "2026-01-01T00:00:00.000001"
    site.opened()


def test_a_known_workflow_opens_without_the_archive_and_warns(failing: Site) -> None:
    failing.night()
    fail_with(failing, PermissionError("Access Denied"))
    failing.night()
    assert "cannot be read to see whether Redis has lost something" in failing.warnings[0]
    assert "The batch opens with the state in Redis" in failing.warnings[0]


def test_an_unknown_workflow_opens_no_batch_without_the_archive(failing: Site) -> None:
    failing.night()
    failing.client.flushall()
    fail_with(failing, PermissionError("Access Denied"))
    with pytest.raises(
        ArchiveUnavailableError, match=r"cannot be read to see whether Redis has lost it: .*Access Denied"
    ):
        failing.opened()
    assert everything(failing.client) == {}
    failing.store.load(WorkflowConfig(name=WORKFLOW, jobs=failing.jobs), by="ops")
    failing.opened()


def test_an_unknown_workflow_opens_no_batch_if_its_file_is_damaged(site: Site, tmp_path: Path) -> None:
    site.night()
    site.client.flushall()
    (tmp_path / "results/.archive/sales/latest.json").write_text('{"version": 1, "workf')
    with pytest.raises(ArchiveUnavailableError, match=r"latest.json cannot be read"):
        site.opened()
