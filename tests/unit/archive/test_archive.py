# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive beside Redis: what is kept, what an opening is refused for, and what brings it back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from archived import WORKFLOW, Site, everything

from batchy_provider.archive.archive_files import ArchiveFiles
from batchy_provider.archive.archiver import Archiver
from batchy_provider.core.revision import MAX_TOKENS
from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import (
    ArchiveError,
    ArchiveUnavailableError,
    BatchyError,
    LostStateError,
    NotOpenError,
    UnknownWorkflowError,
)
from batchy_provider.state import deliveries
from batchy_provider.state.store import Store

OPS = Actor("ops", "cli")


@pytest.fixture
def site(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path / "results")


class Refusing(ArchiveFiles):
    """A result store that can be cut off, as by a full disk or a key that was withdrawn."""

    fault: Exception | None = None

    def _path(self, workflow: str, name: str) -> Any:
        if self.fault is not None:
            raise self.fault
        return super()._path(workflow, name)


@pytest.fixture
def refusing(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path, files=Refusing(str(tmp_path / "results")))


def cut_off(site: Site, fault: Exception | None) -> None:
    assert isinstance(site.files, Refusing)
    site.files.fault = fault


def windows(batch: Any) -> dict[str, tuple[str, str]]:
    return {name: (job["from_date"], job["batch_start"]) for name, job in batch.jobs.items()}


def after(batch: Any) -> None:
    """Let the clock pass the id of a batch: what comes next has another, also where Redis does not know it any more."""
    while time.time() < batch.batch_id + 1:
        time.sleep(0.05)


def fall_back(site: Site, saved: dict[bytes, bytes]) -> None:
    """Let Redis come back as it was saved."""
    site.client.flushall()
    for key, value in saved.items():
        site.client.restore(key, 0, value)


# -- what is kept ---------------------------------------------------------------------------------------------------


def test_every_closed_batch_is_kept_with_all_that_its_fields_hold(site: Site) -> None:
    odd = {"big": 12345678901234567890123, "none": None, "list": [], "ü": "\udc80é", "nested": {"b": 1, "a": [1.5]}}
    site.jobs["extract"] |= odd
    batch = site.night(run="first")
    (kept,) = site.files.read_batches(WORKFLOW, [batch.batch_id])
    assert {name: kept.jobs["extract"][name] for name in odd} == odd
    assert list(kept.jobs["extract"]["nested"]) == ["b", "a"]
    assert (kept.status, kept.run, kept.day) == ("success", "first", batch.record.day)
    assert kept.config["timezone"] == "Europe/Paris"
    assert site.told == []


def test_a_file_has_its_version_and_one_of_a_newer_package_is_refused(site: Site, tmp_path: Path) -> None:
    site.night()
    path = tmp_path / "results/.archive/sales/latest.json"
    data = json.loads(path.read_text())
    assert data["version"] == 1
    path.write_text(json.dumps(data | {"version": 2}))
    with pytest.raises(ArchiveError, match=r"latest.json was written by a newer batchy_provider .* upgrade"):
        site.files.latest(WORKFLOW)


def test_a_batch_that_was_taken_over_is_kept_when_the_next_one_is_closed(site: Site) -> None:
    first = site.opened("killed")
    second = site.opened("next", if_open="take_over")
    assert site.files.batches(WORKFLOW) == []
    site.closed(second)
    kept = site.files.read_batches(WORKFLOW, site.files.batches(WORKFLOW))
    assert [(each.batch_id, each.status) for each in kept] == [(first.batch_id, "failed"), (second.batch_id, "success")]


def test_backfills_are_kept_and_the_live_state_is_not_touched_by_them(site: Site) -> None:
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
def test_what_people_change_comes_back_too(site: Site, change: Callable[[Site], Any]) -> None:
    site.night()
    change(site)
    before = site.dump()
    changes = site.store.status(WORKFLOW).changes
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.dump() == before
    assert [*site.store.status(WORKFLOW).changes][1:] == [*changes]
    assert "restored the state and 1 batch from" in site.store.status(WORKFLOW).changes[0].what


def test_nothing_is_kept_or_counted_without_an_archive(redis_client: redis.Redis, tmp_path: Path) -> None:
    site = Site(redis_client, tmp_path)
    site.store = Store(redis_client)
    site.night()
    assert not (tmp_path / ".archive").exists()
    assert b"archive" not in redis_client.hgetall("sales:meta")


