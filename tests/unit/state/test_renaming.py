# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Rename a workflow in Redis, on one server and on a cluster, and interrupted at every step."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from killed_process import DoomedConnection, Fuse, Killed

from batchy_provider.core.values import (
    Actor,
    CloseRequest,
    Holder,
    OpenRequest,
    Window,
    WorkflowConfig,
)
from batchy_provider.core.workflow_state import UnreadableWorkflow
from batchy_provider.exceptions import (
    BatchHeldError,
    StateError,
    UnfinishedRenameError,
    UnknownWorkflowError,
    WorkflowExistsError,
)
from batchy_provider.state.connections import open_client
from batchy_provider.state.keys import Keys
from batchy_provider.state.removal import remove_state
from batchy_provider.state.renaming import RenameRequest, check_rename, finish_rename, rename_state
from batchy_provider.state.store import Store

ANNA = Actor("anna", "cli")
CONFIG = WorkflowConfig(
    name="sales", jobs={"extract": {"big": 2**80, "größe": [], "x": None}, "load": {}}, timezone="Europe/Paris"
)


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    client = open_client(request.getfixturevalue("redis_url" if request.param == "server" else "cluster_url"))
    yield Store(client)
    client.close()


def night(store: Store, run_id: str, workflow: str = "sales", dag_id: str = "sales", **wish: Any) -> Any:
    config = WorkflowConfig(name=workflow, jobs=CONFIG.jobs, timezone=CONFIG.timezone)
    request = OpenRequest(holder=Holder(dag_id=dag_id, run_id=run_id), config=config, **wish)
    batch = store.open(workflow, request)
    return store.close(workflow, CloseRequest(result="success", batch_id=batch.batch_id))


def filled(store: Store) -> None:
    """Three nights by runs of three DAGs, a backfill, a switched off job and progress."""
    night(store, "one")
    night(store, "two", dag_id="other")
    night(store, "three", dag_id="orders")
    window = Window(from_date="2026-01-01", to_date="2026-01-02")
    night(store, "four", window=window, backfill=True, day="2026-01-01")
    store.disable("sales", "load", by="bob")
    store.set_progress("sales", "load", {"progress": 0.5})


def request(**more: Any) -> RenameRequest:
    return RenameRequest(old="sales", new="orders", by=ANNA, **more)


def contents(store: Store, workflow: str) -> dict[str, Any]:
    """Return what each key of a workflow holds, without its name."""
    keys, found = Keys(workflow, store.backend.cluster), {}
    client: Any = store.backend.client
    for raw in client.scan_iter(match=f"{keys.live}*", count=1000):
        key = raw.decode()
        part = dict(client.zrange(key, 0, -1, withscores=True)) if key in keys.sorted_sets else client.hgetall(key)
        found[key.removeprefix(keys.live)] = {name.decode(): value for name, value in part.items()}
    return found


def texts(part: dict[str, bytes]) -> dict[str, str]:
    return {name: value.decode() for name, value in part.items()}


def test_everything_has_the_new_name_and_only_runs_are_written_anew(store: Store) -> None:
    filled(store)
    before = contents(store, "sales")
    history = store.history("sales")
    assert rename_state(store.backend, request(why="one name")) == 4
    after = contents(store, "orders")
    assert contents(store, "sales") == {}
    assert texts(before.pop(":runs")).keys() == {"one", "other/two", "orders/three", "four"}
    assert texts(after.pop(":runs")).keys() == {"sales/one", "other/two", "three", "sales/four"}
    old, new = texts(before.pop(":meta")), texts(after.pop(":meta"))
    assert after == before
    assert "rename" not in new
    first, *others = json.loads(new["changes"])
    assert (first["by"], first["what"], first["why"]) == ("anna", "renamed sales to orders", "one name")
    assert others == json.loads(old["changes"])
    assert new["config"] == old["config"]
    for field in (name for name in new if name.startswith("batch:")):
        assert json.loads(new[field]) | {"run": ""} == json.loads(old[field]) | {"run": ""}
    assert [batch.jobs for batch in store.history("orders")] == [batch.jobs for batch in history]
    assert store.status("orders").disabled == {"load"}


def test_an_old_run_does_not_match_a_run_of_the_new_name(store: Store) -> None:
    filled(store)
    rename_state(store.backend, request())
    assert store.batch_of_run("orders", "one") is None
    found = store.batch_of_run("orders", "sales/one")
    assert found is not None
    assert night(store, "one", "orders", "orders").from_date > found.from_date
    # The old DAG, if it opens the workflow under its new name, is known: its cleared run gets its own window.
    again = store.open("orders", OpenRequest(holder=Holder(dag_id="sales", run_id="one")))
    assert (again.from_date, again.to_date) == (found.from_date, found.to_date)


def test_a_renamed_workflow_goes_on_where_it_was(store: Store) -> None:
    filled(store)
    last = store.status("sales").jobs["extract"]["batch_start"]
    rename_state(store.backend, request())
    assert night(store, "five", "orders", "orders").jobs["extract"]["from_date"] == last


@pytest.mark.parametrize("history", [False, True])
def test_an_open_batch_is_a_refusal(store: Store, history: bool) -> None:
    filled(store)
    wish = {"window": Window(from_date="2026-01-03", to_date="2026-01-04"), "backfill": True, "day": "2026-01-03"}
    store.open("sales", OpenRequest(holder=Holder(dag_id="sales", run_id="open"), **(wish if history else {})))
    before = contents(store, "sales")
    with pytest.raises(BatchHeldError, match="is open, by run"):
        rename_state(store.backend, request())
    assert (contents(store, "sales"), contents(store, "orders")) == (before, {})


