# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What faces are told of batches: who ended them, what was loaded, and where the next windows start."""

from __future__ import annotations

from pathlib import Path

from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.services.answers import BatchView
from batchy_provider.services.composition import Services

ANN = Actor("ann", "web", "127.0.0.1")
SALES = WorkflowConfig(name="sales", jobs={"extract": {"reprocess_hours": 2}, "load": {}})
RUN = Holder(dag_id="sales", run_id="scheduled__1")


def opened(services: Services, holder: Holder = RUN, **more: object) -> int:
    request = OpenRequest(holder=holder, config=SALES, **more)
    return services.store.open("sales", request).batch_id


def ends(view: BatchView) -> tuple[str, str | None, str | None, int | None]:
    return view.status, view.closed_by, view.closed_why, view.taken_over_by


def test_who_closed_a_batch_of_another_and_why_is_on_it(services: Services) -> None:
    batch = opened(services)
    services.batches.close("sales", result="failed", actor=ANN, batch_id=batch, why="the source was wrong")
    assert ends(services.batches.get("sales", batch)) == ("failed", "ann", "the source was wrong", None)
    (listed,) = services.batches.history("sales").items
    assert listed.closed_by == "ann"


def test_a_batch_that_its_own_run_closed_names_nobody(services: Services) -> None:
    batch = opened(services)
    services.store.close("sales", CloseRequest(result="success", batch_id=batch, by=str(RUN)))
    assert ends(services.batches.get("sales", batch)) == ("success", None, None, None)


def test_a_batch_that_was_taken_over_names_the_one_that_did_it(services: Services) -> None:
    first = opened(services, Holder(by="ann"))
    second = opened(services)
    assert ends(services.batches.get("sales", first)) == ("failed", str(RUN), None, second)
    third = services.batches.open("sales", actor=ANN, take_over=True, why="the run hangs", config=SALES).batch_id
    assert ends(services.batches.get("sales", second)) == ("failed", "ann", "the run hangs", third)


def test_a_backfill_that_is_closed_by_hand_says_so(services: Services) -> None:
    window = {"from_date": "2026-11-01", "to_date": "2026-11-02"}
    batch = services.batches.open("sales", actor=ANN, config=SALES, **window).batch_id
    services.batches.close("sales", result="failed", actor=Actor("vera"), batch_id=batch, why="too slow")
    assert ends(services.batches.get("sales", batch)) == ("failed", "vera", "too slow", None)


def test_a_batch_that_a_reset_ended_says_so(services: Services) -> None:
    batch = opened(services, Holder(by="ann"))
    services.workflows.load("sales", actor=Actor("vera"), config=SALES)
    assert ends(services.batches.get("sales", batch)) == ("failed", "vera", "the workflow was reset to its file", None)


def test_a_record_of_a_newer_version_is_read_without_what_is_not_known(services: Services) -> None:
    batch = opened(services)
    client = services.store.backend.client
    for field in ("owner", f"batch:{batch}"):
        text = client.hget("sales:meta", field)
        assert text is not None, field
        client.hset("sales:meta", field, bytes(text).replace(b'"reason":', b'"news": [1], "reason":'))
    assert services.batches.get("sales", batch).status == "open"


def test_a_gap_is_gone_once_a_one_off_load_has_filled_it(services: Services) -> None:
    def load(start: str, end: str, *, live: bool = True) -> None:
        batch = services.batches.open(
            "sales", actor=ANN, from_date=start, to_date=end, move_watermark=live, config=SALES
        )
        services.batches.close("sales", result="success", actor=ANN, batch_id=batch.batch_id)

    load("2026-11-01", "2026-11-02")
    load("2026-11-03", "2026-11-04")
    found = services.batches.coverage("sales")
    assert (found.batches, found.jobs, found.overlaps) == (2, ["extract", "load"], [])
    (gap,) = found.gaps
    assert (gap.from_date, gap.to_date) == ("2026-11-02T00:00:00.000000", "2026-11-03T00:00:00.000000")
    load("2026-11-02", "2026-11-03T06:00", live=False)
    found = services.batches.coverage("sales")
    (double,) = found.overlaps
    assert (found.gaps, double.from_date, double.to_date) == (
        [],
        "2026-11-03T00:00:00.000000",
        "2026-11-03T06:00:00.000000",
    )
    services.workflows.set_window("sales", "2026-11-05", actor=ANN)
    assert [gap.to_date for gap in services.batches.coverage("sales").gaps] == ["2026-11-05T00:00:00.000000"]


def test_each_job_says_where_its_next_window_starts_and_where_after_a_reset(services: Services, cfg: Path) -> None:
    text = "jobs: {extract: {bash: 'true', reprocess_hours: 2, initial_date: 2026-01-01}, load: {bash: 'true'}}\n"
    (cfg / "sales.yaml").write_text(text)
    batch = services.batches.open("sales", actor=ANN, to_date="2026-11-02", move_watermark=True)
    services.batches.close("sales", result="success", actor=ANN, batch_id=batch.batch_id)
    extract, load = services.workflows.get("sales").job_states
    assert (extract.next_from, extract.watermark) == ("2026-11-01T22:00:00.000000", "2026-11-02T00:00:00.000000")
    assert (extract.reset_from, load.reset_from) == ("2026-01-01T00:00:00.000000", "1776-07-04T23:59:00.000000")
    services.store.backend.client.hset("sales", "load", '{"status": "success", "batch_start": "soon"}')
    load = services.workflows.get("sales").job_states[1]
    assert (load.next_from, load.watermark, load.reset_from is None) == (None, None, False)