def test_what_a_program_without_archive_closes_is_written_by_the_next_that_has_one(site: Site) -> None:
    site.night()
    plain = Store(site.client)
    batch = plain.open(WORKFLOW, OpenRequest(holder=Holder(by="a script")))
    plain.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))
    assert batch.batch_id not in site.files.batches(WORKFLOW)
    site.night()
    assert batch.batch_id in site.files.batches(WORKFLOW)
    assert site.service.standing(WORKFLOW).unarchived == ()


# -- an archive that cannot be written ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), PermissionError(13, "Access Denied")])
def test_a_closing_does_not_fail_for_the_archive_and_the_next_one_catches_up(
    refusing: Site, fault: Exception, tmp_path: Path
) -> None:
    first = refusing.night()
    batch = refusing.opened()
    cut_off(refusing, fault)
    assert refusing.closed(batch).status == "success"
    assert len(refusing.told) == 1
    assert f"sales: not all is in the archive: the archive {(tmp_path / 'results').as_uri()}" in refusing.told[0]
    assert str(fault) in refusing.told[0]
    assert refusing.store.status(WORKFLOW).batch.status == "success"  # type: ignore[union-attr]
    cut_off(refusing, None)
    assert refusing.service.standing(WORKFLOW).relation == "archive behind"
    last = refusing.night()
    assert refusing.files.batches(WORKFLOW) == [first.batch_id, batch.batch_id, last.batch_id]
    assert "pending" not in json.loads(refusing.client.hget("sales:meta", "archive"))
    assert len(refusing.told) == 1


def test_a_closing_that_is_done_again_writes_what_the_first_try_did_not(refusing: Site) -> None:
    batch = refusing.opened()
    cut_off(refusing, OSError("gone"))
    refusing.closed(batch)
    cut_off(refusing, None)
    refusing.closed(batch)
    assert refusing.files.batches(WORKFLOW) == [batch.batch_id]
    assert refusing.service.standing(WORKFLOW).relation == "in step"


def test_a_store_that_hangs_delays_a_closing_by_so_much_and_no_more(redis_client: redis.Redis, tmp_path: Path) -> None:
    hanging = threading.Event()

    class Hanging(ArchiveFiles):
        def _write(self, workflow: str, name: str, data: Any) -> None:
            hanging.wait()
            super()._write(workflow, name, data)

    site = Site(redis_client, tmp_path)
    site.store.archive = Archiver(lambda: Hanging(str(tmp_path)), tell=site.told.append, seconds=0.2)
    try:
        assert site.night().status == "success"
        assert "has not answered for 0.2 seconds" in site.told[0]
    finally:
        hanging.set()


def test_a_writer_that_was_overtaken_does_not_leave_its_older_state(site: Site) -> None:
    """Two changes at the same time: the slower writer writes last, sees it, and writes the newer state anew."""
    site.night()
    other = Site(site.client, "", files=site.files)

    class Slow:
        url = site.files.url
        is_first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(site.files, name)

        def put_latest(self, state: Any) -> None:
            if self.is_first:
                self.is_first = False
                other.store.set_window(WORKFLOW, "2026-02-02", by="ops")
            site.files.put_latest(state)

    site.store.archive = Archiver(Slow, tell=site.told.append)  # type: ignore[arg-type]
    site.store.set_window(WORKFLOW, "2026-01-01", by="ops")
    kept = site.files.latest(WORKFLOW)
    assert kept is not None
    assert kept.watermark == "2026-02-02T00:00:00.000000"
    assert site.service.standing(WORKFLOW).relation == "in step"


def test_a_writer_that_finds_a_newer_state_of_the_same_line_leaves_it(site: Site) -> None:
    site.night()
    other = Site(site.client, "", files=site.files)

    class Slow:
        url = site.files.url
        is_first = True

        def __getattr__(self, name: str) -> Any:
            return getattr(site.files, name)

        def latest(self, workflow: str) -> Any:
            if self.is_first:
                self.is_first = False
                other.store.set_window(WORKFLOW, "2026-02-02", by="ops")
            return site.files.latest(workflow)

    site.store.archive = Archiver(Slow, tell=site.told.append)  # type: ignore[arg-type]
    site.store.set_window(WORKFLOW, "2026-01-01", jobs=["load"], by="ops")
    kept = site.files.latest(WORKFLOW)
    assert kept is not None
    assert kept.watermark == "2026-02-02T00:00:00.000000"
    assert site.told == []


