# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What opening and closing a batch costs, as far as it can be counted: round trips, commands, windows, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from redis import Redis

from batchy_provider.core import opening, windows
from batchy_provider.core.values import Batch, CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state import job_codec
from batchy_provider.state.protocol import Command
from batchy_provider.state.session import Session
from batchy_provider.state.store import Store

MANY = 100
COMMANDS_OF_AN_OPENING = ["HSET", "COPY", "HSET", "HSET", "ZADD", "PUBLISH"]
"""Live hash, hash of the batch, meta, key of the run, list of batches, event."""
COMMANDS_OF_A_CLOSING = ["HSET", "COPY", "HSET", "ZADD", "HSET", "EVAL", "PUBLISH"]
"""Live hash, hash of the batch, meta, list of closed batches, ledger, durations, event."""


class Counted:
    """A store whose round trips, windows and JSON texts are counted."""

    def __init__(self, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(client)
        self.round_trips: list[tuple[Command, ...]] = []
        self.positions = self.written = self.read = 0
        ask, position = Session.ask, windows.position
        encode, decode = job_codec._encode, job_codec.decode

        def asking(session: Session, *commands: Command) -> list[Any]:
            self.round_trips.append(commands)
            return ask(session, *commands)

        def calculating(*arguments: Any) -> Any:
            self.positions += 1
            return position(*arguments)

        def encoding(value: Any) -> str:
            self.written += not is_of_meta(value)
            return encode(value)

        def decoding(text: str) -> Any:
            self.read += 1
            return decode(text)

        monkeypatch.setattr(Session, "ask", asking)
        monkeypatch.setattr(opening, "position", calculating)
        monkeypatch.setattr(job_codec, "_encode", encoding)
        monkeypatch.setattr(job_codec, "decode", decoding)

    def open(self, jobs: dict[str, dict[str, Any]], run: str) -> Batch:
        self._reset()
        request = OpenRequest(
            config=WorkflowConfig(name="wf", jobs=jobs), holder=Holder(dag_id="wf", run_id=run, deployment="prod")
        )
        return self.store.open("wf", request)

    def close(self, batch: Batch) -> Batch:
        self._reset()
        return self.store.close("wf", CloseRequest(result="success", batch_id=batch.batch_id))

    def _reset(self) -> None:
        self.round_trips.clear()
        self.positions = self.written = self.read = 0


def is_of_meta(value: Any) -> bool:
    """Tell whether a value is not (a part of) a job: the texts of jobs are what grows with their number."""
    return not isinstance(value, dict) or not (value.keys() & {"reprocess_hours", "batch_start"})


@pytest.fixture
def counted(redis_client: Redis, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(redis_client, monkeypatch)


def alike(number: int) -> dict[str, Any]:
    return {"reprocess_hours": 2, "param": "hello"}


def each_different(number: int) -> dict[str, Any]:
    return {"reprocess_hours": 2, "param": f"hello {number}"}


@pytest.mark.parametrize("count", [1, MANY])
@pytest.mark.parametrize("settings", [alike, each_different])
def test_two_round_trips_and_the_same_commands_however_many_jobs(
    counted: Counted, settings: Callable[[int], dict[str, Any]], count: int
) -> None:
    jobs = {f"job{number}": settings(number) for number in range(count)}
    different = len({json.dumps(each) for each in jobs.values()})
    counted.close(counted.open(jobs, "first"))
    batch = counted.open(jobs, "second")
    read, written = counted.round_trips
    assert len(read) == (7 if count >= 5 else 9)  # with few jobs, the ledger is read at once
    assert [command[0] for command in written] == ["MULTI", *COMMANDS_OF_AN_OPENING, "EXEC"]
    assert counted.positions == 1
    assert counted.read == 2  # what all jobs have of their own, and the state that they share
    assert counted.written == different + 1
    (of_meta,) = (command for command in written if command[:2] == ("HSET", "wf:meta"))
    assert "config" not in of_meta  # it has not changed
    counted.close(batch)
    read, written = counted.round_trips
    assert len(read) == 9
    assert [command[0] for command in written] == ["MULTI", *COMMANDS_OF_A_CLOSING, "EXEC"]
    assert counted.read == 2
    assert counted.written == 1  # the state: the params are written as they were read


def test_jobs_that_start_in_different_places_get_their_own_windows(counted: Counted) -> None:
    jobs = {f"job{number}": {"reprocess_hours": number % 3} for number in range(MANY)}
    counted.close(counted.open(jobs, "first"))
    batch = counted.open(jobs, "second")
    assert counted.positions == 3
    assert len({job["from_date"] for job in batch.jobs.values()}) == 3
    assert {job["to_date"] for job in batch.jobs.values()} == {batch.to_date}


@pytest.mark.parametrize(
    ("of_a", "of_b"),
    [
        ({"x": 1}, {"x": True}),
        ({"x": 1}, {"x": 1.0}),
        ({"x": "1"}, {"x": 1}),
        ({"x": {"p": 1, "q": 2}}, {"x": {"q": 2, "p": 1}}),
        ({"x": 1, "y": 2}, {"y": 2, "x": 1}),
        ({"x": []}, {"x": None}),
    ],
    ids=str,
)
def test_jobs_that_were_alike_and_are_no_more_keep_their_own_params(
    counted: Counted, of_a: dict[str, Any], of_b: dict[str, Any]
) -> None:
    counted.close(counted.open({"a": {"x": 0}, "b": {"x": 0}}, "first"))
    batch = counted.open({"a": of_a, "b": of_b}, "second")
    for job, given in (("a", of_a), ("b", of_b)):
        stored = json.loads(counted.store.backend.client.hget("wf", job))
        for found in (stored, batch.jobs[job]):
            kept = {name: value for name, value in found.items() if name in given}
            assert json.dumps(kept) == json.dumps(given)


def test_overlaps_that_are_equal_but_of_other_types_are_told_apart(counted: Counted) -> None:
    counted.close(counted.open({"a": {}, "b": {}}, "first"))
    batch = counted.open({"a": {"trunc_start": 1}, "b": {"trunc_start": True}}, "second")
    assert batch.jobs["a"]["from_date"] == batch.jobs["b"]["from_date"]
    assert counted.positions == 2


def test_each_job_of_an_answer_is_an_object_of_its_own(counted: Counted) -> None:
    jobs = {name: {"x": 1} for name in "ab"}
    batch = counted.open(jobs, "first")
    batch.jobs["a"]["x"] = "changed by the caller"
    assert batch.jobs["b"]["x"] == 1
    closed = counted.close(batch)
    closed.jobs["a"]["x"] = "changed by the caller"
    assert closed.jobs["b"]["x"] == 1


def test_jobs_alike_end_with_their_own_outcomes_and_those_left_out_keep_their_window(counted: Counted) -> None:
    jobs: dict[str, dict[str, Any]] = {name: {} for name in "abcd"}
    counted.close(counted.open(jobs, "first"))
    counted.store.disable("wf", "d", by="test")
    batch = counted.open(jobs, "second")
    before = counted.store.status("wf").jobs["d"]["from_date"]
    outcomes = {"a": "success", "b": "skipped", "c": "failed"}
    request = CloseRequest(result="failed", batch_id=batch.batch_id, outcomes=outcomes)
    closed = counted.store.close("wf", request)
    assert {name: closed.jobs[name]["outcome"] for name in "abcd"} == outcomes | {"d": "skipped"}
    assert {closed.jobs[name]["status"] for name in "abc"} == {"failed"}
    assert (closed.jobs["d"]["status"], closed.jobs["d"]["from_date"]) == ("success", before)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions of this package are called."""
    count = 0

    def count_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and "batchy_provider" in frame.f_code.co_filename

    sys.setprofile(count_call)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(("settings", "of_each_opening", "of_each_closing"), [(alike, 1, 0), (each_different, 19, 15)])
def test_a_further_job_costs_few_calls(
    redis_client: Redis, settings: Callable[[int], dict[str, Any]], of_each_opening: int, of_each_closing: int
) -> None:
    store, found = Store(redis_client), list[tuple[int, int]]()
    for count in (10, MANY):
        config = WorkflowConfig(name=f"wf{count}", jobs={f"job{number}": settings(number) for number in range(count)})

        def opening(config: WorkflowConfig = config) -> object:
            return store.open(config.name, OpenRequest(config=config))

        def closing(config: WorkflowConfig = config) -> object:
            return store.close(config.name, CloseRequest(result="success"))

        for _ in range(2):  # only after that, all is as in each later night
            opening()
            closing()
        found.append((calls_of(opening), calls_of(closing)))
    (opening_few, closing_few), (opening_many, closing_many) = found
    assert opening_many - opening_few <= of_each_opening * (MANY - 10)
    assert closing_many - closing_few <= of_each_closing * (MANY - 10)
