# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state in Redis: keys and types, what is stored, and which events are published."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from state_worlds import WORKFLOW
from store_calls import request, succeed

from batchy_provider.core.job_state import STATE_FIELDS
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.exceptions import (
    BatchyError,
)
from batchy_provider.state import codec
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

# -- layout -------------------------------------------------------------------------------------------------------


def test_a_batch_writes_only_the_documented_keys(store: Store, client: redis.Redis) -> None:
    batch = succeed(store, "first")
    store.set_progress(WORKFLOW, "extract", {"progress": 0.5})
    store.job_outputs(WORKFLOW, batch.batch_id).save(("extract", -1), {"state": "success"})
    found = {key.decode(): client.type(key).decode() for key in client.scan_iter()}
    assert found == {
        "sales": "hash",
        f"sales-{batch.batch_id}": "hash",
        "sales:meta": "hash",
        "sales:runs": "hash",
        "sales:closed": "zset",
        "sales:loaded": "hash",
        "sales:durations": "hash",
        "sales:history": "zset",
        "sales:progress": "hash",
        "sales:outputs": "hash",
    }


def test_the_hashes_hold_one_json_object_a_job(store: Store, client: redis.Redis) -> None:
    batch = succeed(store, "first", jobs={"extract": {"region": "eu"}, "load": {}})
    stored = {name.decode(): json.loads(text) for name, text in client.hgetall("sales").items()}
    assert stored == batch.jobs
    assert client.hgetall("sales") == client.hgetall(f"sales-{batch.batch_id}")
    assert set(stored["extract"]) == {"region", *STATE_FIELDS}


def test_the_indexes_lead_from_runs_and_times_to_batches(store: Store, client: redis.Redis) -> None:
    batch = succeed(store, "first")
    number = str(batch.batch_id).encode()
    assert client.hgetall("sales:runs") == {b"first": number}
    assert client.zrange("sales:history", 0, -1, withscores=True) == [(number, float(batch.batch_id))]
    ((member, score),) = client.zrange("sales:closed", 0, -1, withscores=True)
    assert member == number
    seconds, micros = client.time()
    assert seconds + micros / 1e6 - 5 < score <= seconds + micros / 1e6


def test_the_clock_is_the_servers(store: Store, client: redis.Redis) -> None:
    before = client.time()[0]
    batch = store.open(WORKFLOW, request())
    assert before <= batch.batch_id <= client.time()[0]


def test_a_change_takes_two_round_trips(any_redis_url: str) -> None:
    class Counting(redis.Connection):
        sent = 0

        def send_packed_command(self, command: Any, check_health: bool = True) -> Any:
            Counting.sent += 1
            return super().send_packed_command(command, check_health)

    with redis.Redis(connection_pool=redis.ConnectionPool.from_url(any_redis_url, connection_class=Counting)) as client:
        store = Store(client)
        store.open(WORKFLOW, request(jobs={f"job{n}": {} for n in range(100)}))
        Counting.sent = 0
        store.close(WORKFLOW, CloseRequest(result="success"))
        store.open(WORKFLOW, request("second"))
    assert Counting.sent == 4


# -- what is kept -------------------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**130), 2**130)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

PARAMS = st.dictionaries(
    st.text().filter(lambda name: name not in (*STATE_FIELDS, "reprocess_hours", "trunc_start", "initial_date")),
    JSON,
    max_size=6,
)


@pytest.mark.slow
@given(params=PARAMS)
def test_params_keep_their_values_types_and_order(redis_url: str, params: dict[str, Any]) -> None:
    with open_client(redis_url) as client:
        client.flushall()
        store = Store(client)
        written = json.dumps(params)
        first = store.open(WORKFLOW, request("first", jobs={"extract": params}))
        store.close(WORKFLOW, CloseRequest(result="success"))
        # Once more without the configuration: what Redis holds is all there is.
        second = store.open(WORKFLOW, OpenRequest(holder=Holder(by="ops")))
        for jobs in (
            first.jobs,
            second.jobs,
            store.status(WORKFLOW).jobs,
            store.batch(WORKFLOW, first.batch_id).jobs,
            {"extract": json.loads(client.hget(WORKFLOW, "extract"))},
        ):
            kept = {name: value for name, value in jobs["extract"].items() if name not in STATE_FIELDS}
            assert json.dumps(kept) == written, "values, types and the order of keys"


@given(value=JSON)
def test_json_is_written_as_pythons_own_json_writes_it(value: Any) -> None:
    assert codec.dump(value) == json.dumps(value)


def test_an_opening_keeps_what_the_original_wrote(store: Store, client: redis.Redis) -> None:
    client.hset(
        "sales", "extract", '{"z": 1.0, "a": [], "big": 123456789012345678901234567890, "n": null, "u": "\\u00e9"}'
    )
    batch = store.open(WORKFLOW, OpenRequest())
    assert list(batch.jobs["extract"])[:5] == ["z", "a", "big", "n", "u"]
    stored = client.hget("sales", "extract").decode()
    assert stored.startswith('{"z": 1.0, "a": [], "big": 123456789012345678901234567890, "n": null, "u": "\\u00e9"')


# -- events -------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(client: redis.Redis) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the channel has said since."""
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("batchy:events")
    listener.get_message(timeout=5)

    def since() -> list[dict[str, Any]]:
        found = []
        while (message := listener.get_message(timeout=0.2)) is not None:
            found.append(json.loads(message["data"]))
        return found

    yield since
    listener.close()


def test_opening_and_closing_publish_events(store: Store, told: Any) -> None:
    batch = succeed(store, "first")
    store.open(WORKFLOW, request("second"))
    store.open(WORKFLOW, request("second"))  # told once
    store.close(WORKFLOW, CloseRequest(result="failed"))
    store.set_window(WORKFLOW, "2026-01-01", by="ops")
    store.load(WorkflowConfig(name=WORKFLOW, jobs={"extract": {}}), by="ops")
    events = told()
    assert [event["event"] for event in events] == ["open", "success", "open", "failed", "window", "load"]
    assert {event["workflow"] for event in events} == {WORKFLOW}
    assert events[0]["batch_id"] == events[1]["batch_id"] == batch.batch_id
    assert all(event["kind"] == "live" for event in events)


def test_a_subscriber_to_an_event_sees_the_change(client: redis.Redis, store: Store) -> None:
    with client.monitor() as monitor:
        store.open(WORKFLOW, request())
        commands = []
        for command in monitor.listen():
            commands.append(command["command"].split()[0])
            if commands[-1] == "EXEC":
                break
    inside = commands[commands.index("MULTI") :]
    assert inside.index("HSET") < inside.index("PUBLISH") == len(inside) - 2


def test_a_refused_change_publishes_nothing(store: Store, told: Any) -> None:
    store.open(WORKFLOW, request("first"))
    assert len(told()) == 1
    with pytest.raises(BatchyError):
        store.open(WORKFLOW, request("second"))
    with pytest.raises(BatchyError):
        store.close(WORKFLOW, CloseRequest(result="success", batch_id=17))
    assert told() == []


# -- layers -------------------------------------------------------------------------------------------------------


def test_the_rules_know_neither_redis_nor_airflow() -> None:
    rules = "from batchy_provider.core import admin_actions, closing, coverage, opening, waits"
    program = f"import sys; {rules}; print({{'redis', 'airflow'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_store_knows_no_airflow() -> None:
    program = (
        "import sys, batchy_provider.state.store, batchy_provider.state.wait_queries; print('airflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
