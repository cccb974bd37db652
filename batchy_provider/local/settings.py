# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make the environment of the local Airflow's components, without the user's own Airflow."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from batchy_provider.exceptions import StackError

USER = "admin"
VIEWER = "viewer"
INHERITED_SECTIONS = ("batchy", "scheduler", "triggerer", "dag_processor")
"""Sections whose options a caller can pass on in variables, unless the stack needs its own."""
INHERITED_CORE = (
    "dag_file_processor_timeout",
    "dagbag_import_timeout",
    "default_pool_task_slot_count",
    "default_task_retries",
    "default_task_retry_delay",
    "default_timezone",
    "killed_task_cleanup_time",
    "load_examples",
    "max_active_runs_per_dag",
    "max_active_tasks_per_dag",
    "max_map_length",
    "parallelism",
)
DEPLOYMENT = "local"
"""Name of this Airflow among those on one Redis."""
_DEFAULTS = {
    "core.load_examples": "False",
    "core.parallelism": "4",
    "dag_processor.refresh_interval": "15",
    "dag_processor.parsing_processes": "1",
}
"""Options of a stack that a caller can change."""


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Random secrets of a stack, stored in its folder, so that logins survive a restart."""

    admin_password: str
    viewer_password: str
    redis_password: str
    jwt_secret: str
    secret_key: str
    fernet_key: str

    @classmethod
    def of(cls, folder: Path) -> Secrets:
        """Return the folder's secrets; the first call makes them."""
        import base64

        file = folder / "secrets.json"
        if file.exists():
            try:
                return cls(**json.loads(file.read_text()))
            except (ValueError, TypeError):
                raise StackError(f"{file} is damaged. Start over with an empty folder: batchy demo --fresh") from None
        made = cls(
            admin_password=secrets.token_urlsafe(9),
            viewer_password=secrets.token_urlsafe(9),
            redis_password=secrets.token_hex(16),
            jwt_secret=secrets.token_hex(32),
            secret_key=secrets.token_hex(32),
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        )
        write_private(file, json.dumps(asdict(made)))
        return made


def clean_environment() -> dict[str, str]:
    """Return this program's environment without what would configure Airflow, Python or batchy."""
    foreign = ("AIRFLOW", "_AIRFLOW", "BATCHY_", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def inherited_options(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Split a caller's Airflow options into those that a stack gets and those that it ignores.

    It ignores options for servers, secrets and files of the caller's own Airflow, and those that run commands.

    :param environment: with variables ``AIRFLOW__SECTION__OPTION``.
    :returns: ``section.name`` → value of the options for the stack, and the names of the ignored variables.
    """
    options, outside = {}, []
    for variable, value in sorted(environment.items()):
        parts = variable.split("__", 2)
        if len(parts) != 3 or parts[0] != "AIRFLOW":
            continue
        section, name = parts[1].lower(), parts[2].lower()
        wanted = section in INHERITED_SECTIONS or (section == "core" and name in INHERITED_CORE)
        if not wanted or name.endswith(("_cmd", "_secret")) or f"{section}.{name}" in _STAYS_OUTSIDE:
            outside.append(variable)
        else:
            options[f"{section}.{name}"] = value
    return options, outside


_STAYS_OUTSIDE = frozenset(
    {
        # The stack's own: see airflow_environment.
        "batchy.cfg_folder",
        "batchy.bundle_cache",
        "batchy.results_url",
        "batchy.redis_conn_id",
        # Where the caller's DAGs are.
        "dag_processor.dag_bundle_config_list",
        "dag_processor.dag_bundle_storage_path",
    }
)


def airflow_environment(
    folder: Path,
    *,
    dags: Path,
    cfg: Path,
    database_url: str,
    redis_port: int,
    api_port: int,
    keys: Secrets,
    options: Mapping[str, str],
    connections: Mapping[str, str],
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of every component of the stack.

    :param folder: AIRFLOW_HOME, private.
    :param options: more Airflow options, as ``section.name``; they override those set here.
    :param connections: more connections, id → URI or JSON.
    :param inherited: options of the caller, see `inherited_options`; the stack's own options override them.
    """
    passwords = folder / "passwords.json"
    write_private(passwords, json.dumps({USER: keys.admin_password, VIEWER: keys.viewer_password}))
    settings = {
        **_DEFAULTS,
        **(inherited or {}),
        "core.dags_folder": str(dags),
        "core.executor": "LocalExecutor",
        "core.fernet_key": keys.fernet_key,
        "core.execution_api_server_url": f"http://127.0.0.1:{api_port}/execution/",
        "core.auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "core.simple_auth_manager_users": f"{USER}:admin,{VIEWER}:viewer",
        "core.simple_auth_manager_passwords_file": str(passwords),
        "database.sql_alchemy_conn": database_url,
        "database.load_default_connections": "False",
        "api.host": "127.0.0.1",
        "api.port": str(api_port),
        "api.base_url": f"http://127.0.0.1:{api_port}",
        # The port, and with it the address, may differ at each start; its runs are the same.
        "batchy.deployment": DEPLOYMENT,
        "api.workers": "1",
        "api.secret_key": keys.secret_key,
        "api_auth.jwt_secret": keys.jwt_secret,
        "logging.base_log_folder": str(folder / "logs"),
        "usage_data_collection.enabled": "False",
        "batchy.cfg_folder": str(cfg),
        "batchy.bundle_cache": str(folder / "bundle-cache"),
        "batchy.results_url": (folder / "results").as_uri(),
        **options,
    }
    redis_connection = json.dumps(
        {
            "conn_type": "redis",
            "host": "127.0.0.1",
            "port": redis_port,
            "password": keys.redis_password,
            "extra": {"db": 0},
        }
    )
    environment = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_REDIS_DEFAULT": redis_connection,
        "BATCHY_REDIS_URL": f"redis://:{keys.redis_password}@127.0.0.1:{redis_port}/0",
        "BATCHY_CFG": str(cfg),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    for name, value in settings.items():
        section, option = name.split(".", 1)
        environment[f"AIRFLOW__{section.upper()}__{option.upper()}"] = value
    for conn_id, uri in connections.items():
        environment[f"AIRFLOW_CONN_{conn_id.upper()}"] = uri
    return environment


def write_shell_file(file: Path, environment: Mapping[str, str]) -> None:
    """Write a file that a shell can source, to use ``airflow`` and ``batchy`` on the stack."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items())]
    # The programs of this Python come first, so that you need not activate an environment.
    programs = shlex.quote(sysconfig.get_path("scripts"))
    lines.append(f"export PATH={programs}:$PATH\nunset PYTHONDONTWRITEBYTECODE\n")
    write_private(file, "".join(lines))


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step, with a text that only this user can read."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(file)
