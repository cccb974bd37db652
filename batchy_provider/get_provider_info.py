# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Describe this package to Airflow's providers manager. Airflow reads this at every start, so it imports nothing."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Batchy"


def get_provider_info() -> dict[str, Any]:
    """Return the provider info, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-batchy",
        "name": "Batchy",
        "description": "Nightly script batches: windows of data in Redis, waits, data passed between jobs, "
        "from a YAML file and a ``script.sh``.",
        "integrations": [{"integration-name": _INTEGRATION, "tags": ["software"]}],
        "operators": [
            _modules(*(f"batchy_provider.operators.{name}" for name in ("batch", "bundle", "warnings"))),
        ],
        "sensors": [_modules("batchy_provider.sensors.waitsy")],
        "triggers": [_modules(*(f"batchy_provider.triggers.{name}" for name in ("batch", "closed", "hold", "waitsy")))],
        "hooks": [_modules("batchy_provider.hooks.batchy")],
        "connection-types": [_connection_type()],
        "cli": ["batchy_provider.cli.provider.get_commands"],
        "extra-links": ["batchy_provider.links.batch.BatchLink"],
        "config": {
            "batchy": {
                "description": "Batches of ETL scripts with windows of data. The state is in Redis.",
                "options": _options(),
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _INTEGRATION, "python-modules": list(names)}


def _connection_type() -> dict[str, Any]:
    """Return the connection type ``batchy``. Type ``redis`` works too, but has no fields for Sentinel and timeouts."""
    return {
        "connection-type": "batchy",
        "hook-name": "Batchy (Redis)",
        "hook-class-name": "batchy_provider.hooks.batchy.BatchyHook",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "extra"],
            "relabeling": {"login": "User (ACL)"},
            "placeholders": {"host": "localhost", "port": "6379"},
        },
        "conn-fields": {
            "db": _field("Database", "integer", "0 to 15 on most servers; a Cluster has only 0.", default=0),
            "cluster": _field(
                "Redis Cluster",
                "boolean",
                "The server is a Cluster. All keys of a workflow are in one slot.",
                default=False,
            ),
            "startup_nodes": _field(
                "Cluster nodes",
                "string",
                "More nodes to connect to at first, as host:port,host:port; only for a Cluster.",
            ),
            "sentinels": _field(
                "Sentinels",
                "string",
                "As host:port,host:port. Empty: the host and port above are the only Sentinel.",
            ),
            "sentinel_service": _field(
                "Sentinel service",
                "string",
                "The Sentinels' name of the master. With a name, this is a Sentinel connection.",
            ),
            "sentinel_username": _field("Sentinel user", "string", "ACL user of the Sentinels, if they have one."),
            "sentinel_password": _field(
                "Sentinel password",
                "string",
                "Password of the Sentinels. They do not get the password above.",
                format="password",
            ),
            "wait_replicas": _field(
                "Replicas to wait for",
                "integer",
                "How many replicas must confirm each opening and closing before it counts; 0: none.",
                default=0,
                minimum=0,
            ),
            "wait_replicas_ms": _field(
                "Wait for replicas", "integer", "Milliseconds at each attempt; default: 1000.", minimum=1
            ),
            "socket_timeout": _field("Timeout", "number", "Seconds to wait for an answer; default: 10.", minimum=0.1),
            "socket_connect_timeout": _field(
                "Connect timeout", "number", "Seconds to wait for a connection; default: 5.", minimum=0.1
            ),
            "ssl": _field("TLS", "boolean", "Encrypt the connection.", default=False),
            "ssl_cert_reqs": _field(
                "TLS verification",
                "string",
                "Whether the server's certificate is checked: required, optional, none.",
                default="required",
                enum=["required", "optional", "none"],
            ),
            "ssl_check_hostname": _field(
                "TLS host name check", "boolean", "Whether the certificate must be for this host.", default=True
            ),
            "ssl_ca_certs": _field("CA certificates", "string", "Path of a PEM file, on every worker."),
            "ssl_certfile": _field("Client certificate", "string", "Path of a PEM file, on every worker."),
            "ssl_keyfile": _field("Client key", "string", "Path of a PEM file, on every worker."),
        },
    }


def _field(label: str, kind: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _options() -> dict[str, Any]:
    return {
        "redis_conn_id": _option(
            "string",
            "redis_default",
            "The connection to the Redis of the batches, of type ``redis`` or ``batchy``. An operator or a workflow's\n"
            "file can name another one.",
            example="batchy_redis",
        ),
        "redis_patience_seconds": _option(
            "float",
            "60",
            "Seconds for which a task retries a lost connection to Redis before it fails. So a restart of Redis at\n"
            "night costs no batch.",
            example="300",
        ),
        "deployment": _option(
            "string",
            None,
            "Name of this Airflow. If several share one Redis, it tells their runs apart, also where DAGs and runs\n"
            "have the same names. It must be the same on all workers. Default: ``[api] base_url``, else\n"
            "``[core] execution_api_server_url``, else a name that Airflow keeps in its database. Change it only\n"
            "while no batch is open.",
            example="finance-prod",
        ),
        "warnings_schedule": _option(
            "string",
            "*/5 * * * *",
            "How often the DAG ``batchy_warnings`` evaluates deadlines with ``warn``: a cron expression, in UTC.",
            example="*/2 * * * *",
        ),
        "cfg_folder": _option(
            "string",
            None,
            "Folder of the workflow files. Default: ``cfg`` next to the folder of DAGs.",
            example="/opt/etl/cfg",
        ),
        "bundle_cache": _option(
            "string",
            None,
            "Folder on each worker for unpacked bundles and running scripts. Default:\n"
            "``batchy/bundles`` under ``AIRFLOW_HOME``.",
            example="/var/cache/batchy",
        ),
        "bundle_cache_mb": _option(
            "integer",
            "2048",
            "Megabytes of unpacked bundles on each worker. The least recently used ones are removed first.",
            example="10240",
        ),
        "bundle_max_mb": _option(
            "integer",
            "1024",
            "Maximum size of an unpacked bundle in megabytes; its zip may have half of that. Larger ones are refused.",
            example="4096",
        ),
        "results_url": _option(
            "string",
            None,
            "Where stdout, stderr, output and files of each execution are stored: a folder, or a URL for\n"
            "``ObjectStoragePath``. Workers on several machines need a store that all of them can reach. Default:\n"
            "``batchy/results`` under ``AIRFLOW_HOME``.",
            example="s3://aws_default@etl/batchy",
        ),
        "archive": _option(
            "boolean",
            "True",
            "Whether each closed batch and the newest state of each workflow are also archived in the result store.\n"
            "After Redis has lost data, no batch opens then, and ``batchy restore`` restores the data.",
            example="False",
        ),
        "allow_upload": _option(
            "boolean",
            "False",
            "Whether people may upload workflow files and bundles, by REST and on the page. An upload contains code\n"
            "that workers run, so it needs the permission to change Airflow's configuration.",
            example="True",
        ),
        "upload_max_mb": _option(
            "integer",
            "256",
            "Maximum size of an upload in megabytes, all its files together.",
            example="1024",
        ),
        "kill_grace_seconds": _option(
            "float",
            "10",
            "Seconds between TERM and KILL for a script that must stop: it timed out, or its task stops.",
            example="60",
        ),
        "recheck_seconds": _option(
            "float",
            "60",
            "Seconds between two checks of a wait in Redis. A batch that this package closes wakes waits at once.\n"
            "The checks are for batches that other programs close without a notification.",
            example="300",
        ),
    }


def _option(kind: str, default: str | None, description: str, *, example: str) -> dict[str, Any]:
    return {
        "description": f"{description}\n",
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }
