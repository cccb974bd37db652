# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state in Redis: keys and types as the design's table has them, what is kept, what is told."""

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

from batchy_provider.core.job_state import STATE_FIELDS
from batchy_provider.core.values import Batch, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import (
    BatchyError,
    InvalidNameError,
    RedisUnavailableError,
    StateError,
    UnknownBatchError,
    UnknownWorkflowError,
)
from batchy_provider.state import codec
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


@pytest.fixture
def client(any_redis_url: str) -> Iterator[redis.Redis]:
    with open_client(any_redis_url) as client:
        assert isinstance(client, redis.Redis)
        yield client


@pytest.fixture
def store(client: redis.Redis) -> Store:
    return Store(client)


def request(run: str | None = "first", jobs: dict[str, Any] | None = None, **wish: Any) -> OpenRequest:
    holder = Holder(dag_id=WORKFLOW, run_id=run) if run else Holder(by="ops")
    return OpenRequest(holder=holder, config=WorkflowConfig(name=WORKFLOW, jobs=jobs or {"extract": {}}), **wish)


def succeed(store: Store, run: str, **wish: Any) -> Batch:
    batch = store.open(WORKFLOW, request(run, **wish))
    return store.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))


# -- layout -------------------------------------------------------------------------------------------------------


def test_the_keys_are_those_of_the_design_and_no_others(store: Store, client: redis.Redis) -> None:
    batch = succeed(store, "first")
    store.set_progress(WORKFLOW, "extract", {"progress": 0.5})
    found = {key.decode(): client.type(key).decode() for key in client.scan_iter()}
    assert found == {
        "sales": "hash",
        f"sales-{batch.batch_id}": "hash",
        "sales:meta": "hash",
        "sales:runs": "hash",
        "sales:closed": "zset",
        "sales:days": "hash",
        "sales:history": "zset",
        "sales:progress": "hash",
    }


def test_the_hashes_hold_one_json_object_a_job(store: Store, client: redis.Redis) -> None:
    batch = succeed(store, "first", jobs={"extract": {"region": "eu"}, "load": {}})
    stored = {name.decode(): json.loads(text) for name, text in client.hgetall("sales").items()}
    assert stored == batch.jobs
    assert client.hgetall("sales") == client.hgetall(f"sales-{batch.batch_id}")
    assert set(stored["extract"]) == {"region", *STATE_FIELDS}


def test_the_indexes_lead_from_runs_days_and_times_to_batches(store: Store, client: redis.Redis) -> None:
    batch = succeed(store, "first")
    number = str(batch.batch_id).encode()
    assert client.hgetall("sales:runs") == {b"first": number}
    assert batch.record is not None
    assert client.hgetall("sales:days") == {batch.record.day.encode(): number}
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
def test_params_are_kept_byte_for_byte_of_meaning(redis_url: str, params: dict[str, Any]) -> None:
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


def test_what_the_original_wrote_is_kept_when_we_open_over_it(store: Store, client: redis.Redis) -> None:
    client.hset(
        "sales", "extract", '{"z": 1.0, "a": [], "big": 123456789012345678901234567890, "n": null, "u": "\\u00e9"}'
    )
    batch = store.open(WORKFLOW, OpenRequest())
    assert list(batch.jobs["extract"])[:5] == ["z", "a", "big", "n", "u"]
    stored = client.hget("sales", "extract").decode()
    assert stored.startswith('{"z": 1.0, "a": [], "big": 123456789012345678901234567890, "n": null, "u": "\\u00e9"')


# -- bad input: an error that says what and where, and nothing changed ----------------------------------------------

