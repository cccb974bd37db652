# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A network that fails at every message of every change, and around each: made once, told once, and the same answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from faulty_proxy import Fault, FaultyProxy, boundaries
from redis_sentinel import sentinel_of
from redis_server import KIND, Server, programs

from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig
from batchy_provider.local.ports import free_port
from batchy_provider.state import transaction
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

ANNA = Actor("anna", "cli")


class Setting:
    """A server behind a faulty network: a client that goes through it, and one that does not."""

    def __init__(self, server: Server, proxy: FaultyProxy, url: str, *, cluster: bool) -> None:
        self.proxy = proxy
        self.url = url
        self.direct = Store(server.client(), cluster=cluster)
        self.client: redis.Redis = self.direct.backend.client
        self.listener = self.client.pubsub(ignore_subscribe_messages=True)
        self.listener.subscribe("batchy:events")
        self.listener.get_message(timeout=5)

    def events(self) -> int:
        """How many were told since the last question."""
        # What this client publishes on the same connection comes after all that the server has told before.
        count = 0
        self.client.publish("batchy:events", "end")
        while True:
            message = self.listener.get_message(timeout=5)
            assert message is not None
            if message["data"] == b"end":
                return count
            count += 1


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "_LOST_PAUSE_SECONDS", (0.0, 0.01, 0.1))


@pytest.fixture(scope="module")
def settings_by_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Setting]]:
    """A function that returns the setting of a kind: standalone, sentinel or cluster. Each is started once."""
    with ExitStack() as stack:
        started: dict[str, Setting] = {}

        def setting_of(kind: str) -> Setting:
            if kind not in started:
                started[kind] = stack.enter_context(_started(kind, tmp_path_factory.mktemp(kind)))
            return started[kind]

        yield setting_of


@pytest.fixture
def setting(request: pytest.FixtureRequest, settings_by_kind: Callable[[str], Setting]) -> Setting:
    """The setting of the kind that the test names, without any key."""
    setting = settings_by_kind(request.param)
    setting.proxy.watch()
    setting.client.flushall()
    return setting


@contextmanager
def _started(kind: str, tmp_path: Path) -> Iterator[Setting]:
    with ExitStack() as stack:
        proxy = FaultyProxy()
        stack.callback(proxy.close)
        more: dict[str, object] = {}
        if kind == "cluster":
            more = {
                "cluster-enabled": "yes",
                "cluster-port": free_port(),
                "cluster-announce-ip": "127.0.0.1",
                "cluster-announce-port": proxy.port,
            }
        server = Server(programs()[KIND], tmp_path, more=more)
        server.start()
        stack.callback(server.stop)
        proxy.server = server.port
        url = f"redis://127.0.0.1:{proxy.port}"
        if kind == "sentinel":
            url = stack.enter_context(sentinel_of(tmp_path, proxy.port))
        if kind == "cluster":
            url = f"redis+cluster://127.0.0.1:{proxy.port}"
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                while client.cluster("info")["cluster_state"] != "ok":
                    pass
        yield Setting(server, proxy, url, cluster=kind == "cluster")


class Change:
    """
    One thing that is done to a workflow.

    :param prepare: brings the workflow to where it can be done.
    :param make: does it; returns what tells one answer from another.
    :param traces: what there must be exactly once afterwards.
    """

    def __init__(
        self,
        prepare: Callable[[Store, str], Any],
        make: Callable[[Store, str], Any],
        traces: Callable[[Store, str], Any],
        events: int = 1,
    ) -> None:
        self.prepare, self.make, self.traces, self.events = prepare, make, traces, events


def config(name: str) -> WorkflowConfig:
    return WorkflowConfig(name=name, jobs={"extract": {"region": "eu"}, "load": {}})


def opened(store: Store, name: str, **wish: Any) -> Any:
    wish = {"holder": Holder(dag_id=name, run_id="tonight"), "config": config(name), **wish}
    return store.open(name, OpenRequest(**wish)).batch_id


def closed(store: Store, name: str) -> Any:
    batch = store.close(name, CloseRequest(result="success", batch_id=store.status(name).batch.batch_id))
    return batch.batch_id, batch.status


def night(store: Store, name: str) -> Any:
    opened(store, name)
    return closed(store, name)


def nothing(store: Store, name: str) -> None: ...


def ids(store: Store, name: str) -> list[tuple[int, str]]:
    return [(batch.batch_id, batch.status) for batch in store.history(name)]


def changes(store: Store, name: str) -> int:
    return len(store.status(name).changes)


