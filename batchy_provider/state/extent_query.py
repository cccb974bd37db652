# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis how far a workflow has loaded its data."""

from __future__ import annotations

from batchy_provider.core.upstream import LoadedUntil
from batchy_provider.core.upstream_extent import extent
from batchy_provider.state.backend import Backend
from batchy_provider.state.layout import read_state


def read_extent(backend: Backend, workflow: str) -> LoadedUntil:
    """Return how far all enabled jobs of a workflow have loaded their data without a gap.

    :raises StateError: if Redis holds a value that cannot be read.
    """
    keys = backend.keys(workflow)
    return backend.transact(keys, lambda session: (extent(read_state(session, keys, watch=False)[0]), ()))
