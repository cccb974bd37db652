# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Holds and notes are in the archive, and come back with a restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from archived import WORKFLOW, FailingFiles, Site, fail_with

from batchy_provider.core.values import Actor
from batchy_provider.exceptions import LostStateError, WorkflowOnHoldError

ANNA = Actor("anna", "cli")


def restore(site: Site) -> None:
    site.service.restore(WORKFLOW, actor=ANNA)


def archived(site: Site, batch: Any, tmp_path: Path) -> dict[str, Any]:
    (path,) = tmp_path.rglob(f"*{batch.batch_id}*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_hold_survives_the_loss_of_redis(site: Site) -> None:
    site.night()
    site.store.hold(WORKFLOW, by=ANNA, why="migration")
    site.client.flushall()
    restore(site)
    with pytest.raises(WorkflowOnHoldError, match="by anna: migration"):
        site.opened("next run")


def test_a_hold_that_was_released_does_not_come_back(site: Site) -> None:
    site.night()
    site.store.hold(WORKFLOW, by=ANNA, why="migration")
    site.store.release(WORKFLOW, by=ANNA)
    site.client.flushall()
    restore(site)
    site.opened("next run")


def test_a_hold_stays_in_the_archive_when_an_ignoring_batch_closes(site: Site) -> None:
    site.night()
    site.store.hold(WORKFLOW, by=ANNA, why="migration")
    site.night(run="by hand", ignore_hold=True)
    site.client.flushall()
    restore(site)
    assert site.store.status(WORKFLOW).hold.why == "migration"


def test_a_state_that_redis_has_lost_is_not_begun_again_by_a_hold(site: Site) -> None:
    from batchy_provider.core.values import WorkflowConfig

    site.night()
    site.client.flushall()
    with pytest.raises(LostStateError):
        site.store.hold(WORKFLOW, by=ANNA, why="migration", config=WorkflowConfig(name=WORKFLOW, jobs=site.jobs))


def test_a_note_on_a_closed_batch_reaches_the_archive_and_comes_back(site: Site, tmp_path: Path) -> None:
    first, last = site.night(run="one"), site.night("failed", run="two")
    site.store.note(WORKFLOW, first.batch_id, "slow", by=ANNA)
    site.store.note(WORKFLOW, last.batch_id, None, by=ANNA, ack=True)
    assert archived(site, first, tmp_path)["record"]["notes"][0]["text"] == "slow"
    before = site.dump()
    site.client.flushall()
    restore(site)
    record = site.store.batch(WORKFLOW, first.batch_id).record
    assert [each.text for each in record.notes] == ["slow"]
    assert site.store.status(WORKFLOW).batch.record.notes[0].ack, "lists read the record of the latest batch"
    assert {key: found for key, found in site.dump().items() if not key.endswith(":meta")} == {
        key: found for key, found in before.items() if not key.endswith(":meta")
    }


def test_a_note_on_an_open_batch_is_archived_with_the_batch(site: Site, tmp_path: Path) -> None:
    batch = site.opened("one")
    site.store.note(WORKFLOW, batch.batch_id, "I watch it", by=ANNA)
    site.closed(batch)
    assert archived(site, batch, tmp_path)["record"]["notes"][0]["text"] == "I watch it"


def test_a_note_that_the_archive_could_not_take_is_archived_by_the_next_closing(failing: Site, tmp_path: Path) -> None:
    assert isinstance(failing.files, FailingFiles)
    batch = failing.night("failed", run="one")
    fail_with(failing, OSError("gone"))
    failing.store.note(WORKFLOW, batch.batch_id, "known", by=ANNA, ack=True)
    fail_with(failing, None)
    assert "notes" not in archived(failing, batch, tmp_path)["record"]
    failing.night(run="two")
    assert archived(failing, batch, tmp_path)["record"]["notes"][0]["ack"] is True
    assert failing.service.compare(WORKFLOW).relation == "in step"