DAY = Window(from_date="2026-01-01", to_date="2026-01-02")
CHANGES = {
    "a run opens": Change(nothing, opened, ids),
    "a person opens": Change(nothing, lambda s, n: opened(s, n, holder=PERSONS[n]), ids),
    "a person loads one day": Change(nothing, lambda s, n: opened(s, n, holder=PERSONS[n], window=DAY), ids),
    "close": Change(opened, lambda s, n: closed(s, n), ids),
    "set_window": Change(
        night, lambda s, n: s.set_window(n, "2026-01-01", by=ANNA) and None, lambda s, n: (changes(s, n), ids(s, n))
    ),
    "disable": Change(night, lambda s, n: s.disable(n, "load", by=ANNA), changes),
    "enable": Change(
        lambda s, n: (night(s, n), s.disable(n, "load", by="ops")), lambda s, n: s.enable(n, "load", by=ANNA), changes
    ),
    "load": Change(nothing, lambda s, n: s.load(config(n), by=ANNA), changes),
    "prune": Change(
        lambda s, n: [opened(s, n, holder=Holder(by="ops"), if_open="take_over") for _ in range(3)],
        lambda s, n: s.prune(n, keep=1) and None,
        lambda s, n: len(ids(s, n)),
        events=0,
    ),
}


CASES = [("standalone", what) for what in CHANGES] + [
    # What differs there is how a connection is found again, whatever it is for.
    (kind, what)
    for kind in ("sentinel", "cluster")
    for what in ("a run opens", "close", "set_window")
]


class _Persons(dict[str, Holder]):
    """Each workflow's own person: a request is told from another by the token of who asks."""

    def __missing__(self, name: str) -> Holder:
        self[name] = Holder(by="anna")
        return self[name]


PERSONS = _Persons()


def undisturbed(setting: Setting, store: Store, change: Change, name: str) -> Any:
    """Do it once without a fault: what it leaves, and what went over the wire."""
    change.prepare(setting.direct, name)
    setting.events()
    setting.proxy.watch()
    change.make(store, name)
    seen, packets = dict(setting.proxy.seen), {way: list(at) for way, at in setting.proxy.packets.items()}
    assert setting.events() == change.events
    return _without_ids(change.traces(setting.direct, name)), seen, packets


def _without_ids(traces: Any) -> Any:
    if isinstance(traces, tuple):
        return tuple(_without_ids(part) for part in traces)
    return [status for _, status in traces] if isinstance(traces, list) else traces


def disturbed(setting: Setting, store: Store, change: Change, name: str, fault: Fault, expected: Any) -> None:
    change.prepare(setting.direct, name)
    setting.events()
    setting.client.ping()
    # The connection is there already: what is cut is the change, not the login before it.
    store.progress(name)
    setting.proxy.watch(fault)
    answer = change.make(store, name)
    setting.proxy.watch()
    if fault.how == "hold" and fault.met.is_set():
        fault.bring()
    assert setting.events() == change.events, (name, fault)
    left = change.traces(setting.direct, name)
    assert _without_ids(left) == expected, (name, fault)
    if isinstance(left, list) and isinstance(answer, int):
        assert left[0][0] == answer, "whoever asks is told of the batch that there is"


@pytest.mark.parametrize(("setting", "what"), CASES, indirect=["setting"])
def test_cut_at_any_message_a_change_is_made_once(setting: Setting, what: str) -> None:
    change = CHANGES[what]
    with open_client(setting.url) as client:
        store = Store(client, retry_seconds=60)
        store.progress("warm")
        expected, seen, _ = undisturbed(setting, store, change, "wf00000")
        faults = [Fault(way, at) for way, data in seen.items() for at in boundaries(way, data)]
        for number, fault in enumerate(faults, 1):
            disturbed(setting, store, change, f"wf{number:05}", fault, expected)
        # The clock's microseconds have one digit to six, so a later reply may end a few bytes before the first one did.
        missed = [fault for fault in faults if not fault.met.is_set() and fault.at < len(seen[fault.way]) - 12]
        assert not missed
        assert {fault.way for fault in faults if fault.met.is_set()} == {"request", "reply"}


@pytest.mark.parametrize(("setting", "what"), CASES, indirect=["setting"])
def test_what_comes_late_comes_to_nothing(setting: Setting, what: str) -> None:
    """A request that the server gets when its sender has long made the change another way."""
    change = CHANGES[what]
    with open_client(f"{setting.url}?socket_timeout=0.1") as client:
        store = Store(client, retry_seconds=60)
        store.progress("warm")
        expected, _, packets = undisturbed(setting, store, change, "wf00000")
        faults = [Fault(way, at, "hold") for way, places in packets.items() for at in places]
        assert len(faults) >= 4
        for number, fault in enumerate(faults, 1):
            disturbed(setting, store, change, f"wf{number:05}", fault, expected)
            assert fault.met.is_set()