def test_a_name_that_is_taken_is_a_refusal(store: Store) -> None:
    filled(store)
    night(store, "one", "orders", "orders")
    before = contents(store, "sales"), contents(store, "orders")
    with pytest.raises(WorkflowExistsError, match="batchy remove orders"):
        rename_state(store.backend, request())
    assert (contents(store, "sales"), contents(store, "orders")) == before


def test_another_programs_key_is_a_refusal(store: Store) -> None:
    filled(store)
    store.backend.client.hset(Keys("orders", store.backend.cluster).live, "page", "<html>")
    before = contents(store, "sales")
    with pytest.raises(WorkflowExistsError, match="another program"):
        rename_state(store.backend, request())
    store.backend.client.delete(Keys("orders", store.backend.cluster).live)
    store.backend.client.set(Keys("orders", store.backend.cluster).progress, "not ours")
    with pytest.raises(StateError, match="Another program"):
        rename_state(store.backend, request())
    assert contents(store, "sales") == before


def test_an_unknown_name_and_a_second_call_say_so(store: Store) -> None:
    with pytest.raises(UnknownWorkflowError, match="'sales' is not in Redis"):
        rename_state(store.backend, request())
    filled(store)
    rename_state(store.backend, request())
    with pytest.raises(UnknownWorkflowError, match=r"but there is 'orders'\. Was it renamed before"):
        rename_state(store.backend, request())


class Interrupted:
    """Let the n-th piece of work of a store not happen, as if the process were killed before it."""

    def __init__(self, store: Store, left: int) -> None:
        self._transact: Callable[..., Any] = store.backend.transact
        self._left = left

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self._left == 0:
            raise Killed
        self._left -= 1
        return self._transact(*arguments, **options)


@pytest.mark.parametrize("files_follow", [False, True])
def test_wherever_it_is_interrupted_it_says_so_and_the_next_call_finishes_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, files_follow: bool
) -> None:
    finished = was_both = False
    for steps in range(12):
        store.backend.client.flushall()
        filled(store)
        before = {suffix: part for suffix, part in contents(store, "sales").items() if suffix not in (":meta", ":runs")}
        with monkeypatch.context() as patch:
            patch.setattr(store.backend, "transact", Interrupted(store, steps))
            try:
                rename_state(store.backend, request(files_follow=files_follow))
                finished = True
            except Killed:
                pass
        there = [name for name in ("sales", "orders") if contents(store, name)]
        if len(there) == 2:
            was_both = True
            for name in there:
                for change in (
                    lambda name=name: night(store, "later", name),
                    lambda name=name: store.set_window(name, "2026-01-01", by="bob"),
                    lambda name=name: store.disable(name, "extract", by="bob"),
                    lambda name=name: store.prune(name, keep=1),
                    lambda name=name: remove_state(store.backend, name),
                    lambda name=name: store.status(name),
                ):
                    with pytest.raises(UnfinishedRenameError, match="`batchy rename sales orders` finishes it"):
                        change()
                (shown,) = store.scan([name])
                assert isinstance(shown, UnreadableWorkflow)
                assert "`batchy rename sales orders` finishes it" in shown.reason
            with pytest.raises(UnfinishedRenameError):
                check_rename(store.backend, RenameRequest(old="sales", new="third", by=ANNA))
        if not finished:
            check_rename(store.backend, request())
            assert rename_state(store.backend, request(files_follow=files_follow)) == 4
        finish_rename(store.backend, "orders")
        after = contents(store, "orders")
        assert contents(store, "sales") == {}
        assert {suffix: part for suffix, part in after.items() if suffix not in (":meta", ":runs")} == before
        meta = texts(after[":meta"])
        assert "rename" not in meta
        assert [each["what"] for each in json.loads(meta["changes"])] == ["renamed sales to orders", "disabled load"]
        if finished:
            break
    assert finished
    assert was_both == store.backend.cluster


def test_a_process_that_is_killed_leaves_the_old_or_the_new_name(redis_url: str, redis_client: redis.Redis) -> None:
    """On one server, wherever the connection ends."""
    store = Store(redis_client)
    pool = redis.ConnectionPool.from_url(redis_url, connection_class=DoomedConnection, client_name="doomed")
    doomed = Store(redis.Redis(connection_pool=pool), retry_seconds=0)
    seen = set()
    for kind, step in (("sent", 97), ("read", 1)):
        for count in range(0, 20_000, step):
            redis_client.flushall()
            night(store, "one")
            before = contents(store, "sales")
            DoomedConnection.fuse = Fuse(kind, count)
            try:
                rename_state(doomed.backend, request())
                over = True
            except Killed:
                over = False
            finally:
                DoomedConnection.fuse = None
                pool.disconnect()
            while b"doomed" in redis_client.execute_command("CLIENT", "LIST", parse=False):
                time.sleep(0.0005)  # the server has not read all that was sent
            if contents(store, "sales"):
                seen.add("old")
                assert (contents(store, "sales"), contents(store, "orders")) == (before, {})
            else:
                seen.add("new")
                assert len(contents(store, "orders")) == len(before)
            if over:
                break
    assert seen == {"old", "new"}


def test_what_the_original_writes_meanwhile_is_not_lost(cluster_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original server knows no mark. On a cluster it may write between copy and removal."""
    from batchy_provider.state import renaming

    store = Store(open_client(cluster_url))
    filled(store)
    written, write = [], renaming._write_new

    def write_and_change(*arguments: Any) -> None:
        write(*arguments)
        if not written:
            written.append(store.backend.client.hset("{sales}", "audit", '{"status": "success"}'))

    monkeypatch.setattr(renaming, "_write_new", write_and_change)
    rename_state(store.backend, request())
    assert store.status("orders").jobs["audit"] == {"status": "success"}
    assert contents(store, "sales") == {}
    store.backend.client.close()
