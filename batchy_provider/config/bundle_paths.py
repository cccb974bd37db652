# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the ``bundle:`` of a workflow file. Only the names of files are checked, not their content.

Where `os.path` is used, it answers False for what cannot be read; `pathlib` raises.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from batchy_provider.bundles.confined_files import as_local_path
from batchy_provider.config.diagnostics import did_you_mean, show

FOLDER = "bundles"
"""Folder beside the workflow files, and looked in second, that holds bundles only."""
SCRIPT = "script.sh"
"""What a bundle must have at its root."""

BundleCheck = Callable[[Path, str], str | None]
"""The folder of a workflow file, a bundle of it → why it cannot be used, or None; see `bundle_problem`."""


WEB_ADDRESS = (
    "{url} is a web address, and bundles are not read from the web: the server could change the code of a run. Put "
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
    if "{{" in bundle or (place := as_local_path(bundle)) is None:
        return bundle
    # `os.path` makes no `Path` for each file, and answers where `pathlib` raises.
    if os.path.isabs(place):  # noqa: PTH117
        return place
    beside = folder / place
    # `os.path` makes no `Path` for each file, and answers where `pathlib` raises.
    return str(beside if os.path.exists(beside) else folder / FOLDER / place)  # noqa: PTH110


def bundle_problem(folder: Path, bundle: str) -> str | None:
    """Return why a bundle cannot be used, or None, without opening it. Raises nothing."""
    path = locate_bundle(folder, bundle)
    if is_web_address(path):
        return WEB_ADDRESS.format(url=path)
    if "://" in path or "{{" in path:
        return None
    found = _stat(path)
    if isinstance(found, OSError):
        if found.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return f"{path} cannot be read: {found.strerror}"
    elif stat.S_ISDIR(found.st_mode):
        return _script_problem(path)
    else:
        is_zip = path.endswith(".zip") and stat.S_ISREG(found.st_mode)
        return None if is_zip else f"expected a folder or a .zip file, and {path} is neither"
    hint = did_you_mean(bundle, _bundles_in(folder))
    return f"no bundle {show(bundle)} in {folder} or its folder {FOLDER}{hint}"


def _script_problem(folder: str) -> str | None:
    script = _stat(Path(folder, SCRIPT))
    if isinstance(script, OSError):
        if script.errno == errno.ENOENT:
            return f"the folder {folder} has no {SCRIPT}"
        return f"{folder}/{SCRIPT} cannot be read: {script.strerror}"
    return None if stat.S_ISREG(script.st_mode) else f"{folder}/{SCRIPT} is not a regular file"


def _stat(path: str | Path) -> os.stat_result | OSError:
    try:
        return Path(path).stat()
    except OSError as error:
        return error
    except ValueError:  # a NUL in the path
        return FileNotFoundError(errno.ENOENT, "")


def _bundles_in(folder: Path) -> Iterator[str]:
    for place in (folder, folder / FOLDER):
        with contextlib.suppress(OSError):
            # `os.path` makes no `Path` for each file, and answers where `pathlib` raises.
            for name in sorted(os.listdir(place)):  # noqa: PTH208
                if name.endswith(".zip") or os.path.isfile(os.path.join(place, name, SCRIPT)):  # noqa: PTH113, PTH118
                    yield name
