# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Where a bundle may be: a web address is refused when the file is validated, and again by what would open it."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchy_provider.bundles.errors import BundleError
from batchy_provider.config.bundle_paths import bundle_problem
from batchy_provider.hooks.deployment import open_path


@pytest.mark.parametrize("url", ["http://example.org/a.zip", "https://u:p@example.org/a.zip", "HTTPS://EXAMPLE.ORG/a"])
def test_a_web_address_is_refused_with_what_to_do(tmp_path: Path, url: str) -> None:
    assert "Put the zip beside the workflow file or into a bucket" in (bundle_problem(tmp_path, url) or "")
    with pytest.raises(BundleError, match="is a web address, and bundles are not read from the web"):
        open_path(url)


def test_other_addresses_are_for_the_worker_to_open(tmp_path: Path) -> None:
    for place in ("s3://conn@bucket/a.zip", "gs://bucket/folder", "s3://bucket/{{ ds }}.zip"):
        assert bundle_problem(tmp_path, place) is None
