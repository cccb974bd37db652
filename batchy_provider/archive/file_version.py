# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The version number in each file of the archive, and the errors for a file that this package cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchy_provider.exceptions import ArchiveError

VERSION = 1


@contextmanager
def checked(data: Any, url: str) -> Iterator[None]:
    """Check that this package can read a file of the archive, and translate errors while its fields are read.

    :param data: the file's content, parsed from JSON.
    :param url: address of the file, for the message.
    :raises ArchiveError: if the file has no version, one of a newer package, or not the fields of that version.
    """
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise unreadable(url)
    if version > VERSION:
        raise ArchiveError(
            f"{url} was written by a newer batchy_provider: the file has version {version}, and this package reads "
            f"up to version {VERSION}. Upgrade this package"
        )
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(url) from error


def unreadable(url: str, reason: object = "a field is missing or has a wrong type") -> ArchiveError:
    """Return the error for a file that is damaged, or that is not a file of the archive.

    :param reason: what is wrong with it; the default is for JSON that is not what this package writes.
    """
    return ArchiveError(
        f"{url} cannot be read: {reason}. Restore it from a backup, or remove it: `batchy archive` writes it again "
        "from the state in Redis"
    )
