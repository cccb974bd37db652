# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Values for later jobs: the ``NAME.json`` files that a script leaves in `BATCHY_OUTPUT_DIR`, read and masked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.limits import KIB
from batchy_provider.bundles.masking import MaskedStream, Masker
from batchy_provider.bundles.storable_values import parse_value, storage_problem
from batchy_provider.bundles.storage import read_chunks

VALUE_BYTES = 64 * KIB
VALUES = 100
_VALUE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)\.json")
_RESERVED = ("return_value", "exit_code", "batchy.output")
_LINKS = "_link_"
"""Airflow stores the links of a task under names that begin like this."""
_LISTED_PROBLEMS = 20


def read_values(folder: Path) -> dict[str, Any]:
    """Return the content of each ``NAME.json`` directly in a folder, by name.

    :raises ResultError: a file is not JSON, is too large, has a reserved name, or holds what Airflow cannot store. The
        message lists all problems, each with its file and place.
    """
    values: dict[str, Any] = {}
    problems = []
    for path in _value_files(folder):
        name = path.name.removesuffix(".json")
        problem = None
        if name in _RESERVED or name.startswith(_LINKS):
            problem = f"the name {name!r} is reserved"
        elif path.stat().st_size > VALUE_BYTES:
            problem = f"it has {path.stat().st_size:,} bytes, {VALUE_BYTES:,} is the limit"
        else:
            try:
                value = parse_value(path.read_bytes())
            except ValueError as error:
                problem = f"it is not JSON ({error})"
            else:
                problem = storage_problem(value)
                values[name] = value
        if problem:
            problems.append(f"{path.name}: {problem}")
    if len(values) > VALUES:
        problems.append(f"there are {len(values)} of them, {VALUES} is the limit")
    if problems:
        more = f"; and {len(problems) - _LISTED_PROBLEMS} more" if len(problems) > _LISTED_PROBLEMS else ""
        raise ResultError(
            "Files named NAME.json in $BATCHY_OUTPUT_DIR are values for later jobs, which Airflow stores. "
            + "; ".join(problems[:_LISTED_PROBLEMS])
            + more
            + "."
        )
    return values


def masked_values(folder: Path, masker: Masker) -> tuple[dict[str, Any], str | None]:
    """Return what `read_values` reads, masked here and in the files, and what is wrong with the other files."""
    values: dict[str, Any] = {}
    problem = None
    try:
        values = read_values(folder)
    except ResultError as error:
        problem = str(error)
    try:
        return mask_values(folder, values, masker), problem
    except ResultError as error:
        return {}, problem or str(error)


def _value_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if _VALUE.fullmatch(path.name) and path.is_file()]


def mask_values(folder: Path, values: dict[str, Any], masker: Masker) -> dict[str, Any]:
    """Mask secrets in values that `read_values` has read, and in their files.

    A ``NAME.json`` with a problem is no value. It is masked as text.

    :returns: the masked values.
    :raises ResultError: a file has a secret in it and cannot be written.
    """
    if not masker:
        return values
    masked = {name: masker.value(value) for name, value in values.items()}
    for path in _value_files(folder):
        name = path.name.removesuffix(".json")
        try:
            if name not in masked:
                _mask_file(path, masker)
            elif masked[name] != values[name]:
                path.unlink()
                path.write_bytes(json.dumps(masked[name], ensure_ascii=False).encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise ResultError(f"{path.name} has a secret in it and cannot be masked: {error}.") from None
    return masked


def _mask_file(path: Path, masker: Masker) -> None:
    new = path.with_name(f".masked-{path.name}"[:250])
    stream = MaskedStream(masker)
    try:
        with path.open("rb") as source, new.open("xb") as target:
            for data in read_chunks(source):
                target.write(stream.feed(data))
            target.write(stream.finish())
        if stream.count:
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
