# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The feed of events and the names of workflows: what is lost with a connection, or comes while Redis is looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loaded_nights import ANN, load
from redis import Redis
from redis_server import Server

from batchy_provider.services.composition import Services
from batchy_provider.services.events import BACK, LOST, EventFeed
from batchy_provider.services.known_workflows import WorkflowNames
from batchy_provider.state.connections import open_client
from batchy_provider.state.keys import EVENTS_CHANNEL
from batchy_provider.state.store import Store

SILENCE = 0.4


def until(is_so: Callable[[], Any]) -> bool:
    end = time.monotonic() + 60
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(is_so())


def subscribers(client: Redis) -> int:
    return int(client.pubsub_numsub(EVENTS_CHANNEL)[0][1])


@pytest.fixture
def heard(own_server: Server) -> Iterator[list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    feed = EventFeed(lambda: Store(open_client(own_server.url)), silence=SILENCE)
    with feed.watch(events.append):
        assert until(lambda: subscribers(own_server.client()) == 1)
        yield events


def test_a_connection_that_is_dead_and_says_nothing_is_noticed(own_server: Server, heard: list[dict[str, Any]]) -> None:
    own_server.freeze()  # TCP goes on to acknowledge, as behind a firewall that has forgotten the connection
    try:
        assert until(lambda: LOST in heard)
    finally:
        own_server.thaw()
    assert until(lambda: BACK in heard)
    own_server.client().publish(EVENTS_CHANNEL, '{"workflow": "sales", "event": "open"}')
    assert until(lambda: {"workflow": "sales", "event": "open"} in heard)


def test_a_connection_that_is_only_quiet_is_kept(own_server: Server, heard: list[dict[str, Any]]) -> None:
    (before,) = [each["id"] for each in own_server.client().client_list() if each["sub"] == "1"]
    time.sleep(SILENCE * 5)
    assert [each["id"] for each in own_server.client().client_list() if each["sub"] == "1"] == [before]
    assert heard == []


def test_a_connection_that_is_made_again_is_told(own_server: Server, heard: list[dict[str, Any]]) -> None:
    """What was published in between is lost, however short that was."""
    admin = own_server.client()
    (listener,) = [each["id"] for each in admin.client_list() if each["sub"] == "1"]
    admin.client_kill_filter(_id=listener)
    assert until(lambda: BACK in heard)


def test_names_are_looked_up_again_after_a_loss(services: Services, redis_client: Redis) -> None:
    assert services.names.all() == set()
    redis_client.hset("sales", "load", '{"status": "new"}')  # nobody tells of it
    with services.events.watch(lambda event: None):
        assert until(lambda: subscribers(redis_client) == 1)
        (listener,) = [each["id"] for each in redis_client.client_list() if each["sub"] == "1"]
        redis_client.client_kill_filter(_id=listener)
        assert until(lambda: services.names.all() == {"sales"})


def test_a_name_that_comes_to_be_while_redis_is_looked_at_is_kept() -> None:
    names: WorkflowNames

    class Slow:
        def candidates(self) -> set[str]:
            names.add("new")  # an event that comes behind the cursor of the scan
            return {"old"}

    names = WorkflowNames(lambda: Slow())
    assert names.all() == {"old", "new"}


def test_a_scan_that_began_before_it_was_too_old_does_not_count() -> None:
    """Also not for a name that an event has removed meanwhile."""
    names: WorkflowNames
    answers = [{"old", "gone"}, {"old", "new"}]

    class Slow:
        def candidates(self) -> set[str]:
            found = answers.pop(0)
            if answers:
                names.remove("gone")
                names.expire()
            return found

    names = WorkflowNames(lambda: Slow())
    assert names.all() == {"old"}
    assert names.all() == {"old", "new"}, "the next answer asks again, and waits for the reply"
    assert names.all() == {"old", "new"}
    assert not answers


def test_after_an_event_the_very_next_answer_has_the_new_names(services: Services, redis_url: str) -> None:
    heard: list[Any] = []
    other = Services(store=lambda: Store(open_client(redis_url)))
    load(other, 1, 2)
    assert services.names.all() == {"sales"}
    with services.events.watch(heard.append):
        assert until(lambda: services.events.is_live)
        other.renaming.rename("sales", "orders", actor=ANN)
        assert until(lambda: len(heard) == 2)
        assert [row.workflow for row in services.workflows.summaries()] == ["orders"]
        other.removal.remove("orders", actor=ANN)
        assert until(lambda: len(heard) == 3)
        assert "orders" not in services.names.all()


def test_one_watcher_that_fails_costs_no_other_an_event(own_server: Server, heard: list[dict[str, Any]]) -> None:
    def fail(event: dict[str, Any]) -> None:
        raise RuntimeError("of this watcher alone")

    events: list[dict[str, Any]] = []
    feed = EventFeed(lambda: Store(open_client(own_server.url)), fail)
    with feed.watch(fail), feed.watch(events.append):
        assert until(lambda: subscribers(own_server.client()) == 2)
        own_server.client().publish(EVENTS_CHANNEL, '{"workflow": "sales"}')
        assert until(lambda: events)
    assert events == [{"workflow": "sales"}]
