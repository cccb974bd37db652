# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Datasets are named as OpenLineage's naming rules want it, and what is none says why."""

from __future__ import annotations

import pytest

from batchy_provider.bundles.dataset_addresses import declared_addresses, split_address


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("postgres://dwh:5432/db.schema.table", "postgres://dwh:5432", "db.schema.table"),
        ("s3://bucket/path/of/files/", "s3://bucket", "path/of/files"),
        ("file:///data/in.csv", "file", "/data/in.csv"),
        ("bigquery://project.dataset.table", "bigquery", "project.dataset.table"),
        ("snowflake://org-account/DB.SCHEMA.TABLE", "snowflake://org-account", "DB.SCHEMA.TABLE"),
        ("abfss://container.dfs.core.windows.net/path", "abfss://container.dfs.core.windows.net", "path"),
    ],
)
def test_names(uri: str, namespace: str, name: str) -> None:
    assert split_address(uri) == (namespace, name)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("db.schema.table", "expected a dataset's address"),
        ("s3://bucket", "the name is missing"),
        ("postgres:///db.t", "the place is missing"),
        ("s3://bucket/a path", "expected a dataset's address"),
        ("postgres://me:secret@dwh/db.t", "holds no login"),
    ],
)
def test_what_is_none(uri: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        split_address(uri)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("value", [[], "s3://a/b", {"outputs": "s3://a/b"}, {"outputs": [1]}])
def test_a_script_that_writes_another_form(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        list(declared_addresses(value, "outputs"))
