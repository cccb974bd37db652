# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Addresses of the datasets that a job reads and writes, as namespace and name of OpenLineage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_URI = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<place>[^/\s?#]*)(?:/(?P<name>\S*))?")
_TEMPLATE = re.compile(r"{[{%]")
EXPECTED = "a dataset's address such as postgres://dwh:5432/db.schema.table or s3://bucket/path"


def is_template(uri: str) -> bool:
    """Tell whether an address is a template, so that it is known only when it has been rendered."""
    return _TEMPLATE.search(uri) is not None


def split_address(uri: str) -> tuple[str, str]:
    """Return namespace and name of a dataset.

    :param uri: such as ``postgres://dwh:5432/db.schema.table``.
    :raises ValueError: not an address; the text says why.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise ValueError(f"expected {EXPECTED}, not {uri!r}")
    scheme, place, name = found["scheme"], found["place"], (found["name"] or "").strip("/")
    if "@" in place:
        # Not shown: the text before the @ may be a password.
        raise ValueError(f"a dataset's address holds no login ({scheme}://…@…): leave out what stands before the @")
    if scheme == "file" and not place and name:
        return "file", f"/{name}"
    if scheme == "bigquery" and place and not name:
        return "bigquery", place
    if not place or not name:
        raise ValueError(f"expected {EXPECTED}, not {uri!r}: {'the name' if place else 'the place'} is missing")
    return f"{scheme}://{place}", name


def declared_addresses(value: Any, key: str) -> Iterator[str]:
    """Yield the addresses that a script has written into ``lineage.json``: ``{"inputs": […], "outputs": […]}``.

    :param value: content of the file.
    :param key: ``inputs`` or ``outputs``.
    :raises ValueError: the content does not have that form.
    """
    found = value.get(key, []) if isinstance(value, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError('lineage.json: expected {"inputs": […], "outputs": […]}, lists of addresses')
    yield from found
