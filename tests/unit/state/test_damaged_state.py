# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""State that cannot be read, or that is another program's: an error says what and where, and nothing changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from state_worlds import WORKFLOW
from store_calls import CHANGES, QUESTIONS, request, succeed

from batchy_provider.core.values import CloseRequest, WorkflowConfig
from batchy_provider.exceptions import NotOpenError, StateError
from batchy_provider.state.store import Store


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "key", ["sales", "sales:meta", "sales:runs", "sales:closed", "sales:days", "sales:loaded", "sales:history"]
)
def test_a_foreign_key_of_another_type_is_an_error_and_nothing_changes(
    redis_client: redis.Redis, everything: Any, key: str, change: str
) -> None:
    store = Store(redis_client)
    succeed(store, "first")
    redis_client.delete(key)
    redis_client.set(key, "another program's")
    before = everything()
    with pytest.raises(StateError, match=rf"'{key}' does not hold what batchy keeps there .*give the workflow another"):
        CHANGES[change](store)
    assert everything() == before


@pytest.mark.parametrize("text", ["", "17", '"text"', "[]", "null", "{", '{"a": 1', "{} {}", "\x00", "[" * 100_000])
@pytest.mark.parametrize("change", CHANGES)
def test_a_foreign_hash_is_an_error_and_nothing_changes(
    redis_client: redis.Redis, everything: Any, text: str, change: str
) -> None:
    redis_client.hset(WORKFLOW, mapping={"extract": '{"status": "open", "batch_id": 17}', "theirs": text})
    before = everything()
    with pytest.raises(StateError, match=r"field 'theirs' of Redis hash 'sales'.*Does another program use this key"):
        CHANGES[change](Store(redis_client))
    assert everything() == before


def test_parts_of_json_do_not_make_up_for_one_another(redis_client: redis.Redis) -> None:
    redis_client.hset(WORKFLOW, mapping={"a": '{"x": [1', "b": "2]}"})
    with pytest.raises(StateError, match="does not hold JSON"):
        Store(redis_client).status(WORKFLOW)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *((field, text) for field in ("owner", "config", "last_success") for text in ("{}", '{"batch_id": 1}')),
        *((field, text) for field in ("owner", "config", "last_success", "disabled") for text in ("nonsense", "17")),
    ],
)
def test_unreadable_meta_is_an_error_and_nothing_changes(
    redis_client: redis.Redis, everything: Any, field: str, text: str
) -> None:
    store = Store(redis_client)
    succeed(store, "first")
    redis_client.hset("sales:meta", field, text)
    before = everything()
    with pytest.raises(StateError, match=f"field '{field}' of Redis hash 'sales:meta'"):
        store.open(WORKFLOW, request("second"))
    assert everything() == before


def test_a_job_with_an_unknown_status_is_an_error(redis_client: redis.Redis, everything: Any) -> None:
    redis_client.hset(WORKFLOW, "extract", '{"status": "running"}')
    before = everything()
    with pytest.raises(StateError, match="job 'extract' of workflow 'sales' has status 'running' in Redis"):
        Store(redis_client).open(WORKFLOW, request())
    assert everything() == before


@pytest.mark.parametrize("batch_id", ["", ', "batch_id": "17"', ', "batch_id": 1.5', ', "batch_id": null'])
@pytest.mark.parametrize("change", ["open", "set_window", "load", "disable"])
def test_an_open_batch_that_nobody_can_close_stops_no_change(
    redis_client: redis.Redis, change: str, batch_id: str
) -> None:
    """Another program may write ``open`` without a batch id that can be read."""
    changes: dict[str, Callable[[Store], Any]] = {
        **CHANGES,
        "load": lambda store: store.load(WorkflowConfig(name=WORKFLOW, jobs={"extract": {}}), by="ops"),
    }
    redis_client.hset(WORKFLOW, "extract", f'{{"status": "open"{batch_id}}}')
    store = Store(redis_client)
    with pytest.raises(NotOpenError):
        store.close(WORKFLOW, CloseRequest(result="success"))
    changes[change](store)
    if change != "open":
        store.open(WORKFLOW, request())
    assert store.close(WORKFLOW, CloseRequest(result="success")).status == "success"


@pytest.mark.parametrize("bound", ["from_date", "to_date"])
@pytest.mark.parametrize("value", [None, 17, "", []])
def test_a_run_whose_window_another_program_took_away_loads_from_where_its_data_ends(
    redis_client: redis.Redis, bound: str, value: Any
) -> None:
    store = Store(redis_client)
    end = succeed(store, "first", jobs={"extract": {}, "load": {}}).to_date
    batch = store.open(WORKFLOW, request("second", jobs={"extract": {}, "load": {}}))
    store.close(WORKFLOW, CloseRequest(result="failed"))
    damaged = {**store.batch(WORKFLOW, batch.batch_id).jobs["load"], bound: value}
    redis_client.hset(f"{WORKFLOW}-{batch.batch_id}", "load", json.dumps(damaged))
    again = store.open(WORKFLOW, request("second", jobs={"extract": {}, "load": {}}))
    assert again.kind == "live"
    for job in again.jobs.values():
        assert (job["from_date"], job["to_date"]) == (end, batch.to_date)


@pytest.mark.parametrize("ask", ["progress", "set_progress"])
def test_progress_in_a_foreign_key_is_an_error(redis_client: redis.Redis, ask: str) -> None:
    redis_client.set("sales:progress", "another program's")
    with pytest.raises(StateError, match="'sales:progress'"):
        QUESTIONS[ask](Store(redis_client))
