# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Jobs that come and go in the file, and initial dates that change: no window is loaded twice or left out."""

from __future__ import annotations

from datetime import timedelta

import pytest
from state_worlds import FIRST, WORKFLOW, World, spans, window

from batchy_provider.core.window_shape import WindowShape
from batchy_provider.exceptions import WindowError

TWO = {"extract": {}, "load": {"initial_date": "2026-01-01"}}


def test_a_job_that_was_out_of_the_file_for_a_night_goes_on_where_it_was(world: World) -> None:
    world.jobs = TWO
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-03T02:00")
    world.jobs = TWO
    batch = world.at("2026-01-04T02:00").open("back")
    assert window(batch, "load") == ("2026-01-02T02:00", "2026-01-04T02:00")
    world.close("success", batch)
    assert spans(world.store.ledger(), "load") == [("2026-01-01T00:00", "2026-01-04T02:00")]


def test_it_reaches_back_as_far_as_it_always_does(world: World) -> None:
    world.jobs = {"extract": {}, "load": {"reprocess_hours": 3}}
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-03T02:00")
    world.jobs = {"extract": {}, "load": {"reprocess_hours": 3}}
    assert window(world.at("2026-01-04T02:00").open("back"), "load")[0] == "2026-01-01T23:00"


def test_if_its_return_fails_it_goes_on_there_the_next_night(world: World) -> None:
    world.jobs = TWO
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-03T02:00")
    world.jobs = TWO
    world.night("2026-01-04T02:00", result="failed")
    assert window(world.at("2026-01-05T02:00").open("next"), "load") == ("2026-01-02T02:00", "2026-01-05T02:00")


def test_without_an_initial_date_that_says_where_it_began_it_is_said_what_it_has_loaded(world: World) -> None:
    """Nobody knows whether its nights have loaded that, or only a backfill of a new job."""
    world.jobs = {"extract": {}, "load": {}}
    world.night("2026-01-02T02:00", result="failed")
    world.store.set_window(WORKFLOW, "2026-01-01", by="ops")
    world.night("2026-01-03T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-04T02:00")
    world.jobs = {"extract": {}, "load": {}}
    batch = world.at("2026-01-05T02:00").open("back")
    assert window(batch, "load")[0] == FIRST[:16]
    assert batch.warning is not None
    assert "job 'load' has loaded data up to 2026-01-03T02:00:00.000000 UTC before" in batch.warning
    assert "`batchy set-window sales 2026-01-03T02:00:00.000000 --job load`" in batch.warning
    assert "extract" not in batch.warning
    world.close("failed", batch)
    world.store.set_window(WORKFLOW, "2026-01-03T02:00", jobs=["load"], by="ops")
    assert window(world.at("2026-01-06T02:00").open("next"), "load") == ("2026-01-03T02:00", "2026-01-06T02:00")


def test_a_gap_before_what_it_has_loaded_last_is_loaded_first(world: World) -> None:
    world.jobs = TWO
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-03T02:00")
    world.jobs = TWO
    later = world.open("one-off", window=("2026-01-02T12:00", "2026-01-03T00:00"))
    world.close("success", later)
    assert window(world.at("2026-01-04T02:00").open("back"), "load")[0] == "2026-01-02T02:00"


def test_a_new_initial_date_before_all_that_it_has_loaded_is_followed(world: World) -> None:
    world.jobs = TWO
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-03T02:00")
    world.jobs = {"extract": {}, "load": {"initial_date": "2025-12-01"}}
    assert window(world.at("2026-01-04T02:00").open("back"), "load")[0] == "2025-12-01T00:00"


def test_a_job_that_was_reset_to_the_file_does_not_go_on_where_it_was(world: World) -> None:
    world.jobs = TWO
    world.night("2026-01-02T02:00")
    world.store.load(world.config, by="ops")
    assert world.store.ledger() == {}
    assert window(world.at("2026-01-04T02:00").open("after"), "load")[0] == "2026-01-01T00:00"


def test_an_initial_date_that_comes_after_a_failed_first_run_is_followed(world: World) -> None:
    world.night("2026-01-02T02:00", result="failed")
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    assert window(world.at("2026-01-03T02:00").open("second")) == ("2026-01-01T00:00", "2026-01-03T02:00")


def test_an_initial_date_that_comes_after_a_first_run_with_nothing_to_load_is_followed(world: World) -> None:
    world.shape = WindowShape(delay=timedelta(days=100_000), if_empty="run")
    empty = world.night("2026-01-02T02:00")
    assert window(empty) == (FIRST[:16], FIRST[:16])
    world.shape = None
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    batch = world.at("2026-01-03T02:00").open("second")
    assert window(batch) == ("2026-01-01T00:00", "2026-01-03T02:00")