def test_what_redis_acknowledged_before_it_died_is_in_the_archive(own_server: Any, tmp_path: Path) -> None:
    with own_server.client() as client:
        site = Site(client, tmp_path)

        class Dying:
            url = site.files.url

            def __getattr__(self, name: str) -> Any:
                return getattr(site.files, name)

            def latest(self, workflow: str) -> Any:
                own_server.kill()
                return site.files.latest(workflow)

        site.night()
        batch = site.opened()
        site.store.archive = Archiver(Dying, tell=site.told.append)  # type: ignore[arg-type]
        assert site.closed(batch).status == "success"
        own_server.start()
        with pytest.raises(LostStateError, match=f"batch {batch.batch_id}, success"):
            Site(client, tmp_path).opened("next")
        assert site.service.restore(WORKFLOW, actor=OPS).batches == 2
        assert windows(Site(client, tmp_path).opened("next"))["extract"][0] == batch.record.to_date


def test_the_list_of_what_is_to_be_written_is_cleared_of_what_was_pruned(refusing: Site) -> None:
    refusing.night()
    cut_off(refusing, OSError("gone"))
    for _ in range(3):
        refusing.night()
    refusing.store.prune(WORKFLOW, keep=1)
    cut_off(refusing, None)
    refusing.night()
    assert len(refusing.files.batches(WORKFLOW)) == 3
    assert refusing.service.standing(WORKFLOW).missing == ()


# -- what an opening is refused for ---------------------------------------------------------------------------------


def test_a_redis_that_came_back_empty_opens_nothing_and_says_what_there_was(site: Site, tmp_path: Path) -> None:
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


def test_nothing_is_opened_either_where_only_redis_is_asked_for_the_configuration(site: Site) -> None:
    site.night()
    site.client.flushall()
    with pytest.raises(LostStateError):
        site.store.open(WORKFLOW, OpenRequest(holder=Holder(by="ops")))


def test_a_replica_that_lagged_opens_nothing_until_it_is_restored(site: Site) -> None:
    site.night()
    saved = {key: site.client.dump(key) for key in site.client.scan_iter()}
    lost = [site.night().batch_id, site.night().batch_id]
    before, expected = site.dump(), windows(site.opened("next"))
    fall_back(site, saved)
    with pytest.raises(LostStateError, match=r"has an older state .* Redis has lost what came between"):
        site.opened("next")
    found = site.service.standing(WORKFLOW)
    assert (found.relation, found.missing) == ("behind", tuple(lost))
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.dump() == before
    assert {name: start for name, (start, _) in windows(site.opened("next")).items()} == {
        name: start for name, (start, _) in expected.items()
    }


def test_a_replica_that_lagged_by_more_changes_than_redis_remembers_is_known_to_be_behind(site: Site) -> None:
    site.night()
    saved = {key: site.client.dump(key) for key in site.client.scan_iter()}
    for number in range(MAX_TOKENS + 1):
        site.store.set_window(WORKFLOW, f"2026-01-01T00:{number:02}", by="ops")
    fall_back(site, saved)
    assert site.service.standing(WORKFLOW).relation == "behind"


def test_an_archive_that_was_away_for_long_is_no_alarm(refusing: Site) -> None:
    refusing.night()
    cut_off(refusing, OSError("gone"))
    for number in range(MAX_TOKENS + 1):
        refusing.store.set_window(WORKFLOW, f"2026-01-01T00:{number:02}", jobs=["load"], by="ops")
    cut_off(refusing, None)
    assert refusing.service.standing(WORKFLOW).relation == "archive behind"
    refusing.night()
    assert refusing.service.standing(WORKFLOW).relation == "in step"


def test_two_databases_are_told_apart_however_far_one_has_come(
    redis_client: redis.Redis, tmp_path: Path, own_server: Any
) -> None:
    far = Site(redis_client, tmp_path / "a")
    far.night()
    for number in range(MAX_TOKENS + 1):
        far.store.set_window(WORKFLOW, f"2026-01-01T00:{number:02}", by="ops")
    with own_server.client() as client:
        near = Site(client, tmp_path / "b")
        near.night()
        assert Site(client, "", files=far.files).service.standing(WORKFLOW).relation == "conflict"
        assert Site(redis_client, "", files=near.files).service.standing(WORKFLOW).relation == "conflict"


def test_a_lost_opening_alone_is_no_loss(site: Site) -> None:
    """Its window is taken again, as that of any batch that was never closed, and what it loaded is not counted."""
    after(site.night())
    saved = {key: site.client.dump(key) for key in site.client.scan_iter()}
    lost = site.opened("killed")
    fall_back(site, saved)
    with pytest.raises(BatchyError, match=str(lost.batch_id)):
        site.closed(lost)
    after(lost)
    assert windows(site.opened("next"))["extract"][0] == windows(lost)["extract"][0]


