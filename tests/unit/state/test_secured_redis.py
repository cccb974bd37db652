# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A user with no more rights than the documentation says, and TLS by a private authority."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from redis_server import REDIS_SERVER, Server, programs

from batchy_provider.core.values import Actor, CloseRequest, Holder, OpenRequest, Window, WorkflowConfig, run_key
from batchy_provider.exceptions import RedisUnavailableError
from batchy_provider.local.ports import free_port
from batchy_provider.services.composition import Services
from batchy_provider.services.wait_requests import make_wait
from batchy_provider.state.connections import open_client
from batchy_provider.state.state_cache import StateCache
from batchy_provider.state.store import Store
from batchy_provider.state.wait_queries import ask
from batchy_provider.triggers.waitsy import WaitsyTrigger

DOCS = Path(__file__).parents[3] / "docs" / "redis.md"
PASSWORD = "of-this-test"


def rule() -> str:
    """The rule, as the documentation has it."""
    (found,) = re.findall(r"^```acl\nuser batchy (.*)\n```$", DOCS.read_text(), re.M)
    return str(found).replace(">PASSWORD", f">{PASSWORD}")


def rule_for(kind: str) -> str:
    """The rule, as the documentation says that older servers take it."""
    given = rule()
    if kind != "valkey":  # Debian's redis-server is 7.0
        given = given.replace(" +client|setinfo", "")
    if kind == "redis-6.2":
        given = re.sub(r"( \+client\|\w+)+", " +client", given)
    return given


def a_whole_life(url: str, folder: Path) -> None:
    """Do all that people and tasks do with the state."""
    store = Store(open_client(url))
    config = WorkflowConfig(name="sales", jobs={"extract": {}, "load": {}})
    store.load(config, by="ops")
    run = Holder(dag_id="sales", run_id="run-1")
    batch = store.open("sales", OpenRequest(config=config, holder=run))
    store.set_progress("sales", "load", {"batch_id": batch.batch_id, "progress": 0.5})
    outputs, job = store.job_outputs("sales", batch.batch_id), ("load", -1)
    outputs.save(job, {"state": "success"})
    assert outputs.load([job])
    outputs.forget_batch([])
    assert not outputs.load([job])
    assert store.batch_of_run("sales", run_key("sales", "sales", "run-1")) is not None
    wait = make_wait(store, "sales")
    assert ask(store.backend, wait).state == "waiting"
    store.close("sales", CloseRequest(result="failed", batch_id=batch.batch_id))
    day = Window(from_date="2026-01-01", to_date="2026-01-02")
    past = store.open("sales", OpenRequest(config=config, window=day, backfill=True, holder=Holder(by="ops")))
    store.close("sales", CloseRequest(result="success", batch_id=past.batch_id))
    store.disable("sales", "extract", by="ops")
    store.enable("sales", "extract", by="ops")
    store.set_window("sales", "2026-01-01", by="ops")
    for _ in range(3):
        batch = store.open("sales", OpenRequest(config=config, holder=Holder(by="ops")))
        store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
    assert ask(store.backend, wait).state == "done"
    assert [state.workflow for state in store.overview()] == ["sales"]
    assert len(store.history("sales")) == store.count("sales") == 5
    assert store.prune("sales", keep=1) == 4
    services = Services(store=lambda: store, cfg=folder)
    with services.events.watch(lambda event: None):
        assert services.workflows.get("sales").summary.status == "success"
        services.workflows.set_window("sales", "2026-01-03", actor=Actor("ops", "cli"))
    services.close()
    kept = StateCache(lambda: store)
    assert [state.workflow for state in kept.scan(["sales"])] == ["sales"]
    kept.close()