def test_an_empty_window_after_data_was_loaded_begins_nothing_again(world: World) -> None:
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    world.shape = WindowShape(align="day", if_empty="run")
    world.night("2026-01-02T02:00")
    world.night("2026-01-02T04:00")
    world.jobs = {"extract": {"initial_date": "2025-01-01"}}
    assert window(world.at("2026-01-03T02:00").open("next")) == ("2026-01-02T00:00", "2026-01-03T00:00")


def test_and_once_more_when_it_is_taken_out_again(world: World) -> None:
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    world.night("2026-01-02T02:00", result="failed")
    world.jobs = {"extract": {}}
    assert window(world.at("2026-01-03T02:00").open("second"))[0] == FIRST[:16]


def test_an_initial_date_in_the_future_is_refused_and_correcting_it_helps(world: World) -> None:
    world.jobs = {"extract": {"initial_date": "2027-01-01"}}
    with pytest.raises(WindowError, match="lies in the future"):
        world.at("2026-01-02T02:00").open("first")
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    assert window(world.open("first")) == ("2026-01-01T00:00", "2026-01-02T02:00")


def test_a_window_that_a_person_has_set_is_kept_when_the_initial_date_changes(world: World) -> None:
    world.night("2026-01-02T02:00", result="failed")
    world.store.set_window(WORKFLOW, "2025-12-24", by="ops")
    world.jobs = {"extract": {"initial_date": "2026-01-01"}}
    assert window(world.at("2026-01-03T02:00").open("second"))[0] == "2025-12-24T00:00"


def test_a_job_that_has_loaded_does_not_follow_a_changed_initial_date(world: World) -> None:
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {"initial_date": "2025-12-01"}}
    assert window(world.at("2026-01-03T02:00").open("second"))[0] == "2026-01-02T02:00"


def test_a_job_that_is_back_is_named_when_the_batch_opens(world: World) -> None:
    world.jobs = TWO
    world.night("2026-01-02T02:00")
    world.jobs = {"extract": {}}
    world.night("2026-01-03T02:00")
    world.jobs = TWO
    warning = world.at("2026-01-04T02:00").open("back").warning
    assert warning is not None
    assert warning.startswith("job 'load' is back: what was loaded before ends at 2026-01-02T02:00")
    world.close("success")
    assert world.at("2026-01-05T02:00").open("next").warning is None


def test_it_is_named_too_where_the_window_comes_in_slices(world: World) -> None:
    world.shape = WindowShape(max=timedelta(days=1))
    world.jobs = {"extract": {"initial_date": "2026-01-01"}, "load": {"initial_date": "2026-01-01"}}
    world.night("2026-01-02T00:00")
    both, world.jobs = world.jobs, {"extract": {"initial_date": "2026-01-01"}}
    world.night("2026-01-03T00:00")
    world.jobs = both
    batch = world.at("2026-01-06T00:00").open("back")
    assert batch.record is not None
    assert batch.record.more, "one slice of several"
    assert batch.warning is not None
    assert batch.warning.startswith("job 'load' is back")


def test_a_first_window_without_initial_date_is_named_with_the_remedy(world: World) -> None:
    world.jobs = TWO
    warning = world.at("2026-01-02T02:00").open("first").warning
    assert warning is not None
    assert "job 'extract' has no initial_date" in warning
    assert "starts on 1776-07-04" in warning
    assert "'load'" not in warning
    world.close("failed")
    assert world.at("2026-01-03T02:00").open("second").warning == warning, "there is still time"
    world.close("success")
    assert world.at("2026-01-04T02:00").open("third").warning is None


def test_a_first_window_that_is_not_cut_says_so_and_can_still_be_cut(world: World) -> None:
    world.shape = WindowShape(max=timedelta(days=1))
    world.jobs = {"extract": {}, "load": {}}
    warning = world.at("2026-01-10T02:00").open("first").warning
    assert warning is not None
    assert "jobs 'extract', 'load' have no initial_date" in warning
    assert "at once: max does not cut it" in warning
    world.close("failed")

    world.jobs = {"extract": {}, "load": {"initial_date": "2026-01-01"}}
    batch = world.at("2026-01-10T02:01").open("one of two")
    assert batch.to_date == "2026-01-02T00:00:00.000000", "both end with the slice of the job that has a beginning"
    assert batch.warning is not None
    assert "max does not cut it" not in batch.warning
    world.close("failed")

    world.jobs = {name: {"initial_date": "2026-01-01"} for name in ("extract", "load")}
    batch = world.at("2026-01-10T02:02").open("both")
    assert (batch.from_date, batch.to_date) == ("2026-01-01T00:00:00.000000", "2026-01-02T00:00:00.000000")
    assert batch.warning is None
