# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""URLs of Redis: every kind of deployment, and passwords that no error repeats."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.exceptions import ConfigError
from batchy_provider.state.connections import Address, client, open_client, parse_hosts, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Address()),
        ("redis://cache", Address(hosts=(("cache", 6379),))),
        ("valkey://cache:7000", Address(hosts=(("cache", 7000),))),
        ("redis://cache/3", Address(hosts=(("cache", 6379),), db=3)),
        ("redis://cache?db=3", Address(hosts=(("cache", 6379),), db=3)),
        ("redis://[::1]:7000/1", Address(hosts=(("::1", 7000),), db=1)),
        ("redis://[::1]", Address(hosts=(("::1", 6379),))),
        ("redis://:pw@cache", Address(hosts=(("cache", 6379),), password="pw")),
        ("redis://user:p%40%2F%3A%23@cache", Address(hosts=(("cache", 6379),), username="user", password="p@/:#")),
        (
            "redis://cache?wait_replicas=1&wait_replicas_ms=500",
            Address(hosts=(("cache", 6379),), wait_replicas=1, wait_replicas_ms=500),
        ),
        (
            "redis+sentinel://s1/main?sentinel_username=u&sentinel_password=p%2Fw",
            Address(
                kind="sentinel", hosts=(("s1", 26379),), service="main", sentinel_username="u", sentinel_password="p/w"
            ),
        ),
        ("redis://user@cache", Address(hosts=(("cache", 6379),), username="user")),
        ("rediss://cache", Address(hosts=(("cache", 6379),), ssl=True)),
        ("unix:///run/redis.sock", Address(unix_path="/run/redis.sock")),
        (
            "unix://user:pw@/run/redis.sock?db=2",
            Address(unix_path="/run/redis.sock", username="user", password="pw", db=2),
        ),
        (
            "redis+cluster://a,b:7001,[::1]:7002",
            Address(kind="cluster", hosts=(("a", 6379), ("b", 7001), ("::1", 7002))),
        ),
        ("rediss+cluster://:pw@a", Address(kind="cluster", hosts=(("a", 6379),), ssl=True, password="pw")),
        (
            "redis+sentinel://a,b/mymaster",
            Address(kind="sentinel", hosts=(("a", 26379), ("b", 26379)), service="mymaster"),
        ),
        ("redis+sentinel://a:1/mymaster/2", Address(kind="sentinel", hosts=(("a", 1),), service="mymaster", db=2)),
        (
            "redis://cache?socket_timeout=2.5&max_connections=7&ssl_check_hostname=false&ssl_ca_certs=/ca.pem",
            Address(
                hosts=(("cache", 6379),),
                options={
                    "socket_timeout": 2.5,
                    "max_connections": 7,
                    "ssl_check_hostname": False,
                    "ssl_ca_certs": "/ca.pem",
                },
            ),
        ),
    ],
)
def test_a_url_names_any_deployment(url: str, expected: Address) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "cannot begin with ''; expected one of redis://"),
        ("cache:6379", "cannot begin with 'cache'"),
        ("http://cache", "cannot begin with 'http'"),
        ("redis+ring://cache", "cannot begin with 'redis.ring'"),
        ("redis://cache:port", "'cache:port' is not host:port"),
        ("redis://cache:99999", "'cache:99999' is not host:port; a port is a number from 1 to 65535"),
        ("redis://cache:0", "a port is a number from 1 to 65535"),
        ("redis://cache/first", "'first' is not the number of a Redis database"),
        ("redis+cluster://cache/1", "Redis Cluster has database 0 only"),
        ("redis+sentinel://a", "needs the master's name"),
        ("redis://[::1", "cannot be read"),
        ("redis://cache?socket_timeout=soon", "option socket_timeout of a Redis URL cannot be 'soon'"),
        ("redis://cache?ssl_check_hostname=maybe", "option ssl_check_hostname"),
    ],
)
def test_a_url_that_is_none_says_what_is_expected(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_url(url)


@given(
    password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1).map(lambda p: f"s3cr3t{p}s3cr3t"),
    url=st.sampled_from(
        ["redis://user:{}@host:x", "redis://user:{}@host/db", "redis+cluster://:{}@a/9", "unix://:{}@/s?db=x"]
    ),
)
def test_no_error_repeats_a_password_also_one_that_should_have_been_encoded(password: str, url: str) -> None:
    try:
        said = str(parse_url(url.format(password)))
    except ConfigError as error:
        said = f"{error} {error.__cause__!r}"
    assert "s3cr3t" not in said


def test_an_address_shows_no_password() -> None:
    assert "hush" not in repr(parse_url("redis://user:hush@cache")) + str(parse_url("redis://user:hush@cache"))


@given(st.text(max_size=40))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    for url in (text, f"redis://{text}", f"redis+cluster://{text}"):
        with contextlib.suppress(ConfigError):
            assert parse_url(url).hosts


def test_hosts_may_stand_apart() -> None:
    assert parse_hosts("a, b:2 ,[fe80::1]:3", 1) == (("a", 1), ("b", 2), ("fe80::1", 3))


def test_a_client_has_timeouts_and_a_name(own_server: Any) -> None:
    with open_client(own_server.url) as made:
        assert isinstance(made, redis.Redis)
        made.ping()
        options = made.connection_pool.connection_kwargs
        assert options["socket_timeout"] == 10
        assert options["socket_connect_timeout"] == 5
        assert [one["name"] for one in made.client_list()] == ["batchy"]


def test_the_urls_options_go_before_ours(own_server: Any) -> None:
    with open_client(own_server.url + "?socket_timeout=1.5&protocol=2", client_name="me") as made:
        assert isinstance(made, redis.Redis)
        assert made.ping()
        assert made.connection_pool.connection_kwargs["socket_timeout"] == 1.5


def test_a_unix_socket_is_reached(own_server: Any, tmp_path: Path) -> None:
    from batchy_provider.core.values import OpenRequest, WorkflowConfig
    from batchy_provider.exceptions import RedisUnavailableError
    from batchy_provider.state.store import Store

    path = tmp_path / "nobody.sock"
    store = Store(client(Address(unix_path=str(path))), retry_seconds=0)
    with pytest.raises(RedisUnavailableError, match=r"nobody\.sock"):
        store.open("sales", OpenRequest(config=WorkflowConfig(name="sales", jobs={"extract": {}})))


@pytest.fixture
def sentinel(own_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the server by way of a real Sentinel."""
    import subprocess
    import time

    from batchy_provider.local.ports import free_port
    from batchy_provider.local.servers import valkey_binary

    port, folder = free_port(), tmp_path_factory.mktemp("sentinel")
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor nightly 127.0.0.1 {own_server.port} 1\n"
    )
    process = subprocess.Popen([str(valkey_binary()), str(config), "--sentinel"], stdout=subprocess.DEVNULL)
    with redis.Redis(port=port) as asked:
        for _ in range(200):
            try:
                if asked.sentinel_get_master_addr_by_name("nightly"):
                    break
            except redis.RedisError:
                time.sleep(0.05)
    yield f"redis+sentinel://127.0.0.1:{port}/nightly"
    process.terminate()
    process.wait()


def test_a_master_is_found_by_sentinel(sentinel: str) -> None:
    from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
    from batchy_provider.state.store import Store

    store = Store(open_client(sentinel))
    store.open("sales", OpenRequest(config=WorkflowConfig(name="sales", jobs={"extract": {}})))
    assert store.close("sales", CloseRequest(result="success")).status == "success"
    assert store.workflows() == ["sales"]
