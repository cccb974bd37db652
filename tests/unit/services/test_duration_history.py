# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long runs took, and the expectation of the next one, of a workflow and of each job."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
import redis

from batchy_provider.core.values import CloseRequest, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.services.composition import Services
from batchy_provider.state.store import Store

START = datetime(2026, 10, 1, 2)


class Nights:
    def __init__(self, client: redis.Redis, cfg: Path) -> None:
        self.now = START
        self.store = Store(client, clock=lambda seconds, micros: self.now)
        self.services = Services(store=lambda: self.store, cfg=cfg)

    def run(self, night: int, *, days: int = 1, extract: float = 600, load: float = 300) -> None:
        """Load a window of some days in a night, with measured jobs."""
        self.now = START + timedelta(days=night)
        request = OpenRequest(
            config=WorkflowConfig(name="sales", jobs={"extract": {}, "load": {}}),
            window=Window(from_date=self.now - timedelta(days=days), to_date=self.now),
            move_watermark=True,
        )
        batch = self.store.open("sales", request)
        self.now += timedelta(seconds=extract + load)
        seconds = {"extract": extract, "load": load}
        self.store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id, seconds=seconds))


@pytest.fixture
def nights(redis_client: redis.Redis, tmp_path: Path) -> Nights:
    return Nights(redis_client, tmp_path)


def test_the_whole_run_and_each_job_have_their_expectation(nights: Nights) -> None:
    for night in range(20):
        nights.run(night, extract=600 + night % 3, load=300 + night % 2)
    found = nights.services.durations.of("sales")
    assert [each.job for each in found.jobs] == ["extract", "load"]
    assert len(found.whole.runs) == 20
    extract, load = found.jobs
    assert extract.p50 is not None
    assert extract.p90 is not None
    assert 598 < extract.p50 <= extract.p90 < 606
    assert load.p50 is not None
    assert 298 < load.p50 < 303
    assert extract.runs[0].window_seconds == 86400
    assert extract.runs[0].start == "2026-10-01T02:00:00.000000"
    assert [note.code for note in extract.notes] == ["window"]
    assert "does not show" in extract.notes[0].text


def test_a_longer_window_is_explained_in_words(nights: Nights) -> None:
    for night in range(0, 60, 4):
        days = 4 if night % 12 == 8 else 1
        nights.run(night, days=days, extract=600 * days, load=30 * days)
    notes = {note.code: note.text for note in nights.services.durations.of("sales").jobs[0].notes}
    assert notes["window"] == "a window that is twice as long takes 2.0 times as long"


def test_too_few_runs_have_no_expectation(nights: Nights) -> None:
    nights.run(0)
    nights.run(1)
    whole = nights.services.durations.of("sales").whole
    assert (whole.p50, whole.p90, len(whole.runs)) == (None, None, 2)
    assert [(note.code, note.text) for note in whole.notes] == [
        ("too_few", "2 successful runs are known; an expectation needs 3")
    ]


def test_a_workflow_without_runs_and_one_that_nobody_knows(nights: Nights) -> None:
    with pytest.raises(UnknownWorkflowError):
        nights.services.durations.of("sales")
    config = WorkflowConfig(name="sales", jobs={"load": {}})
    nights.store.open("sales", OpenRequest(config=config))
    found = nights.services.durations.of("sales")
    assert (found.whole.runs, found.jobs) == ([], [])
    assert found.whole.notes[0].text == "no successful run is known; an expectation needs 3"


def test_weekdays_and_growth_are_explained_in_words(nights: Nights) -> None:
    for night in range(56):
        monday = (START + timedelta(days=night)).weekday() == 0
        nights.run(night, extract=600 * (1 + night / 60) * (2 if monday else 1))
    notes = {note.code: note.text for note in nights.services.durations.of("sales").jobs[0].notes}
    assert notes["weekday"].startswith("Mondays take")
    assert notes["weekday"].endswith("longer")
    assert notes["growth"].endswith("longer each month")
