# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Connections that are cut before or after a commit, and servers that go away: a change is made once, or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from state_worlds import WORKFLOW

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

CONFIG = WorkflowConfig(name=WORKFLOW, jobs={"extract": {}, "load": {}})


class Proxy:
    """Stands between client and server, and cuts the connection when it is told to.

    :param server: port of the real server.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts: list[str] = []
        """How to treat the next commits: ``request`` (lost on the way there), ``reply`` (on the way back)."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server, contextlib.suppress(OSError):
            while request := client.recv(1 << 20):
                cut = self.cuts.pop(0) if b"EXEC" in request and self.cuts else None
                if cut == "request":
                    return
                server.sendall(request)
                reply = server.recv(1 << 20)
                if cut == "reply":
                    return
                client.sendall(reply)


@pytest.fixture
def proxy(own_server: Any) -> Iterator[Proxy]:
    proxy = Proxy(own_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy: Proxy) -> Iterator[Store]:
    with open_client(proxy.url) as client:
        yield Store(client, retry_seconds=5)


def run_opens(store: Store) -> Any:
    return store.open(WORKFLOW, OpenRequest(holder=Holder(dag_id=WORKFLOW, run_id="tonight"), config=CONFIG))


def person_opens(store: Store) -> Any:
    return store.open(WORKFLOW, OpenRequest(holder=Holder(by="ops"), config=CONFIG))


def one_off(store: Store) -> Any:
    window = Window(from_date="2026-01-01", to_date="2026-01-02")
    return store.open(WORKFLOW, OpenRequest(holder=Holder(by="ops"), config=CONFIG, window=window))


def batches(server: Any) -> list[int]:
    with server.client() as client:
        return [int(member) for member in client.zrange("sales:history", 0, -1)]


@pytest.mark.parametrize("opens", [run_opens, person_opens, one_off])
@pytest.mark.parametrize("cuts", [["request"], ["reply"], ["request", "reply"], ["reply", "reply", "request"]])
def test_whichever_way_a_message_is_lost_one_batch_is_opened(
    own_server: Any, proxy: Proxy, store: Store, opens: Callable[[Store], Any], cuts: list[str]
) -> None:
    proxy.cuts = list(cuts)
    batch = opens(store)
    assert proxy.cuts == [] or "reply" in cuts, "what was done needs no second commit"
    assert batches(own_server) == [batch.batch_id]
    assert batch.status == "open"


@pytest.mark.parametrize("cut", ["request", "reply"])
@pytest.mark.parametrize("result", ["success", "failed"])
def test_whichever_way_a_message_is_lost_the_batch_is_closed_once(
    own_server: Any, proxy: Proxy, store: Store, cut: str, result: Any
) -> None:
    batch = run_opens(store)
    with own_server.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("batchy:events")
        listener.get_message(timeout=5)
        proxy.cuts = [cut]
        closed = store.close(WORKFLOW, CloseRequest(result=result, batch_id=batch.batch_id))
        assert closed.status == result
        told = []
        while message := listener.get_message(timeout=0.3):
            told.append(message)
        assert len(told) == 1


def test_a_commit_that_is_lost_repeatedly_is_an_error_and_nothing_changes(own_server: Any, proxy: Proxy) -> None:
    store = Store(open_client(proxy.url), retry_seconds=0.5)
    proxy.cuts = ["request"] * 1000
    with pytest.raises(RedisUnavailableError, match="making it again is safe"):
        run_opens(store)
    with own_server.client() as client:
        assert client.dbsize() == 0


def test_a_connection_lost_in_the_middle_is_not_handed_on(own_server: Any) -> None:
    """A reply left unread on a pooled connection would be the next one's answer."""
    with own_server.client() as admin, open_client(own_server.url) as client:
        assert isinstance(client, redis.Redis)
        store = Store(client)
        run_opens(store)
        for _ in range(20):
            admin.client_kill_filter(_type="normal", skipme=True)
            assert store.status(WORKFLOW).workflow == WORKFLOW
            assert client.echo("mine") == b"mine"


def test_an_error_while_reading_leaves_nothing_watched(own_server: Any) -> None:
    with own_server.client() as admin:
        client = redis.Redis.from_url(own_server.url, max_connections=1)
        store = Store(client)
        run_opens(store)
        with pytest.raises(Exception, match="tonight"):
            store.open(WORKFLOW, OpenRequest(holder=Holder(dag_id=WORKFLOW, run_id="other"), config=CONFIG))
        admin.hset("sales", "load", '{"status": "open", "batch_id": 1}')
        with client.pipeline() as pipe:
            pipe.set("theirs", 1)
            assert pipe.execute() == [True], "the one connection there is is fit for others"


def test_a_server_that_comes_back_is_waited_for(own_server: Any) -> None:
    store = Store(open_client(own_server.url), retry_seconds=15)
    run_opens(store)
    own_server.stop()
    back = threading.Timer(1.0, own_server.start)
    back.start()
    try:
        # It forgot all: this server keeps nothing on disk. The open of the same run is then a first one.
        assert not run_opens(store).reused
    finally:
        back.join()


def test_a_server_that_does_not_come_back_is_an_error_within_the_retry_budget(own_server: Any) -> None:
    store = Store(open_client(own_server.url), retry_seconds=1)
    run_opens(store)
    own_server.stop()
    began = time.monotonic()
    with pytest.raises(RedisUnavailableError, match="cannot be used"):
        store.close(WORKFLOW, CloseRequest(result="success"))
    assert time.monotonic() - began < 5
    own_server.start()


def test_a_server_that_is_killed_during_changes_leaves_the_old_or_the_new_state(own_server: Any) -> None:
    with own_server.client() as client:
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "always")
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.02)
    done: list[int] = []
    stop = threading.Event()

    def nights() -> None:
        store = Store(open_client(own_server.url), retry_seconds=0.5)
        night = 0
        while not stop.is_set():
            night += 1
            with contextlib.suppress(RedisUnavailableError):
                holder = Holder(dag_id=WORKFLOW, run_id=f"night {night}")
                batch = store.open(WORKFLOW, OpenRequest(holder=holder, config=CONFIG, if_open="take_over"))
                store.close(WORKFLOW, CloseRequest(result="success", batch_id=batch.batch_id))
                done.append(batch.batch_id)

    worker = threading.Thread(target=nights)
    worker.start()
    try:
        deadline = time.monotonic() + 10
        while len(done) < 30 and time.monotonic() < deadline:
            time.sleep(0.01)
        own_server.kill()
    finally:
        stop.set()
        worker.join()
    assert len(done) >= 30
    own_server.start()  # without its file: what is lost with a server is not ours to keep
    assert run_opens(Store(open_client(own_server.url))).status == "open"
