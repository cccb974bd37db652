# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""From an Airflow connection to a client: every form, on real servers of every kind."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from airflow.sdk import Connection

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.core.waits import Wait
from batchy_provider.exceptions import ConfigError
from batchy_provider.hooks.batchy import BatchyHook, to_address
from batchy_provider.local.ports import free_port
from batchy_provider.local.process import Service
from batchy_provider.local.servers import valkey_binary
from batchy_provider.services.wait_multiplexer import WaitMultiplexer
from batchy_provider.state.connections import Address
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import ask, check


def connection(**parts: Any) -> Connection:
    extra = parts.pop("extra", {})
    return Connection(**{"conn_id": "c", "conn_type": "redis", "host": "h", "extra": json.dumps(extra), **parts})


def address(**parts: Any) -> Address:
    return to_address(connection(**parts))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., BatchyHook]:
    """Return a hook on a connection of these parts."""

    def make(**parts: Any) -> BatchyHook:
        made = {"conn_type": "redis", **parts}
        monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps(made))
        return BatchyHook("c", retry_seconds=1)

    return make


def one_night(store: Store) -> int:
    config = WorkflowConfig(name="wf", jobs={"a": {}, "b": {}})
    batch = store.open("wf", OpenRequest(config=config, holder=Holder(by="test")))
    store.close("wf", CloseRequest(result="success"))
    wait = Wait(workflow="wf", scope="any")
    assert ask(store.backend, wait).batch_id == batch.batch_id
    return batch.batch_id


def waited_for(hook: BatchyHook) -> int | None:
    """Wait on a multiplexer, as the triggerer does."""

    async def test() -> int | None:
        wait = Wait(workflow="wf", scope="any")
        async for verdict in WaitMultiplexer(hook.get_address_async).watch("wf", lambda keys: check(keys, wait)):
            assert verdict.is_over, verdict.text
            return verdict.batch_id
        return None

    return asyncio.run(asyncio.wait_for(test(), timeout=15))


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
        assert re.match(r"(Redis|Valkey) [\d.]+ answers. But: no append only file", text)
        bad, text = use(host="127.0.0.1", port=1).test_connection()
        assert not bad
        assert "refused" in text


@contextmanager
def servers(folder: Path, *options: dict[str, Any]) -> Iterator[None]:
    """Valkeys with these options, one each; `sentinel` makes it one."""
    running = []
    try:
        for option in options:
            home = folder / str(option["port"])
            home.mkdir()
            lines = [f"{name} {value}" for name, value in option.items() if name != "sentinel"]
            config = home / "server.conf"
            config.write_text(
                "\n".join([*lines, "bind 127.0.0.1", f"dir {home}", 'save ""', *option.get("sentinel", [])])
            )
            command = [str(valkey_binary()), str(config), *(["--sentinel"] if "sentinel" in option else [])]
            service = Service(home.name, command, log=home / "log", env=dict(os.environ))
            service.start()
            running.append(service)
        yield
    finally:
        for service in running:
            service.kill()


def patiently(what: Callable[[], Any], seconds: float = 15) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := what():
                return found
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, "the servers did not come up"
        time.sleep(0.05)


def test_cluster(use: Callable[..., BatchyHook], tmp_path: Path) -> None:
    """Two primaries: questions go where the keys are, and both tell of events."""
    ports = [free_port() for _ in range(2)]
    options = {"cluster-enabled": "yes", "cluster-node-timeout": 2000}
    with servers(tmp_path, *({"port": port, "cluster-port": free_port(), **options} for port in ports)):
        nodes = [redis.Redis(port=port) for port in ports]
        for node, (start, end) in zip(nodes, [(0, 8191), (8192, 16383)], strict=True):
            patiently(node.ping)
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", start, end)
        bus = (tmp_path / str(ports[1]) / "server.conf").read_text().split("cluster-port ")[1].split()[0]
        nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1], bus)
        patiently(lambda: all(_knows_all(node) for node in nodes))
        hook = use(host="127.0.0.1", port=ports[0], extra={"cluster": True})
        with hook as store:
            patiently(lambda: store.backend.client.ping())
            batch_id = one_night(store)
            assert sorted(store.workflows()) == ["wf"]
            assert store.backend.client.hgetall("{wf}")
        assert waited_for(hook) == batch_id
        for node in nodes:
            assert not [c for c in node.client_list() if c["name"].startswith("batchy")]
            node.close()


def _knows_all(node: redis.Redis) -> bool:
    info: Any = node.execute_command("CLUSTER INFO")
    return info["cluster_state"] == "ok" and info["cluster_slots_assigned"] == "16384"


def test_sentinel(use: Callable[..., BatchyHook], tmp_path: Path) -> None:
    master, sentinel = free_port(), free_port()
    monitor = [f"sentinel monitor main 127.0.0.1 {master} 1"]
    with servers(tmp_path, {"port": master}, {"port": sentinel, "sentinel": monitor}):
        at = [redis.Redis(port=port) for port in (master, sentinel)]
        for client in at:
            patiently(client.ping)
        hook = use(host="127.0.0.1", port=sentinel, extra={"sentinel_service": "main"})
        with hook as store:
            batch_id = patiently(lambda: one_night(store))
        assert waited_for(hook) == batch_id
        for client in at:
            names = [c["name"] for c in client.client_list()]
            assert not [name for name in names if name.startswith("batchy")]
            client.close()


def test_tls(use: Callable[..., BatchyHook], redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> None:
    certificate, key = certify(tmp_path)
    with tls_before(urlsplit(redis_url).port or 0, certificate, key) as port:
        hook = use(host="127.0.0.1", port=port, extra={"ssl": True, "ssl_ca_certs": str(certificate)})
        with hook as store:
            batch_id = one_night(store)
        assert waited_for(hook) == batch_id
        good, text = use(host="127.0.0.1", port=port, extra={"ssl": True}).test_connection()
        assert not good
        assert "certificate verify failed" in text.lower()


@contextmanager
def tls_before(plain: int, certificate: Path, key: Path) -> Iterator[int]:
    """Speak TLS on a port of its own, and hand on to one that does not."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", plain)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = asyncio.start_server(hand_on, "127.0.0.1", 0, ssl=context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(5)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, key
