# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who holds an open batch: leases, processes, and runs of several Airflows; what a deleted run's name means."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from state_worlds import WORKFLOW, World, window

from batchy_provider.core.holders import CallingProcess, Holder, ProcessId, run_key, run_keys
from batchy_provider.core.values import Batch, CloseRequest, OpenRequest
from batchy_provider.exceptions import BatchHeldError
from batchy_provider.state import processes

ELSEWHERE = CallingProcess(host="other", place="another boot", chain=(ProcessId(1, 1),))


def leased(world: World, seconds: float = 60, **request: Any) -> Batch:
    holder = Holder(by="etl", process=request.pop("process", None))
    wish = OpenRequest(holder=holder, config=world.config, lease_seconds=seconds, **request)
    return world.store.open(WORKFLOW, wish)


class TestLease:
    def test_it_holds_the_batch_until_it_ends(self, world: World) -> None:
        first = leased(world.at("2026-01-01T02:00"))
        with pytest.raises(BatchHeldError, match=r"by etl\. Its lease ends at 2026-01-01T02:01:00") as held:
            world.after(seconds=59).open("nightly")
        assert held.value.batch_id == first.batch_id
        batch = world.after(seconds=2).open("nightly")
        assert window(batch)[0] == window(first)[0]
        assert batch.warning is not None

    def test_it_is_renewed_by_the_clock_of_the_server(self, world: World) -> None:
        first = leased(world.at("2026-01-01T02:00"))
        for _ in range(5):
            world.after(seconds=50)
            assert world.store.renew_lease(WORKFLOW, first.batch_id, 60).status == "open"
        with pytest.raises(BatchHeldError):
            world.after(seconds=50).open("nightly")

    def test_one_that_has_run_out_is_renewed_while_nobody_took_over(self, world: World) -> None:
        first = leased(world.at("2026-01-01T02:00"))
        world.after(hours=1)
        assert world.store.renew_lease(WORKFLOW, first.batch_id, 60).status == "open"
        with pytest.raises(BatchHeldError):
            world.open("nightly")

    def test_it_is_lost_to_who_takes_over_and_not_renewed(self, world: World) -> None:
        first = leased(world.at("2026-01-01T02:00"))
        second = world.open("nightly", if_open="take_over")
        lost = world.store.renew_lease(WORKFLOW, first.batch_id, 60)
        assert lost.status == "failed"
        assert lost.record is not None
        assert lost.record.taken_over_by == second.batch_id
        assert world.live()["status"] == "open"

    def test_a_lease_means_nothing_for_the_next_batch(self, world: World) -> None:
        first = leased(world.at("2026-01-01T02:00"), seconds=3600)
        world.close("success", first)
        world.after(seconds=1).open(None)
        assert world.after(seconds=1).open("nightly").warning is not None

    def test_the_file_is_not_loaded_over_it(self, world: World) -> None:
        leased(world.at("2026-01-01T02:00"))
        with pytest.raises(BatchHeldError):
            world.store.load(world.config, by="ops")

    def test_a_history_batch_leaves_it_alone(self, world: World) -> None:
        first = leased(world.at("2026-01-01T02:00"))
        world.open("old", window=("2025-01-01", "2025-01-02"), backfill=True)
        with pytest.raises(BatchHeldError):
            world.open("nightly")
        assert world.close("success", first).status == "success"


class TestProcess:
    def test_one_that_is_alive_holds_the_batch(self, world: World) -> None:
        mine = processes.this_process()
        world.at("2026-01-01T02:00").open(None, holder=Holder(by="etl", process=mine))
        with pytest.raises(BatchHeldError, match=r"by etl \(process \d+ on .*\)\. That process still runs"):
            world.open("nightly")
        assert world.open("nightly", if_open="take_over").warning is not None

    @pytest.mark.parametrize("started", [1, -1])
    def test_a_process_id_that_another_process_got_holds_nothing(self, world: World, started: int) -> None:
        mine = processes.this_process()
        assert mine is not None
        reused = CallingProcess(
            host=mine.host, place=mine.place, chain=(ProcessId(mine.chain[0].pid, mine.chain[0].started + started),)
        )
        world.at("2026-01-01T02:00").open(None, holder=Holder(by="etl", process=reused))
        assert world.open("nightly").warning is not None

    @pytest.mark.parametrize("what", ["another machine", "another container of this machine"])
    def test_in_another_place_nobody_can_tell(self, world: World, what: str) -> None:
        mine = processes.this_process()
        assert mine is not None
        place = "another boot" if what == "another machine" else f"{mine.place}0"
        other = CallingProcess(host=mine.host, place=place, chain=mine.chain)
        world.at("2026-01-01T02:00").open(None, holder=Holder(by="etl", process=other))
        warning = world.open("nightly").warning
        assert warning is not None
        assert "cannot be seen from here" in warning

    def test_it_is_kept_in_redis(self, world: World) -> None:
        world.open(None, holder=Holder(by="etl", process=ELSEWHERE))
        holder = world.store.status(WORKFLOW).holder
        assert holder is not None
        assert holder.process == ELSEWHERE
        assert str(holder) == "etl (process 1 on other)"


