# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the services from nothing but the URL of a Redis."""

from __future__ import annotations

from batchy_provider.services.composition import Services


def services_at(url: str, *, retry_seconds: float | None = None) -> Services:
    """Return the services of the Redis at a URL, without a result store and an archive.

    :param retry_seconds: how long to retry after a lost connection; None for the default.
    """
    from batchy_provider.state import connect

    return Services(store=lambda: connect(url, retry_seconds=retry_seconds))
