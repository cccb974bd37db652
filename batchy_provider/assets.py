# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make the Airflow assets of a workflow's batches, such as the one behind ``schedule: {after: [sales]}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias


def workflow_asset(workflow: str) -> Asset:
    """Return the asset that is updated when a live batch of the workflow is closed as success."""
    return _asset(f"batchy_{workflow}", f"batchy://{workflow}/")


def failed_asset(workflow: str, redis_conn_id: str | None = None) -> Asset:
    """Return the asset that is updated when a live batch of the workflow is closed as failed.

    A watcher updates it, because Airflow ignores the asset events of a failed task, and the task that closes a failed
    batch fails.
    """
    return _watched(workflow, "failed", redis_conn_id, result="failed", outside_only=False)


def outside_asset(workflow: str, redis_conn_id: str | None = None) -> Asset:
    """Return the asset that is updated when a batch that was opened outside of Airflow is closed as success.

    This cannot be `workflow_asset` with a watcher: Airflow removes the watcher when it parses another DAG that names
    the same asset without it.
    """
    return _watched(workflow, "outside", redis_conn_id)


def _watched(workflow: str, what: str, redis_conn_id: str | None, **which: Any) -> Asset:
    from airflow.sdk import AssetWatcher

    from batchy_provider.triggers.closed import BatchClosedTrigger

    name = f"batchy_{workflow}:{what}"  # no workflow's name has a colon
    trigger = BatchClosedTrigger(workflow=workflow, name=what, redis_conn_id=redis_conn_id, **which)
    uri = f"batchy://{workflow}/?{'result' if what == 'failed' else 'by'}={what}"
    return _asset(name, uri, watchers=[AssetWatcher(name=name, trigger=trigger)])


def _asset(name: str, uri: str, **options: Any) -> Asset:
    """Return the asset that `Asset` makes of these arguments.

    `Asset` asks the URI handlers of all providers to normalize an address. For that it imports them, boto3 among them,
    in each process that names an asset. No provider has a handler for ``batchy``.

    :param uri: normalized, as `Asset` would do it.
    """
    from airflow.sdk import Asset

    asset = Asset(name=name, **options)
    object.__setattr__(asset, "uri", uri)  # a plain assignment would normalize it
    return asset


def workflow_alias(workflow: str) -> AssetAlias:
    """Return the outlet of the closing task.

    It is an alias because only the run knows whether to update the asset: a backfill does not.
    """
    from airflow.sdk import AssetAlias

    return AssetAlias(name=f"batchy_{workflow}_closed", group="batchy")