@pytest.mark.parametrize(
    "asked", [{}, {"window": Window(from_date="2026-03-05", to_date="2026-03-17")}], ids=["next", "its own"]
)
def test_a_lost_taking_over_is_no_loss_either(site: Site, asked: dict[str, Any]) -> None:
    """The batch that is open in what came back is taken over once more, with its window, by whoever comes."""
    site.night()
    first = site.opened("killed")
    saved = {key: site.client.dump(key) for key in site.client.scan_iter()}
    lost = site.opened("taker", if_open="take_over", **asked)
    fall_back(site, saved)
    with pytest.raises(BatchyError, match=str(lost.batch_id)):
        site.closed(lost)
    after(lost)
    again = site.opened("taker", if_open="take_over", **asked)
    assert windows(again)["extract"][0] == windows(lost)["extract"][0]
    fall_back(site, saved)
    assert windows(site.opened("other", if_open="take_over"))["extract"][0] == windows(first)["extract"][0]


def test_what_is_done_on_purpose_passes_and_is_the_archives_state_from_then_on(site: Site) -> None:
    after(site.night())
    site.client.flushall()
    site.store.load(WorkflowConfig(name=WORKFLOW, jobs=site.jobs), by="ops", why="begin anew")
    assert windows(site.opened())["extract"][0].startswith("1776")
    assert site.service.standing(WORKFLOW).relation == "in step"
    # The history may come back all the same.
    assert site.service.restore(WORKFLOW, actor=OPS).batches == 1
    assert site.store.status(WORKFLOW).batch.status == "open"  # type: ignore[union-attr]


def test_a_window_that_is_set_for_all_jobs_is_on_purpose_too(site: Site) -> None:
    site.night()
    saved = {key: site.client.dump(key) for key in site.client.scan_iter()}
    site.night()
    fall_back(site, saved)
    site.store.set_window(WORKFLOW, "2026-01-01", by="ops")
    assert windows(site.opened())["extract"][0] == "2026-01-01T00:00:00.000000"


@pytest.mark.parametrize("back", ["2026-01-01", "2026-11-01"])
def test_a_watermark_that_people_move_back_is_no_alarm(site: Site, back: str) -> None:
    site.night()
    site.store.set_window(WORKFLOW, back, by="ops")
    assert windows(site.opened())["extract"][0].startswith(back)


def test_a_workflow_from_before_there_was_an_archive_is_no_alarm(redis_client: redis.Redis, tmp_path: Path) -> None:
    site = Site(redis_client, tmp_path)
    kept_by = site.store.archive
    site.store.archive = None
    old = site.night()
    site.store.archive = kept_by
    new = site.night()
    assert windows(new)["extract"][0] == old.record.to_date
    assert site.files.batches(WORKFLOW) == [new.batch_id]
    assert site.service.write(WORKFLOW).batches == 1
    assert site.files.batches(WORKFLOW) == [old.batch_id, new.batch_id]
    assert site.told == []


def test_a_workflow_of_the_original_server_is_no_alarm(site: Site) -> None:
    job = {"status": "success", "batch_start": "2026-01-01T00:00:00.000001", "from_date": "2025-12-31T00:00:00.000001"}
    site.client.hset(WORKFLOW, "extract", json.dumps(job | {"batch_id": 1767225600}))
    assert windows(site.night())["extract"][0] == "2026-01-01T00:00:00.000001"
    site.opened()


def test_two_databases_on_one_result_store_are_told_apart(
    redis_client: redis.Redis, tmp_path: Path, own_server: Any
) -> None:
    Site(redis_client, tmp_path).night()
    with own_server.client() as client:
        other = Site(client, tmp_path)
        with pytest.raises(LostStateError) as refused:
            other.opened()
        assert "was written from another Redis" in str(refused.value)
        assert "Two Redis databases need two result stores" in str(refused.value)


