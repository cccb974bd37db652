# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The hook on real servers: Cluster, Sentinel and TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from hook_connections import one_night, waited_for

from batchy_provider.hooks.batchy import BatchyHook
from batchy_provider.local.ports import free_port
from batchy_provider.local.process import Service
from batchy_provider.local.servers import valkey_binary


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
