# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The history of all workflows: what is found by time, result, job, batch and run, and how pages stay stable."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from history_site import Site

from batchy_provider.core.values import Actor
from batchy_provider.exceptions import ConfigError, WindowError

ANN = Actor("ann", "cli", "host")


@pytest.fixture
def site(redis_client: redis.Redis, tmp_path: Path) -> Site:
    return Site(redis_client, tmp_path)


def test_batches_of_all_workflows_are_listed_newest_first(site: Site) -> None:
    one = site.batch("sales", "28 02:00", "28 03:00")
    two = site.batch("crm", "28 02:30", "28 02:40", failed=("load",))
    three = site.batch("sales", "02:00", None)
    found = site.find()
    assert [(each.workflow, each.batch_id) for each in found.batches] == [
        ("sales", three),
        ("crm", two),
        ("sales", one),
    ]
    assert (found.next, found.unreadable, found.archived) == (None, [], [])
    assert [row.failed_jobs for row in found.rows] == [[], ["load"], []]
    assert [row.status for row in found.rows] == ["open", "failed", "success"]
    assert found.rows[0].batch_end is None


def test_what_ran_between_one_and_four(site: Site) -> None:
    site.batch("early", "00:10", "00:50", failed=("load",))
    into = site.batch("long", "00:30", "01:20", failed=("load",))
    inside = site.batch("inside", "02:00", "03:00")
    bad = site.batch("bad", "02:30", "02:31", failed=("extract",))
    out = site.batch("out", "03:50", "05:00")
    site.batch("late", "04:00", "04:10", failed=("load",))
    still = site.batch("still", "00:05", None)
    span = {"from_date": "2026-11-29T01:00", "to_date": "2026-11-29T04:00"}
    assert site.ids(**span) == [("out", out), ("bad", bad), ("inside", inside), ("long", into), ("still", still)]
    assert site.ids(**span, status="failed") == [("bad", bad), ("long", into)]
    assert site.ids(**span, status="open") == [("still", still)]


def test_a_time_long_ago_has_the_batch_that_ran_into_it(site: Site) -> None:
    ran_into = site.batch("sales", "20 22:00", "21 01:30")
    for day in range(21, 29):
        site.batch("sales", f"{day} 02:00", f"{day} 03:00")
    assert site.ids(from_date="2026-11-21T01:00", to_date="2026-11-21T02:00") == [("sales", ran_into)]


def test_backfills_are_listed_at_the_time_at_which_they_ran(site: Site) -> None:
    """Their ids lie before the clock, and in the list of their workflow they stand behind the live batch before."""
    live = site.batch("sales", "02:00", "03:00")
    other = site.batch("crm", "12:00", "12:10")
    past = site.batch("sales", "15:00", "15:05", window=("2026-11-01", "2026-11-02"))
    again = site.batch("sales", "15:10", "15:15", window=("2026-11-02", "2026-11-03"))
    assert site.ids() == [("sales", again), ("sales", past), ("crm", other), ("sales", live)]
    assert site.ids(limit=1) == [("sales", again)]
    assert site.ids(from_date="2026-11-29T14:00") == [("sales", again), ("sales", past)]
    assert site.ids(to_date="2026-11-29T14:00") == [("crm", other), ("sales", live)]
    assert site.ids(kind="history") == [("sales", again), ("sales", past)]


def test_pages_stay_stable_while_batches_open(site: Site) -> None:
    made = [
        (name, site.batch(name, f"{day} 02:{minute:02}", f"{day} 03:00"))
        for day in range(20, 29)
        for minute, name in enumerate(("a", "b", "c"))
    ]
    seen: list[tuple[str, int]] = []
    below = None
    for page in range(20):
        found = site.find(limit=4, below=below)
        seen += [(each.workflow, each.batch_id) for each in found.batches]
        below = found.next
        site.batch(f"new_{page}", f"29 0{page % 10}:00", None)
        if below is None:
            break
    assert seen == list(reversed(made))


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_each_page_size_gives_the_same_list(site: Site, limit: int) -> None:
    for day in range(10, 29):
        for name in ("busy", "quiet", "idle")[: 1 + day % 3]:
            site.batch(name, f"{day} 02:00", f"{day} 02:10", failed=("load",) if day % 4 == 0 else ())
        if day % 5 == 0:
            site.batch("busy", f"{day} 12:00", f"{day} 12:01", window=("2026-11-01", "2026-11-02"))
    whole = site.ids(limit=500)
    assert len(whole) == 42
    seen: list[tuple[str, int]] = []
    found = site.find(limit=limit)
    while True:
        seen += [(each.workflow, each.batch_id) for each in found.batches]
        if found.next is None:
            break
        found = site.find(limit=limit, below=found.next)
    assert seen == whole


