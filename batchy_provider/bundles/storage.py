# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The files that a script leaves behind: which are kept, their digests, and the values among them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from batchy_provider.bundles.errors import BundleError, ResultError
from batchy_provider.bundles.limits import KIB
from batchy_provider.bundles.masking import MaskedStream, Masker
from batchy_provider.bundles.storable_values import parse_value, storage_problem

VALUE_BYTES = 64 * KIB
VALUES = 100
_CHUNK = 1024 * KIB
_VALUE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*)\.json")
_RESERVED = ("return_value", "exit_code", "batchy.output")
_LINKS = "_link_"
"""Airflow keeps the links of a task under names that begin so."""
_FAULTS = 20


OpenPath = Callable[[str], Any]
"""Makes an object with the `pathlib` API of a URL or a path."""


def open_local_path(url: str) -> Path:
    """
    Return the path that a ``file:`` URL or a plain path names.

    :raises ResultError: a URL of another kind
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme:
        raise ResultError(f"Results at {url} cannot be read here: only local paths can be.")
    return Path(url)


def is_local_path(path: Any) -> bool:
    """Tell whether a path is one of this machine's; a `UPath` before 0.3 is a `Path` too, on whatever store."""
    return type(path).__module__.partition(".")[0] == "pathlib"


def drop_listing_cache(path: Any) -> Any:
    """
    Return the path, after its file system has forgotten what it remembers of what is there.

    Clients of object stores keep listings, most of them for as long as they live, and others write there too: an API
    server would never see what workers have stored since.
    """
    file_system = getattr(path, "fs", None)
    if file_system is not None and hasattr(path, "path"):
        with contextlib.suppress(Exception):
            file_system.invalidate_cache(path.path)
    return path


def list_output_files(folder: Path) -> list[str]:
    """
    All files of an execution, with ``/`` between folders.

    :raises ResultError: a link, a device or the like is among them; `OutputFolder.gather` lets none in
    """
    found = []
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{name}/")
                elif entry.is_file(follow_symlinks=False):
                    found.append(name)
                else:
                    raise ResultError(f"{name!r}, which is a link, a pipe or a device, cannot be kept.")
    return sorted(found)


def list_children(folder: Any) -> Iterator[tuple[Any, bool]]:
    """
    Yield what is in a folder: the path, and whether it is a folder itself.

    Object stores have no folders. Consoles and sync tools make an empty object ``name/`` instead, which a listing
    of the folder then contains: it is left out.

    :raises BundleError: an object without a name of its own in the folder, such as ``lib//a`` or a marker with data
    """
    file_system = getattr(drop_listing_cache(folder), "fs", None)
    if file_system is None or not hasattr(folder, "path"):
        for child in folder.iterdir():
            yield child, child.is_dir()
        return
    base = str(file_system._strip_protocol(folder.path)).rstrip("/")
    for info in file_system.ls(folder.path, detail=True):
        name, is_folder = str(info["name"]), info.get("type") == "directory"
        if not name.startswith(f"{base}/"):
            continue  # the folder itself, as some stores list it
        rest = name[len(base) + 1 :]
        if rest.strip("/"):
            yield folder / rest.rstrip("/"), is_folder
        elif is_folder or info.get("size"):
            raise BundleError(f"{folder} holds an object {name!r}, whose name ends in a slash and which is no folder.")


def list_names(folder: Any) -> list[str]:
    """Sorted names in a folder, hidden ones left out; none if it is not there."""
    try:
        return sorted(child.name for child, _ in list_children(folder) if not child.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def walk_files(folder: Any) -> Iterator[Any]:
    """All files of a folder and of those in it, as objects with the `pathlib` API."""
    for child, is_folder in list_children(folder):
        if is_folder:
            yield from walk_files(child)
        else:
            yield child


def digest_of(path: Path) -> dict[str, Any]:
    """Bytes and sha256 of a file, which is on disk (fsync) when this returns."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = 0
        while data := file.read(_CHUNK):
            size += len(data)
            digest.update(data)
        os.fsync(file.fileno())
    return {"bytes": size, "sha256": digest.hexdigest()}


def copy_hashed(source: BinaryIO, into: Path) -> dict[str, Any]:
    """Copy a stream to a new file; returns its bytes and sha256."""
    digest = hashlib.sha256()
    size = 0
    with into.open("xb", buffering=0) as target:
        while data := source.read(_CHUNK):
            size += len(data)
            digest.update(data)
            view = memoryview(data)
            while view:
                view = view[target.write(view) :]
    return {"bytes": size, "sha256": digest.hexdigest()}


def read_values(folder: Path) -> dict[str, Any]:
    """
    The content of each ``NAME.json`` directly in a folder.

    :raises ResultError: one is no JSON, too large, has a name that is taken, or holds what Airflow cannot store; all
        faults are named at once, each with its file and place
    """
    values: dict[str, Any] = {}
    faults = []
    for path in _value_files(folder):
        name = path.name.removesuffix(".json")
        fault = None
        if name in _RESERVED or name.startswith(_LINKS):
            fault = f"the name {name!r} is taken"
        elif path.stat().st_size > VALUE_BYTES:
            fault = f"it has {path.stat().st_size:,} bytes, {VALUE_BYTES:,} is the limit"
        else:
            try:
                value = parse_value(path.read_bytes())
            except ValueError as error:
                fault = f"it is not JSON ({error})"
            else:
                fault = storage_problem(value)
                values[name] = value
        if fault:
            faults.append(f"{path.name}: {fault}")
    if len(values) > VALUES:
        faults.append(f"there are {len(values)} of them, {VALUES} is the limit")
    if faults:
        more = f"; and {len(faults) - _FAULTS} more" if len(faults) > _FAULTS else ""
        raise ResultError(
            "Files named NAME.json in $BATCHY_OUTPUT_DIR are values for later jobs, which Airflow stores. "
            + "; ".join(faults[:_FAULTS])
            + more
            + "."
        )
    return values


def _value_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if _VALUE.fullmatch(path.name) and path.is_file()]


def mask_values(folder: Path, values: dict[str, Any], masker: Masker) -> dict[str, Any]:
    """
    Mask secrets in values that `read_values` has read, and in the files that they are kept in.

    A ``NAME.json`` that is no value, since something is wrong with it, is masked as text.
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
            while data := source.read(_CHUNK):
                target.write(stream.feed(data))
            target.write(stream.finish())
        if stream.count:
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
