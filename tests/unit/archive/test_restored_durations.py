# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long jobs took is the same after a restore as before the loss, also where only the closing task knew it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import redis
from archived import WORKFLOW, FailingFiles, Site, fail_with
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.core.values import Actor, CloseRequest, Window
from batchy_provider.core.vocabulary import Result

OPS = Actor("ops", "cli")
JOBS = ("extract", "load")
SECONDS = st.floats(0, 1e7, allow_nan=False)


@dataclass(frozen=True)
class Night:
    """One batch.

    :param seconds: what its closing knows of how long jobs took; None: nothing.
    :param by_person: a person closes the batch of a run.
    :param skipped: jobs that a trigger rule has skipped.
    :param unarchived: the result store fails while the batch is closed.
    """

    result: Result
    backfill: bool
    seconds: dict[str, float] | None
    by_person: bool
    skipped: frozenset[str]
    unarchived: bool


NIGHTS = st.lists(
    st.builds(
        Night,
        result=st.sampled_from(["success", "success", "failed"]),
        backfill=st.booleans(),
        seconds=st.none() | st.dictionaries(st.sampled_from(JOBS), SECONDS),
        by_person=st.booleans(),
        skipped=st.frozensets(st.sampled_from(JOBS)),
        unarchived=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


def load(site: Site, number: int, night: Night) -> None:
    window = Window(from_date="2026-01-01", to_date="2026-01-03") if night.backfill else None
    batch = site.opened(f"run {number}", window=window, backfill=night.backfill)
    if night.unarchived:
        fail_with(site, OSError("the disk is full"))
    site.store.close(
        WORKFLOW,
        CloseRequest(
            result=night.result,
            batch_id=batch.batch_id,
            seconds=night.seconds,
            outcomes=dict.fromkeys(night.skipped, "skipped"),
            by="ops" if night.by_person else batch.record.by,
        ),
    )
    fail_with(site, None)


def durations(site: Site) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = site.client.hgetall(f"{WORKFLOW}:durations")
    return found


@settings(max_examples=scaled(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nights=NIGHTS)
def test_a_restore_brings_back_the_same_durations(
    redis_client: redis.Redis, tmp_path: Path, nights: list[Night]
) -> None:
    redis_client.flushall()
    site = Site(redis_client, tmp_path, files=FailingFiles(str(tmp_path / uuid4().hex)))
    for number, night in enumerate(nights):
        load(site, number, night)
    site.night(run="the last one, which archives what the others could not")
    before = durations(site)
    assert before
    redis_client.flushall()
    assert site.service.restore(WORKFLOW, actor=OPS).state
    assert durations(site) == before


def test_what_a_closing_task_has_measured_survives_the_loss_of_redis(site: Site) -> None:
    batch = site.opened("night")
    site.store.close(
        WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id, seconds={"extract": 1234.5}, by="run")
    )
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    found = site.store.durations(WORKFLOW)
    assert {job: [each.seconds for each in some] for job, some in found.items()} == {"extract": [1234.5]}


def test_an_archive_of_an_earlier_release_gives_the_time_that_batches_were_open(site: Site, tmp_path: Path) -> None:
    batch = site.opened("night")
    site.store.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id, seconds={"extract": 1234.5}))
    (file,) = tmp_path.rglob(f"{batch.batch_id}.json")
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data.pop("seconds") == {"extract": 1234.5}
    file.write_text(json.dumps(data), encoding="utf-8")
    site.client.flushall()
    site.service.restore(WORKFLOW, actor=OPS)
    found = site.store.durations(WORKFLOW)
    assert set(found) == set(JOBS)
    assert all(each.seconds < 1000 for some in found.values() for each in some)
