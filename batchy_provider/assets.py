# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Airflow asset that stands for a workflow's success: ``schedule: {after: [sales]}`` means this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Asset, AssetAlias


def workflow_asset(workflow: str) -> Asset:
    """Return the asset that is updated when a live batch of the workflow is closed as success."""
    from airflow.sdk import Asset

    return Asset(name=f"batchy_{workflow}", uri=f"batchy://{workflow}")


def workflow_alias(workflow: str) -> AssetAlias:
    """Return the outlet of the closing task.

    It is an alias since whether the asset is updated is known only at run time: a backfill is no news.
    """
    from airflow.sdk import AssetAlias

    return AssetAlias(name=f"batchy_{workflow}_closed", group="batchy")