@pytest.fixture(params=["valkey", "redis", "redis-6.2"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server on which the default user may nothing, and ``batchy`` what the documentation says."""
    program = programs().get(request.param)
    if program is None:
        pytest.skip(f"no {request.param} here")
    rights = tmp_path / "users.acl"
    given = rule_for(request.param)
    rights.write_text(f"user admin on >{PASSWORD} ~* &* +@all\nuser batchy {given}\nuser default off\n")
    server = Server(program, tmp_path, more={"aclfile": rights})
    server.url = server.url.replace("://", f"://batchy:{PASSWORD}@")
    server.start()
    yield server
    server.stop()


def test_the_documented_rights_are_enough(guarded: Server, tmp_path: Path) -> None:
    a_whole_life(guarded.url, tmp_path)
    with guarded.client() as client:
        client.ping()


def test_they_are_enough_for_waits_in_the_triggerer(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"conn_type": "redis", "host": "127.0.0.1", "port": guarded.port, "login": "batchy", "password": PASSWORD}
    monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps(extra))
    config = WorkflowConfig(name="sales", jobs={"load": {}})

    async def test() -> None:
        wait = {"workflow": "sales", "scope": "within", "within_seconds": 3600.0}
        trigger = WaitsyTrigger(wait=wait)

        async def fired() -> object:
            return [event async for event in trigger.run()]

        task = asyncio.create_task(fired())
        await asyncio.sleep(0.5)

        def night() -> None:
            store = Store(open_client(guarded.url))
            batch = store.open("sales", OpenRequest(config=config, holder=Holder(by="ops")))
            store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))

        await asyncio.to_thread(night)
        assert await asyncio.wait_for(task, 20)

    asyncio.run(test())


def test_each_documented_right_is_needed_or_is_redis_py_s_own(guarded: Server, tmp_path: Path) -> None:
    """What nobody uses does not stand in the rule."""
    a_whole_life(guarded.url, tmp_path)
    import redis

    with redis.Redis(port=guarded.port, username="admin", password=PASSWORD) as admin:
        used = {name.removeprefix("cmdstat_").lower() for name in admin.info("commandstats")}
    if "client" in used:  # Redis 6.2 counts a command as a whole
        used |= {"client|setname", "client|tracking"}
    granted = set(re.findall(r"\+([a-z|]+)", rule()))
    # For waits and watchers in the triggerer, idle connections, replicas, the test of a connection, and newer servers.
    elsewhere = {
        "zrangebyscore",
        "client|setinfo",
        "ping",
        "subscribe",
        "unsubscribe",
        "info",
        "unwatch",
        "client|id",
        "wait",
        "client|getname",
    }
    assert granted - used - elsewhere == set()


def test_a_user_who_lacks_permissions_gets_the_list_of_them(guarded: Server) -> None:
    import redis

    with redis.Redis(port=guarded.port, username="admin", password=PASSWORD) as admin:
        admin.execute_command("ACL", "SETUSER", "batchy", "-hset")
    store = Store(open_client(guarded.url))
    with pytest.raises(Exception, match=r"(?i)permission|NOPERM") as told:
        store.load(WorkflowConfig(name="sales", jobs={"load": {}}), by="ops")
    assert "hset" in str(told.value)


class Authority:
    """A private authority, and a certificate of it for 127.0.0.1."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1") -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        folder.mkdir()
        self.ca, self.certificate, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        now = datetime.now(timezone.utc)

        def make(
            name: str, issuer: x509.Name | None, key: object, signer: object, *extensions: object
        ) -> x509.Certificate:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject)
            builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
            builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
            for extension in extensions:
                builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            return builder.sign(signer, hashes.SHA256())

        import ipaddress

        signer, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        ca = make("authority", None, signer, signer, x509.BasicConstraints(True, None), identifier, usage)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        issued = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        certificate = make("redis", ca.subject, key, signer, x509.BasicConstraints(False, None), names, issued)
        pem = serialization.Encoding.PEM
        self.ca.write_bytes(ca.public_bytes(pem))
        self.certificate.write_bytes(certificate.public_bytes(pem))
        plain = serialization.NoEncryption()
        self.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


def encrypted(folder: Path, authority: Authority) -> Server:
    """A server that speaks TLS alone. The Valkey of the tests has none built in: Debian's redis-server has."""
    if REDIS_SERVER is None:
        pytest.skip("no redis-server here")
    files = {"cert-file": authority.certificate, "key-file": authority.key, "ca-cert-file": authority.ca}
    port = free_port()
    more = {
        "port": 0,
        "tls-port": port,
        "tls-auth-clients": "no",
        **{f"tls-{name}": path for name, path in files.items()},
    }
    server = Server(REDIS_SERVER, folder, more=more)
    server.port, server.url = port, f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.ca}"
    return server


def test_tls_by_a_private_authority_in_each_way_to_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "pki")
    server = encrypted(tmp_path, authority)
    server.start()
    try:
        a_whole_life(server.url, tmp_path)
        command = [sys.executable, "-m", "batchy_provider.cli.main", "--redis-url", server.url, "-o", "json", "status"]
        shown = subprocess.run([*command, "sales"], capture_output=True, text=True, check=True)
        assert "load" in json.loads(shown.stdout)

        extra = {"ssl": True, "ssl_ca_certs": str(authority.ca), "ssl_check_hostname": True}
        connection = {"conn_type": "redis", "host": "127.0.0.1", "port": server.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_REDIS_DEFAULT", json.dumps(connection))
        from batchy_provider.hooks.batchy import BatchyHook

        assert BatchyHook().test_connection()[0]

        async def waited() -> object:
            trigger = WaitsyTrigger(wait={"workflow": "sales", "scope": "any"})
            return [event async for event in trigger.run()]

        assert asyncio.run(asyncio.wait_for(waited(), 20))
    finally:
        server.stop()


@pytest.mark.parametrize("fault", ["another authority", "another name"])
def test_a_certificate_that_does_not_fit_is_refused(tmp_path: Path, fault: str) -> None:
    authority = Authority(tmp_path / "pki", address="127.0.0.2" if fault == "another name" else "127.0.0.1")
    server = encrypted(tmp_path, authority)
    right = server.url
    if fault == "another authority":
        other = Authority(tmp_path / "other")
        wrong = right.replace(str(authority.ca), str(other.ca))
    else:
        wrong = right
        server.url = f"{right}&ssl_check_hostname=false"
    server.start()
    try:
        with pytest.raises(RedisUnavailableError, match=r"(?i)certificate"):
            Store(open_client(wrong), retry_seconds=1).status("sales")
    finally:
        server.stop()