class TestClosing:
    @pytest.mark.parametrize(
        ("holder", "closer", "may"),
        [
            (Holder(by="etl"), Holder(by="etl"), True),
            (Holder(by="etl"), Holder(by="ops"), False),
            (Holder(), Holder(by="ops"), True),
            (Holder(dag_id=WORKFLOW, run_id="r1"), Holder(by="ops"), False),
            (Holder(by="etl", process=ELSEWHERE), Holder(by="etl", process=ELSEWHERE), False),
            (Holder(by="etl", process=processes.this_process()), Holder(by="etl"), False),
            (
                Holder(by="etl", process=processes.this_process()),
                Holder(by="ops", process=processes.this_process()),
                True,
            ),
        ],
    )
    def test_without_an_id_only_ones_own(self, world: World, holder: Holder, closer: Holder, may: bool) -> None:
        batch = world.open(None, holder=holder)
        request = CloseRequest(result="success", closer=closer, by="ops")
        if may:
            assert world.store.close(WORKFLOW, request).batch_id == batch.batch_id
            return
        with pytest.raises(BatchHeldError, match=f"`batchy close sales --batch {batch.batch_id}`"):
            world.store.close(WORKFLOW, request)
        assert world.live()["status"] == "open"
        named = CloseRequest(result="success", closer=closer, batch_id=batch.batch_id)
        assert world.store.close(WORKFLOW, named).status == "success"


class TestDeployments:
    def test_a_run_of_the_same_name_of_another_airflow_is_another_run(self, world: World) -> None:
        first = world.open(None, holder=Holder(dag_id=WORKFLOW, run_id="r1", deployment="finance"))
        other = Holder(dag_id=WORKFLOW, run_id="r1", deployment="sales")
        with pytest.raises(BatchHeldError, match="Airflow 'finance', and this is the Airflow 'sales'"):
            world.open(None, holder=other)
        second = world.open(None, holder=other, if_open="take_over")
        assert second.batch_id != first.batch_id
        assert not second.reused

    def test_each_finds_its_own_batch_again(self, world: World) -> None:
        windows = {}
        for name in ("finance", "sales"):
            holder = Holder(dag_id=WORKFLOW, run_id="r1", deployment=name)
            batch = world.after(hours=1).open(None, holder=holder)
            assert batch.record is not None
            assert (batch.record.run, batch.record.deployment) == ("r1", name)
            world.close("success", batch)
            windows[name] = window(batch)
        for name, expected in windows.items():
            cleared = world.after(hours=1).open(None, holder=Holder(dag_id=WORKFLOW, run_id="r1", deployment=name))
            assert window(cleared) == expected
            world.close("success", cleared)

    def test_a_key_of_an_earlier_release_still_counts(self, world: World) -> None:
        first = world.open("r1")
        again = world.open(None, holder=Holder(dag_id=WORKFLOW, run_id="r1", deployment="finance"))
        assert again.reused
        assert again.batch_id == first.batch_id

    def test_keys(self) -> None:
        assert run_keys("wf", "wf", "r1", None) == ("r1",)
        assert run_keys("wf", "dag", "r1", None) == ("dag/r1",)
        named = {run_key("wf", dag, run, name) for dag in ("wf", "d") for run in ("r", "s") for name in ("a", "b")}
        assert len(named) == 8


class TestDeletedRuns:
    def test_a_new_run_with_the_name_of_a_deleted_one_takes_the_next_window(self, world: World) -> None:
        old = world.night("2026-01-01T02:00", "r1")
        world.at("2026-01-02T02:00")
        new = world.open("r1", opened_since=world.clock.now - timedelta(minutes=1))
        assert window(new) == ("2026-01-01T02:00", "2026-01-02T02:00")
        assert new.kind == "live"
        assert new.warning is not None
        assert f"batch {old.batch_id}" in new.warning
        assert "trigger a run with the conf" in new.warning
        assert world.open("r1", opened_since=world.clock.now - timedelta(minutes=1)).reused

    def test_its_open_batch_is_taken_over(self, world: World) -> None:
        world.night("2026-01-01T02:00")
        old = world.at("2026-01-02T02:00").open("r1")
        world.after(hours=1)
        new = world.open("r1", opened_since=world.clock.now - timedelta(minutes=1))
        assert not new.reused
        assert window(new) == ("2026-01-01T02:00", "2026-01-02T03:00")
        assert world.store.batch(WORKFLOW, old.batch_id).status == "failed"

    def test_a_batch_of_the_run_itself_counts_as_ever(self, world: World) -> None:
        started = world.at("2026-01-01T02:00").clock.now
        old = world.night("2026-01-01T02:00", "r1")
        again = world.at("2026-01-02T02:00").open("r1", opened_since=started)
        assert window(again) == window(old)
        assert again.warning is None
