# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow's providers manager is told about this package. Read at every start of Airflow: imports nothing."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "Batchy"


def get_provider_info() -> dict[str, Any]:
    """Return the provider info; its form is Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-batchy",
        "name": "Batchy",
        "description": "Nightly script batches: windows of data kept in Redis, waits, hand-over between jobs, "
        "from a YAML file and a ``script.sh``.",
        "integrations": [{"integration-name": _INTEGRATION, "tags": ["software"]}],
        "operators": [
            _modules("batchy_provider.operators.batch", "batchy_provider.operators.bundle"),
        ],
        "sensors": [_modules("batchy_provider.sensors.waitsy")],
        "triggers": [_modules(*(f"batchy_provider.triggers.{name}" for name in ("batch", "closed", "waitsy")))],
        "hooks": [_modules("batchy_provider.hooks.batchy")],
        "connection-types": [_connection_type()],
        "cli": ["batchy_provider.cli.provider.get_commands"],
        "extra-links": ["batchy_provider.links.batch.BatchLink"],
        "config": {
            "batchy": {
                "description": "Batches of ETL scripts with windows of data, kept in Redis.",
                "options": _options(),
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": _INTEGRATION, "python-modules": list(names)}


def _connection_type() -> dict[str, Any]:
    """Of the same use as ``redis``, whose connections serve as they are; this form has Sentinel and timeouts."""
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
            "db": _field("Database", "integer", "0 to 15 on most servers; a Cluster has 0 alone.", default=0),
            "cluster": _field("Redis Cluster", "boolean", "Keys of one workflow then share a slot.", default=False),
            "startup_nodes": _field(
                "Cluster nodes", "string", "More nodes to start from, as host:port,host:port; only for a Cluster."
            ),
            "sentinels": _field(
                "Sentinels",
                "string",
                "As host:port,host:port; empty takes the host and port above as the one Sentinel.",
            ),
            "sentinel_service": _field(
                "Sentinel service",
                "string",
                "Name that the Sentinels know the master by; makes it a Sentinel connection.",
            ),
            "sentinel_username": _field("Sentinel user", "string", "ACL user of the Sentinels, where they have one."),
            "sentinel_password": _field(
                "Sentinel password", "string", "Of the Sentinels; the one above is not sent to them.", format="password"
            ),
            "wait_replicas": _field(
                "Replicas to wait for",
                "integer",
                "How many replicas must have each opening and closing before it counts; 0 asks none.",
                default=0,
                minimum=0,
            ),
            "wait_replicas_ms": _field(
                "Wait for replicas", "integer", "Milliseconds at each attempt; 1000 unless given.", minimum=1
            ),
            "socket_timeout": _field(
                "Timeout", "number", "Seconds to wait for an answer; 10 unless given.", minimum=0.1
            ),
            "socket_connect_timeout": _field(
                "Connect timeout", "number", "Seconds to wait for a connection; 5 unless given.", minimum=0.1
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
            "The connection to the Redis that keeps the batches, of type ``redis`` or ``batchy``, where neither an\n"
            "operator nor a workflow's file names another.",
            example="batchy_redis",
        ),
        "redis_patience_seconds": _option(
            "float",
            "60",
            "Seconds for which a task tries a lost connection to Redis anew before it fails, so that a Redis that\n"
            "restarts at night costs no batch.",
            example="300",
        ),
        "cfg_folder": _option(
            "string",
            None,
            "Folder of the workflow files. By default ``cfg`` beside the folder of DAGs.",
            example="/opt/etl/cfg",
        ),
        "bundle_cache": _option(
            "string",
            None,
            "Folder on each worker in which unpacked bundles are kept and scripts run. By default\n"
            "``batchy/bundles`` under ``AIRFLOW_HOME``.",
            example="/var/cache/batchy",
        ),
        "bundle_cache_mb": _option(
            "integer",
            "2048",
            "How much each worker keeps of unpacked bundles; the least recently used go first.",
            example="10240",
        ),
        "bundle_max_mb": _option(
            "integer",
            "1024",
            "How large a bundle may be, unpacked; its zip may be half of that. A larger one is refused.",
            example="4096",
        ),
        "results_url": _option(
            "string",
            None,
            "Where stdout, stderr, outputs and files of every execution are kept: a folder, or a URL that\n"
            "``ObjectStoragePath`` reads; workers on several machines need one that all reach. By default\n"
            "``batchy/results`` under ``AIRFLOW_HOME``.",
            example="s3://aws_default@etl/batchy",
        ),
        "archive": _option(
            "boolean",
            "True",
            "Whether every closed batch and the newest state of each workflow are kept in the result store too, so\n"
            "that ``batchy restore`` can bring them back, and an opening is refused when Redis has lost them.",
            example="False",
        ),
        "allow_upload": _option(
            "boolean",
            "False",
            "Whether workflow files and bundles may be uploaded over REST and the page. It lets people bring code\n"
            "that workers run; who may is then told by Airflow's right to change its configuration.",
            example="True",
        ),
        "upload_max_mb": _option(
            "integer",
            "256",
            "How large an upload may be, all its files together.",
            example="1024",
        ),
        "kill_grace_seconds": _option(
            "float",
            "10",
            "Seconds between TERM and KILL for a script that is to end: its time is over, or its task was stopped.",
            example="60",
        ),
        "recheck_seconds": _option(
            "float",
            "60",
            "Seconds between two looks of a wait at the state in Redis. A batch that this package closes wakes waits\n"
            "at once; the looks are for batches that other programs close, which tell nobody.",
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
