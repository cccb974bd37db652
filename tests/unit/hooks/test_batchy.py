# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""From an Airflow connection to a client: every form, on real servers of every kind."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from hook_connections import connection, one_night, waited_for

from batchy_provider.exceptions import ConfigError
from batchy_provider.hooks.batchy import BatchyHook, to_address
from batchy_provider.state.connections import Address


def address(**parts: Any) -> Address:
    return to_address(connection(**parts))


class TestForms:
    def test_redis_as_it_is(self) -> None:
        found = address(port=6380, login="u", password="p", extra={"db": 3})
        assert found == Address(hosts=(("h", 6380),), db=3, username="u", password="p")

    def test_hardly_anything(self) -> None:
        assert address(host=None) == Address()
        for none in ("None", "none", "False", ""):
            assert address(host=None, password=none) == Address()

    def test_timeouts_and_other_numbers(self) -> None:
        options = {
            "socket_timeout": "2.5",
            "socket_connect_timeout": 1,
            "health_check_interval": 5,
            "max_connections": 4,
        }
        found = dict(address(extra=options).options)
        assert found == {
            "socket_timeout": 2.5,
            "socket_connect_timeout": 1.0,
            "health_check_interval": 5,
            "max_connections": 4,
        }
        assert isinstance(found["max_connections"], int)

    def test_tls_extras_only_with_tls(self) -> None:
        tls = {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": True}
        assert not address(extra=tls).options
        found = address(extra={"ssl": True, **tls})
        assert found.ssl
        assert found.options == tls

    @pytest.mark.parametrize("no", [False, "false", "False", "0", "no", "", None])
    def test_no_is_no_also_as_text(self, no: Any) -> None:
        """A connection given as URI has nothing but text in its extra."""
        assert address(extra={"ssl": no, "cluster": no}) == Address(hosts=(("h", 6379),))

    @pytest.mark.parametrize("yes", [True, "true", "True", "1", "yes"])
    def test_yes_is_yes_also_as_text(self, yes: Any) -> None:
        found = address(extra={"ssl": yes, "cluster": yes, "ssl_check_hostname": "false"})
        assert (found.ssl, found.kind, found.options) == (True, "cluster", {"ssl_check_hostname": False})

    def test_cluster(self) -> None:
        found = address(extra={"cluster": True, "startup_nodes": "h2:7001,[::1]:7002"})
        assert (found.kind, found.hosts) == ("cluster", (("h", 6379), ("h2", 7001), ("::1", 7002)))
        with pytest.raises(ConfigError, match="'c': Redis Cluster has database 0 only"):
            address(extra={"cluster": True, "db": 2})

    def test_sentinel(self) -> None:
        found = address(extra={"sentinels": "s1,s2:26380", "sentinel_service": "main", "db": 1})
        assert (found.kind, found.hosts, found.service, found.db) == (
            "sentinel",
            (("s1", 26379), ("s2", 26380)),
            "main",
            1,
        )
        assert address(extra={"sentinel_service": "main"}).hosts == (("h", 26379),)
        login = {"sentinel_username": "watcher", "sentinel_password": "geheim"}
        found = address(extra={"sentinel_service": "main", **login})
        assert (found.sentinel_username, found.sentinel_password) == ("watcher", "geheim")
        assert "geheim" not in repr(found)
        with pytest.raises(ConfigError, match="'c': sentinels need sentinel_service"):
            address(extra={"sentinels": "s1"})

    @pytest.mark.parametrize(
        "extra",
        [{"db": "first"}, {"socket_timeout": "soon"}, {"cluster": True, "startup_nodes": "h:port"}, {"ssl": "perhaps"}],
        ids=repr,
    )
    def test_what_makes_no_sense_is_named(self, extra: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=r"Airflow connection 'c'.*(first|soon|port|perhaps)"):
            address(extra=extra)

    def test_a_password_is_not_shown(self) -> None:
        assert "geheim" not in repr(address(password="geheim"))


class TestHook:
    @pytest.mark.parametrize("conn_type", ["redis", "batchy"])
    def test_names_its_client_and_closes_what_it_opens(
        self, use: Callable[..., BatchyHook], redis_url: str, redis_client: redis.Redis, conn_type: str
    ) -> None:
        hook = use(conn_type=conn_type, host="127.0.0.1", port=urlsplit(redis_url).port)
        with hook as store:
            batch_id = one_night(store)
            names = [c["name"] for c in redis_client.client_list()]
            assert names.count("batchy-c") == 1
        assert "batchy-c" not in [c["name"] for c in redis_client.client_list()]
        assert waited_for(hook) == batch_id

    def test_is_used_again_after_it_was_left(self, use: Callable[..., BatchyHook], redis_url: str) -> None:
        hook = use(host="127.0.0.1", port=urlsplit(redis_url).port)
        for _ in range(2):
            with hook as store:
                assert store.workflows() == []
        hook.close()

    def test_closes_when_the_work_fails(
        self, use: Callable[..., BatchyHook], redis_url: str, redis_client: redis.Redis
    ) -> None:
        def fails() -> None:
            with use(host="127.0.0.1", port=urlsplit(redis_url).port) as store:
                store.workflows()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fails()
        assert "batchy-c" not in [c["name"] for c in redis_client.client_list()]

    def test_has_timeouts(self, use: Callable[..., BatchyHook]) -> None:
        kwargs = use(host="h").get_conn().connection_pool.connection_kwargs
        assert (kwargs["socket_timeout"], kwargs["socket_connect_timeout"]) == (10, 5)
        kwargs = use(host="h", extra={"socket_timeout": 3}).get_conn().connection_pool.connection_kwargs
        assert kwargs["socket_timeout"] == 3

    def test_its_connection_is_that_of_the_configuration(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert BatchyHook().redis_conn_id == "redis_default"
        monkeypatch.setenv("AIRFLOW__BATCHY__REDIS_CONN_ID", "elsewhere")
        assert BatchyHook().redis_conn_id == "elsewhere"
        assert BatchyHook("named").redis_conn_id == "named"

    def test_one_that_does_not_exist(self) -> None:
        with pytest.raises(Exception, match="nowhere"):
            BatchyHook("nowhere").get_conn()

    def test_test_connection(self, use: Callable[..., BatchyHook], any_redis_url: str) -> None:
        good, text = use(host="127.0.0.1", port=urlsplit(any_redis_url).port).test_connection()
        assert good
        assert re.match(r"(Redis|Valkey) [\d.]+ answers. To check: no append only file", text)
        bad, text = use(host="127.0.0.1", port=1).test_connection()
        assert not bad
        assert "refused" in text
