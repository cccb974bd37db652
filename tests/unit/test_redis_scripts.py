# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The scripts under deploy/ start what they say, with the documented users and TLS, and leave nothing running."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from deployed import Deployed, environment, script

from batchy_provider.hooks.batchy import to_address


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ports"), [("redis-tls-acl.sh", 1), ("redis-cluster.sh", 12)])
def test_each_starts_tries_and_stops(name: str, ports: int, tmp_path: Path) -> None:
    folder = tmp_path / "deployed"
    command = script(name, folder, ports, "--exit")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "closed as success" in done.stdout
    assert "warn" not in done.stdout, "what the documentation says satisfies the doctor"
    started = Deployed(folder)
    from airflow.models import Connection

    address = to_address(Connection(conn_id="c", **_fields(json.loads(started.connection))))
    assert address.ssl
    for pid in folder.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
    secrets = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert not secrets, "passwords and keys are for their owner alone"


def _fields(connection: dict[str, object]) -> dict[str, object]:
    return {**connection, "extra": json.dumps(connection["extra"])}


def test_one_without_redis_says_what_to_install(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [str(root / "deploy" / "redis-tls-acl.sh"), "--exit", "--folder", str(tmp_path)]
    done = subprocess.run(
        command, env={**environment(), "REDIS_SERVER": "no-such-server"}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "apt-get install redis-server" in done.stderr
    assert "has no TLS" in done.stderr


def test_the_scripts_have_no_rights_of_their_own() -> None:
    """What they grant is what the documentation says, or what it says would not be what was tried."""
    for file in (Path(__file__).parents[2] / "deploy").glob("redis-*.sh"):
        granted = set(re.findall(r" \+([a-z@][a-z|@]*)", file.read_text()))
        # All for the admin; the other is taken out for servers that do not know it.
        assert granted <= {"@all", "client|setinfo"}, file.name