CHANGES: dict[str, Callable[[Store], Any]] = {
    "open": lambda store: store.open(WORKFLOW, request("second")),
    "open a window": lambda store: store.open(WORKFLOW, request("second", window=Window(from_date="2026-01-01"))),
    "close": lambda store: store.close(WORKFLOW, CloseRequest(result="success")),
    "set_window": lambda store: store.set_window(WORKFLOW, "2026-01-01", by="ops"),
    "disable": lambda store: store.disable(WORKFLOW, "extract", by="ops"),
    "skip_job": lambda store: store.skip_job(WORKFLOW, 17, "extract"),
}
QUESTIONS: dict[str, Callable[[Store], Any]] = {
    "status": lambda store: store.status(WORKFLOW),
    "history": lambda store: store.history(WORKFLOW),
    "batch": lambda store: store.batch(WORKFLOW, 17),
    "batch_of_run": lambda store: store.batch_of_run(WORKFLOW, "first"),
    "prune": lambda store: store.prune(WORKFLOW, keep=1),
    "prune all": lambda store: store.prune(WORKFLOW, keep=1, keep_days=1),
    "progress": lambda store: store.progress(WORKFLOW),
    "set_progress": lambda store: store.set_progress(WORKFLOW, "extract", {"progress": 1}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("key", ["sales", "sales:meta", "sales:runs", "sales:closed", "sales:days", "sales:history"])
def test_a_foreign_key_of_another_type_is_told_and_nothing_is_changed(
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
def test_a_foreign_hash_is_told_and_nothing_is_changed(
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
def test_meta_that_another_version_wrote_is_told_and_nothing_is_changed(
    redis_client: redis.Redis, everything: Any, field: str, text: str
) -> None:
    store = Store(redis_client)
    succeed(store, "first")
    redis_client.hset("sales:meta", field, text)
    before = everything()
    with pytest.raises(StateError, match=f"field '{field}' of Redis hash 'sales:meta'"):
        store.open(WORKFLOW, request("second"))
    assert everything() == before


def test_a_job_with_a_status_that_nobody_writes_is_told(redis_client: redis.Redis, everything: Any) -> None:
    redis_client.hset(WORKFLOW, "extract", '{"status": "running"}')
    before = everything()
    with pytest.raises(StateError, match="job 'extract' of workflow 'sales' has status 'running' in Redis"):
        Store(redis_client).open(WORKFLOW, request())
    assert everything() == before


@pytest.mark.parametrize("ask", [*CHANGES, *QUESTIONS])
def test_a_name_that_cannot_be_asks_nothing_of_redis(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    names = ["", "a b", "a:b", "sales-17", "sales-17-init", "é", "a/b", "{a}", "x" * 201, "a\n", None, 5]
    for name in names:
        monkeypatch.setitem(globals(), "WORKFLOW", name)
        with pytest.raises(InvalidNameError):
            (CHANGES | QUESTIONS)[ask](Store(redis_client))
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("ask", [*CHANGES, *QUESTIONS, "workflows"])
def test_a_redis_that_is_not_there_is_told_with_its_address(ask: str, unused_url: str) -> None:
    asking = (CHANGES | QUESTIONS | {"workflows": lambda store: store.workflows()})[ask]
    store = Store(open_client(unused_url), retry_seconds=0.2)
    with pytest.raises(RedisUnavailableError, match=unused_url.removeprefix("redis://")):
        asking(store)


@pytest.fixture
def unused_url() -> str:
    from batchy_provider.local.ports import free_port

    return f"redis://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("ask", ["progress", "set_progress"])
def test_progress_in_a_foreign_key_is_told(redis_client: redis.Redis, ask: str) -> None:
    redis_client.set("sales:progress", "another program's")
    with pytest.raises(StateError, match="'sales:progress'"):
        QUESTIONS[ask](Store(redis_client))


def test_a_login_that_is_refused_is_told_at_once(own_server: Any) -> None:
    own_server.client().config_set("requirepass", "secret")
    for url in (own_server.url, own_server.url.replace("redis://", "redis://:wrong@")):
        with pytest.raises(RedisUnavailableError, match=r"username-password|uthenticat") as raised:
            Store(open_client(url)).workflows()
        assert "wrong" not in str(raised.value)
    with pytest.raises(RedisUnavailableError):
        Store(open_client(own_server.url)).open(WORKFLOW, request())


def test_a_user_who_may_not_write_is_told(own_server: Any) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", "-hset")
    store = Store(open_client(own_server.url.replace("redis://", "redis://reader:pw@")))
    with pytest.raises(RedisUnavailableError, match=r"Nothing was changed"):
        store.open(WORKFLOW, request())
    with own_server.client() as client:
        assert client.dbsize() == 0


def test_a_redis_that_is_full_is_told_and_nothing_is_changed(own_server: Any) -> None:
    store = Store(open_client(own_server.url))
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(RedisUnavailableError, match=r"maxmemory.*Nothing was changed"):
            store.open(WORKFLOW, request())
        assert client.dbsize() == 0


# -- questions ----------------------------------------------------------------------------------------------------


def test_the_workflows_are_those_of_this_package_and_of_the_original(store: Store, client: redis.Redis) -> None:
    succeed(store, "first")
    client.hset("original", "job", '{"status": "success", "batch_id": 1467149783}')
    client.hset("original-1467149783", "job", '{"status": "success", "batch_id": 1467149783}')
    client.hset("original-1467149783-init", "job", '{"status": "new"}')
    client.set("a string", "x")
    client.hset("theirs", "field", "plain text")
    client.hset("no name of ours", "field", "{}")
    client.hset(b"\xff\xfe", "field", "{}")
    client.hset("celery:task", "field", "{}")
    client.zadd("a-set", {"x": 1})
    assert store.workflows() == ["original", "sales"]


def test_the_overview_has_what_status_has(store: Store) -> None:
    succeed(store, "first")
    store.open(WORKFLOW, request("second"))
    store.disable(WORKFLOW, "extract", by="ops")
    (found,) = store.overview()
    status = store.status(WORKFLOW)
    assert (found.jobs, found.batch, found.holder, found.disabled) == (
        status.jobs,
        status.batch,
        status.holder,
        status.disabled,
    )


def test_an_empty_redis_has_no_workflow(store: Store) -> None:
    assert store.workflows() == []
    assert store.history(WORKFLOW) == []
    assert store.batch_of_run(WORKFLOW, "first") is None
    assert store.progress(WORKFLOW) == {}
    with pytest.raises(UnknownWorkflowError):
        store.status(WORKFLOW)
    with pytest.raises(UnknownBatchError, match="there is no batch 17; it may have been pruned"):
        store.batch(WORKFLOW, 17)


def test_history_is_newest_first_and_in_pages(store: Store) -> None:
    ids = [succeed(store, f"run {n}").batch_id for n in range(5)]
    backfill = store.open(
        WORKFLOW, request("backfill", backfill=True, window=Window(from_date="2026-01-01", to_date="2026-01-02"))
    )
    found = store.history(WORKFLOW)
    assert [batch.batch_id for batch in found] == [backfill.batch_id, *reversed(ids)]
    assert [batch.kind for batch in found] == ["history", *["live"] * 5]
    assert [batch.batch_id for batch in store.history(WORKFLOW, limit=2, offset=1)] == [ids[4], ids[3]]
    assert store.history(WORKFLOW, offset=6) == []


def test_progress_is_the_latest_of_each_job(store: Store) -> None:
    store.set_progress(WORKFLOW, "extract", {"batch_id": 1, "progress": 0.1, "message": "é"})
    store.set_progress(WORKFLOW, "extract", {"batch_id": 1, "progress": 0.2, "message": "34/68 files"})
    store.set_progress(WORKFLOW, "load", {"batch_id": 1, "progress": 0})
    assert store.progress(WORKFLOW)["extract"] == {"batch_id": 1, "progress": 0.2, "message": "34/68 files"}
    assert set(store.progress(WORKFLOW)) == {"extract", "load"}


# -- pruning ------------------------------------------------------------------------------------------------------


def test_pruning_keeps_the_newest(store: Store, client: redis.Redis) -> None:
    ids = [succeed(store, f"run {n}").batch_id for n in range(6)]
    assert store.prune(WORKFLOW, keep=2) == 4
    assert [batch.batch_id for batch in store.history(WORKFLOW)] == [ids[5], ids[4]]
    for gone in ids[:4]:
        assert not client.exists(f"sales-{gone}")
        assert not client.hexists("sales:meta", f"batch:{gone}")
        assert client.zscore("sales:closed", gone) is None
    assert store.prune(WORKFLOW, keep=2) == 0


def test_pruning_keeps_the_live_batch_and_open_ones_however_old(store: Store) -> None:
    live = succeed(store, "first")
    asked = Window(from_date="2026-01-01", to_date="2026-01-02")
    still_open = store.open(WORKFLOW, request("backfill 0", backfill=True, window=asked))
    for n in range(1, 5):
        succeed(store, f"backfill {n}", backfill=True, window=asked)
    assert store.prune(WORKFLOW, keep=1) == 3
    left = {batch.batch_id for batch in store.history(WORKFLOW)}
    assert {live.batch_id, still_open.batch_id} < left


def test_pruning_forgets_no_watermark_no_run_and_no_day(store: Store, client: redis.Redis) -> None:
    for n in range(3):
        succeed(store, f"run {n}")
    runs, days, state = client.hgetall("sales:runs"), client.hgetall("sales:days"), client.hgetall("sales")
    store.prune(WORKFLOW, keep=1)
    assert (client.hgetall("sales:runs"), client.hgetall("sales:days"), client.hgetall("sales")) == (runs, days, state)
    assert store.batch_of_run(WORKFLOW, "run 0") is None


def test_runs_and_days_are_forgotten_so_many_days_after_their_batches(store: Store, client: redis.Redis) -> None:
    old = 1_600_000_000
    client.hset("sales:runs", mapping={f"long ago {n}": old + n for n in range(1200)})
    client.hset("sales:days", mapping={"2020-09-13": old, "2020-09-14": old + 5})
    # Old, and still there.
    client.zadd("sales:history", {str(old + 5): old + 5})
    client.hset(f"sales-{old + 5}", "extract", json.dumps({"status": "open"}))
    kept = [succeed(store, f"run {n}").batch_id for n in range(3)]
    store.prune(WORKFLOW, keep=1, keep_days=10)
    runs = {name.decode(): int(batch_id) for name, batch_id in client.hgetall("sales:runs").items()}
    assert runs == {"long ago 5": old + 5, "run 0": kept[0], "run 1": kept[1], "run 2": kept[2]}
    days = {day.decode(): int(batch_id) for day, batch_id in client.hgetall("sales:days").items()}
    assert days.pop("2020-09-14") == old + 5
    assert set(days.values()) <= set(kept)
    assert kept[2] in days.values()


def add_batches(client: redis.Redis, number: int) -> None:
    """Write so many old batches that have succeeded, with their runs."""
    pipe = client.pipeline(transaction=False)
    for n in range(1, number + 1):
        pipe.zadd("sales:history", {str(n): n})
        pipe.hset(f"sales-{n}", "extract", '{"status": "success"}')
        pipe.hset("sales:runs", f"run {n}", n)
    pipe.execute()


def test_pruning_takes_any_number(store: Store, client: redis.Redis) -> None:
    add_batches(client, 1200)
    batch = succeed(store, "first")
    assert store.prune(WORKFLOW, keep=1) == 1200
    assert client.zrange("sales:history", 0, -1) == [str(batch.batch_id).encode()]


def test_pruning_looks_at_each_batch_once_in_packets_of_bounded_size(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.state import pruning
    from batchy_provider.state.transaction import Session

    packets: list[int] = []
    ask = Session.ask
    monkeypatch.setattr(Session, "ask", lambda self, *sent: packets.append(len(sent)) or ask(self, *sent))
    sent = []
    monkeypatch.setattr(pruning, "_AT_ONCE", 50)
    for many in (150, 600):
        client.flushall()
        succeed(store, "first")
        add_batches(client, many)
        packets.clear()
        assert store.prune(WORKFLOW, keep=1, keep_days=1) == many
        assert client.hlen("sales:runs") == 1
        assert max(packets) < 110
        sent.append(sum(packets))
    assert sent[1] < 5 * sent[0]


def test_a_pruning_that_is_interrupted_leaves_whole_batches_and_the_next_goes_on(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchy_provider.state import pruning

    add_batches(client, 1200)
    succeed(store, "first")
    really, calls = pruning._prune_some, []

    def interrupted(*given: Any) -> int:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return really(*given)

    monkeypatch.setattr(pruning, "_prune_some", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.prune(WORKFLOW, keep=1)
    left = {int(i) for i in client.zrange("sales:history", 0, -1)}
    assert {n for n in range(1, 1201) if client.exists(f"sales-{n}")} == left & set(range(1, 1201)) != set()
    assert store.prune(WORKFLOW, keep=1) == len(left) - 1


def test_pruning_removes_no_key_of_another_program(store: Store, client: redis.Redis) -> None:
    first = succeed(store, "first")
    succeed(store, "second")
    client.delete(f"sales-{first.batch_id}")
    client.set(f"sales-{first.batch_id}", "another program's")
    with pytest.raises(StateError, match=f"'sales-{first.batch_id}' does not hold what batchy keeps there"):
        store.prune(WORKFLOW, keep=1)
    assert client.get(f"sales-{first.batch_id}") == b"another program's"


def test_nothing_can_be_pruned_to_nothing(store: Store) -> None:
    with pytest.raises(ValueError, match="keep must be at least 1"):
        store.prune(WORKFLOW, keep=0)


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


def test_opening_and_closing_are_told_on_the_channel(store: Store, told: Any) -> None:
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


def test_who_hears_of_an_event_sees_the_change(client: redis.Redis, store: Store) -> None:
    with client.monitor() as monitor:
        store.open(WORKFLOW, request())
        commands = []
        for command in monitor.listen():
            commands.append(command["command"].split()[0])
            if commands[-1] == "EXEC":
                break
    inside = commands[commands.index("MULTI") :]
    assert inside.index("HSET") < inside.index("PUBLISH") == len(inside) - 2


def test_what_was_refused_is_not_told(store: Store, told: Any) -> None:
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
