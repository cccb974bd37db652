# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The version that stands in each file of the archive, and the errors for a file that cannot be used."""

from __future__ import annotations

from typing import Any

from batchy_provider.exceptions import ArchiveError

VERSION = 1
REPAIR = "Restore it from a backup, or remove it: `batchy archive` writes it again from the state in Redis"


def check_version(data: Any, url: str) -> None:
    """Check that this package can read a file of the archive.

    :param data: the file's content, parsed from JSON.
    :param url: address of the file, for the message.
    :raises ArchiveError: if the file has no version, or one of a newer package.
    """
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise damaged(url)
    if version > VERSION:
        raise ArchiveError(
            f"{url} was written by a newer batchy_provider: the file has version {version}, and this package reads "
            f"up to version {VERSION}. Upgrade this package"
        )


def damaged(url: str) -> ArchiveError:
    """Return the error for a file that lacks a field, or has one of another type."""
    return ArchiveError(f"{url} is not a file of batchy's archive, or is damaged. {REPAIR}")
