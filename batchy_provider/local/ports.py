# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find free TCP ports on 127.0.0.1."""

from __future__ import annotations

import socket


def free_port(preferred: int | None = None) -> int:
    """Return a TCP port on 127.0.0.1 that no program uses now.

    :param preferred: returned if it is free.
    """
    if preferred is not None and port_is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Tell whether a TCP port on 127.0.0.1 is free."""
    return not why_port_is_taken(port)


def why_port_is_taken(port: int) -> str:
    """Return why a TCP port on 127.0.0.1 cannot be used; empty if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""
