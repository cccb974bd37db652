# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The assets of a workflow's batches are those that `Asset` makes, without the URI handlers of other providers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from batchy_provider.assets import failed_asset, outside_asset, workflow_asset

NAMES = ("sales", "Sales_2", "a.b-c", "-", "x" * 200)


@pytest.mark.parametrize("workflow", NAMES)
def test_they_have_the_addresses_that_airflow_gives_them(workflow: str) -> None:
    from airflow.sdk import Asset

    assert workflow_asset(workflow) == Asset(name=f"batchy_{workflow}", uri=f"batchy://{workflow}")
    for asset, query in ((failed_asset(workflow), "result=failed"), (outside_asset(workflow), "by=outside")):
        same = Asset(name=asset.name, uri=f"batchy://{workflow}?{query}", watchers=asset.watchers)
        assert asset == same
        assert asset.uri == same.uri


def test_an_asset_loads_no_other_provider() -> None:
    code = (
        "import sys; from airflow.sdk import Asset, AssetWatcher; import batchy_provider.triggers.closed;"
        "from batchy_provider.assets import *; before = set(sys.modules);"
        "workflow_asset('sales'), failed_asset('sales'), outside_asset('sales');"
        "print('-', *(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name for name in found if name.startswith(("airflow.providers", "boto", "fsspec"))}