def test_one_that_went_on_without_the_archive_is_in_conflict_and_neither_is_written_over(site: Site) -> None:
    site.night()
    site.client.flushall()
    plain = Store(site.client)
    config = WorkflowConfig(name=WORKFLOW, jobs=site.jobs)
    batch = plain.open(WORKFLOW, OpenRequest(config=config))
    kept = site.files.latest(WORKFLOW)
    with pytest.raises(LostStateError, match="went on without it"):
        site.opened("next", if_open="take_over")
    site.closed(batch)
    assert "it is not written over" in site.told[-1]
    assert site.files.latest(WORKFLOW) == kept
    before = site.dump()
    refused = site.service.restore(WORKFLOW, actor=OPS).refused
    assert refused is not None
    assert "--overwrite" in refused
    assert site.dump() == before
    assert site.service.write(WORKFLOW).refused is not None
    assert site.files.latest(WORKFLOW) == kept


def test_a_conflict_ends_by_taking_the_archives_state(site: Site) -> None:
    first = site.night()
    site.client.flushall()
    after(first)
    batch = Store(site.client).open(WORKFLOW, OpenRequest(config=WorkflowConfig(name=WORKFLOW, jobs=site.jobs)))
    done = site.service.restore(WORKFLOW, actor=OPS, overwrite=True)
    assert (done.state, done.batches, done.was) == (True, 1, "conflict")
    with pytest.raises(NotOpenError):
        site.closed(batch)
    assert windows(site.night())["extract"][0] == first.record.to_date
    assert batch.batch_id in site.files.batches(WORKFLOW)


def test_a_conflict_ends_by_keeping_what_redis_has(site: Site) -> None:
    site.night()
    site.client.flushall()
    plain = Store(site.client)
    batch = plain.open(WORKFLOW, OpenRequest(config=WorkflowConfig(name=WORKFLOW, jobs=site.jobs)))
    plain.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))
    assert site.service.write(WORKFLOW, overwrite=True).state
    assert site.service.standing(WORKFLOW).relation == "in step"
    assert windows(site.opened())["extract"][0] == batch.record.to_date


def test_a_batch_that_was_opened_on_a_state_that_is_too_old_is_in_the_way(refusing: Site) -> None:
    refusing.night()
    saved = {key: refusing.client.dump(key) for key in refusing.client.scan_iter()}
    after(refusing.night())
    refusing.client.flushall()
    for key, value in saved.items():
        refusing.client.restore(key, 0, value)
    cut_off(refusing, OSError("gone"))
    running = refusing.opened("running")
    assert "cannot be asked whether Redis has lost something" in refusing.told[-1]
    cut_off(refusing, None)
    refused = refusing.service.restore(WORKFLOW, actor=OPS).refused
    assert refused is not None
    assert f"batch {running.batch_id} is open, by run 'running'" in refused
    refusing.service.restore(WORKFLOW, actor=OPS, overwrite=True)
    assert refusing.service.standing(WORKFLOW).relation == "in step"
    assert refusing.store.batch(WORKFLOW, running.batch_id).status == "failed"


# -- an archive that cannot be asked --------------------------------------------------------------------------------


def test_nights_go_on_without_the_archive_and_say_so(refusing: Site) -> None:
    refusing.night()
    cut_off(refusing, PermissionError("Access Denied"))
    refusing.night()
    assert "cannot be asked whether Redis has lost something" in refusing.told[0]
    assert "Opened by what Redis has" in refusing.told[0]


def test_a_workflow_that_redis_does_not_know_waits_until_the_archive_can_be_asked(refusing: Site) -> None:
    refusing.night()
    refusing.client.flushall()
    cut_off(refusing, PermissionError("Access Denied"))
    with pytest.raises(ArchiveUnavailableError, match=r"cannot be asked whether it ought to: .*Access Denied"):
        refusing.opened()
    assert everything(refusing.client) == {}
    refusing.store.load(WorkflowConfig(name=WORKFLOW, jobs=refusing.jobs), by="ops")
    refusing.opened()


def test_a_damaged_file_is_no_reason_to_load_all_again(site: Site, tmp_path: Path) -> None:
    site.night()
    site.client.flushall()
    (tmp_path / "results/.archive/sales/latest.json").write_text('{"version": 1, "workf')
    with pytest.raises(ArchiveUnavailableError, match=r"latest.json cannot be read"):
        site.opened()


# -- restored -------------------------------------------------------------------------------------------------------


def test_an_empty_redis_is_as_it_was_after_restoring(site: Site) -> None:
    for number in range(3):
        site.night(run=f"night {number}")
    site.night("failed", run="night 3")
    site.night(run="b", window=Window(from_date="2026-01-01", to_date="2026-01-02"), backfill=True, day="2026-01-01")
    before, expected = site.dump(), windows(site.opened("next"))
    site.client.flushall()
    done = site.service.restore(WORKFLOW, actor=OPS, why="the disk was gone")
    assert (done.was, done.state, done.batches) == ("lost", True, 5)
    assert site.dump() == before
    again = site.service.restore(WORKFLOW, actor=OPS)
    assert (again.state, again.batches) == (False, 0)
    assert {name: start for name, (start, _) in windows(site.opened("next")).items()} == {
        name: start for name, (start, _) in expected.items()
    }


