# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Where a ``bundle:`` of a workflow file is: only names of files are looked at, never into them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from batchy_provider.bundles.confined import local_place
from batchy_provider.config.faults import did_you_mean

FOLDER = "bundles"
"""Folder beside the workflow files, and looked in second, that holds bundles only."""
SCRIPT = "script.sh"
"""What a bundle must have at its root."""


WEB_ADDRESS = (
    "{url} is a web address, which no bundle is read from: whoever answers there could change the code of a night. Put "
    "the zip beside the workflow file or into a bucket (s3://…), or let a script fetch it and check its sha256"
)


def is_web_address(place: str) -> bool:
    """Tell whether a bundle is named by ``http:`` or ``https:``."""
    return place.lower().startswith(("http://", "https://"))


def locate_bundle(folder: Path, bundle: str) -> str:
    """Return the path of a bundle: as given if absolute, a URL or a template, else in `folder` or its ``bundles/``.

    :param folder: the folder of the workflow file.
    :returns: the path, also of a ``file:`` or ``local:`` URL; that in ``bundles/`` also if it is in neither.
    """
    if "{{" in bundle or (place := local_place(bundle)) is None:
        return bundle
    if os.path.isabs(place):  # noqa: PTH117
        return place
    beside = folder / place
    return str(beside if beside.exists() else folder / FOLDER / place)


def bundle_problem(folder: Path, bundle: str) -> str | None:
    """Say why a bundle cannot be used, as far as can be told without opening it."""
    path = locate_bundle(folder, bundle)
    if is_web_address(path):
        return WEB_ADDRESS.format(url=path)
    if "://" in path or "{{" in path:
        return None
    if os.path.isdir(path):  # noqa: PTH112
        return None if Path(path, SCRIPT).is_file() else f"the folder {path} has no {SCRIPT}"
    if os.path.exists(path):  # noqa: PTH110
        return None if path.endswith(".zip") else f"expected a folder or a .zip file, and {path} is neither"
    hint = did_you_mean(bundle, _bundles_in(folder))
    return f"no bundle {bundle!r} in {folder} or its folder {FOLDER}{hint}"


def _bundles_in(folder: Path) -> Iterable[str]:
    for place in (folder, folder / FOLDER):
        if place.is_dir():
            yield from (
                entry.name for entry in sorted(place.iterdir()) if entry.suffix == ".zip" or (entry / SCRIPT).is_file()
            )