def test_a_batch_is_found_by_its_id_and_by_its_run(site: Site) -> None:
    batch_id = site.batch("sales", "02:00", "03:00", run="scheduled__2026-11-29T01:00:00+00:00")
    site.batch("crm", "02:00", "03:00", run="manual__2026-11-29T01:59:00+00:00")
    for text in (str(batch_id), "SCHEDULED__2026", "uled__2026-11-29T01:00", "Sale"):
        assert ("sales", batch_id) in site.ids(search=text), text
    assert site.ids(search="scheduled") == [("sales", batch_id)]
    assert site.ids(search='no "such\\run') == []
    assert site.ids(search="999999999999") == []


def test_a_job_selects_batches_in_which_it_took_part(site: Site) -> None:
    bad = site.batch("sales", "01:00", "01:10", failed=("load",))
    other = site.batch("crm", "02:00", "02:10", failed=("extract",))
    assert site.ids(job="load") == [("crm", other), ("sales", bad)]
    assert site.ids(job="load", status="failed") == [("sales", bad)]
    assert site.ids(job="nothing") == []


def test_failures_are_told_apart_by_their_acknowledgement(site: Site) -> None:
    known = site.batch("sales", "01:00", "01:10", failed=("load",))
    new = site.batch("crm", "02:00", "02:10", failed=("load",))
    site.batch("good", "03:00", "03:10")
    site.services.holds.acknowledge("sales", known, "ticket 4711", actor=ANN)
    assert site.ids(acknowledged=True) == [("sales", known)]
    assert site.ids(acknowledged=False) == [("crm", new)]
    (row,) = site.find(acknowledged=True).rows
    assert row.acknowledged is not None
    assert (row.acknowledged.by, row.acknowledged.text) == ("ann", "ticket 4711")


def test_workflows_are_chosen_by_name_tag_and_owner(site: Site) -> None:
    (site.cfg / "sales.yaml").write_text("tags: [night]\nowner: etl\njobs: {load: {bash: 'true'}}\n")
    (site.cfg / "crm.yaml").write_text("tags: [day]\nowner: etl\njobs: {load: {bash: 'true'}}\n")
    sales, crm = site.batch("sales", "01:00", "01:10"), site.batch("crm", "02:00", "02:10")
    site.batch("nofile", "03:00", "03:10")
    assert site.ids(workflows=["crm"]) == [("crm", crm)]
    assert site.ids(tag="night") == [("sales", sales)]
    assert site.ids(owner="etl") == [("crm", crm), ("sales", sales)]
    assert site.ids(owner="etl", only={"crm", "nofile"}) == [("crm", crm)]
    assert site.ids(workflows=["crm"], only={"sales"}) == []


def test_the_time_up_to_now_is_counted_by_the_clock_of_redis(site: Site) -> None:
    site.batch("sales", "28 02:00", "28 03:00")
    recent = site.batch("sales", "02:00", "03:00")
    assert site.ids(last=timedelta(hours=12)) == [("sales", recent)]


def test_batches_of_the_original_server_are_found(site: Site, redis_client: redis.Redis) -> None:
    """It writes neither records nor a list of batches; this package lists what it meets when it opens the next one."""
    seconds = 1795917600
    old = {
        "batch_id": seconds,
        "status": "failure",
        "from_date": "2026-11-28T00:00:00.000000",
        "to_date": "2026-11-29T02:00:00.000000",
        "batch_start": "2026-11-29T02:00:00.000000",
        "batch_end": "2026-11-29T02:10:00.000000",
    }
    for key in ("old", f"old-{seconds}"):
        redis_client.hset(key, "load", json.dumps(old))
    redis_client.zadd("old:history", {str(seconds): seconds})
    assert site.ids(status="failed", from_date="2026-11-29T01:00") == [("old", seconds)]
    assert site.find().rows[0].failed_jobs == ["load"]


def test_one_damaged_workflow_hides_no_other(site: Site, redis_client: redis.Redis) -> None:
    good, bad = site.batch("good", "02:00", "02:10"), site.batch("bad", "02:00", "02:10")
    redis_client.hset("bad:meta", f"batch:{bad}", "{not JSON")
    site.batch("other", "02:00", "02:10")
    redis_client.delete("other:history")
    redis_client.set("other:history", "text")
    found = site.find()
    assert [(each.workflow, each.batch_id) for each in found.batches] == [("good", good)]
    assert found.unreadable == ["bad", "other"]


@pytest.mark.parametrize(
    "given",
    [{"from_date": "2026-11-29", "to_date": "2026-11-29"}, {"from_date": "2026-11-30", "to_date": "2026-11-29"}],
)
def test_an_empty_time_is_refused(site: Site, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not after its start"):
        site.find(**given)


@pytest.mark.parametrize("below", ["x", "2026-11-29", "2026-11-29,x,sales", "noon,1,sales"])
def test_a_place_that_is_none_is_refused(site: Site, below: str) -> None:
    with pytest.raises(WindowError):
        site.find(below=below)