def test_a_cleared_run_finds_its_own_batch_after_restoring(site: Site) -> None:
    site.night(run="first")
    second = site.night(run="second")
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    again = site.opened("second")
    assert windows(again) == windows(second)
    assert again.record.reason.startswith(f"window of batch {second.batch_id} again")


def test_the_state_may_come_first_and_the_history_while_nights_run(site: Site) -> None:
    for _ in range(3):
        site.night()
    site.client.flushall()
    first = site.service.restore(WORKFLOW, actor=OPS, history=False)
    assert (first.state, first.batches) == (True, 0)
    site.night()
    assert len(site.service.standing(WORKFLOW).missing) == 3
    assert site.service.restore(WORKFLOW, actor=OPS).batches == 3
    assert site.store.count(WORKFLOW) == 4


def test_what_was_pruned_does_not_come_back_but_its_runs_and_days_do(site: Site) -> None:
    for number in range(4):
        site.night(run=f"night {number}")
    runs, days = site.client.hgetall("sales:runs"), site.client.hgetall("sales:days")
    site.store.prune(WORKFLOW, keep=2)
    assert site.service.standing(WORKFLOW).missing == (), "what was pruned is not lost"
    assert site.service.prune(WORKFLOW) == 2
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.store.count(WORKFLOW) == 2
    assert site.client.hgetall("sales:runs") == runs
    assert site.client.hgetall("sales:days") == days


def test_a_batch_that_was_open_when_a_job_was_switched_off_can_still_be_closed(site: Site) -> None:
    site.night()
    batch = site.opened("running")
    site.store.disable(WORKFLOW, "load", by="ops")
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    assert site.store.batch_of_run(WORKFLOW, "running").batch_id == batch.batch_id  # type: ignore[union-attr]
    assert site.closed(batch).status == "success"


def test_a_watch_does_not_tell_of_old_batches_when_they_come_back(site: Site) -> None:
    site.night()
    site.client.flushall()
    subscription = deliveries.Subscription(workflow=WORKFLOW, outside_only=False)
    assert deliveries.lease(Store(site.client).backend, subscription, "trigger") == []
    site.service.restore(WORKFLOW, actor=OPS)
    assert deliveries.lease(Store(site.client).backend, subscription, "trigger") == []
    batch = site.night()
    assert [each.batch_id for each in deliveries.lease(Store(site.client).backend, subscription, "trigger")] == [
        batch.batch_id
    ]


def test_waits_are_woken_when_a_workflow_comes_back(site: Site) -> None:
    site.night()
    site.client.flushall()
    with site.client.pubsub() as heard:
        heard.subscribe("batchy:events")
        heard.get_message(timeout=5)
        site.service.restore(WORKFLOW, actor=OPS)
        message = heard.get_message(timeout=5)
    assert message is not None
    assert json.loads(message["data"])["event"] == "restore"


def test_a_workflow_that_neither_knows_is_an_error(site: Site) -> None:
    with pytest.raises(UnknownWorkflowError, match="in neither Redis nor the archive"):
        site.service.standing("salse")


def test_a_killed_writer_leaves_no_half_file(site: Site, tmp_path: Path) -> None:
    site.night()
    left = tmp_path / "results/.archive/sales/.new-latest.json-0"
    left.write_text('{"vers')
    assert site.files.latest(WORKFLOW) is not None
    assert site.files.workflows() == [WORKFLOW]
    assert site.files.batches(WORKFLOW) == [site.store.status(WORKFLOW).batch.batch_id]  # type: ignore[union-attr]


def test_restoring_works_on_a_cluster(cluster_url: str, tmp_path: Path) -> None:
    from batchy_provider.state.connections import open_client

    with open_client(cluster_url) as client:
        site = Site(client, tmp_path)  # type: ignore[arg-type]
        batch = site.night()
        for node in client.get_primaries():  # type: ignore[union-attr]
            client.flushall(target_nodes=node)  # type: ignore[call-arg]
        assert site.service.restore(WORKFLOW, actor=OPS).batches == 1
        assert windows(site.opened())["extract"][0] == batch.record.to_date
