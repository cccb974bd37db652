# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A process that is killed while it talks to Redis: after so many bytes sent, or so many replies read."""

from __future__ import annotations

from typing import Any

import redis


class Killed(BaseException):
    """The process that talks to Redis is no more; nothing of ours can catch this."""


class Fuse:
    """How far the doomed process gets: so many bytes sent, or so many replies read."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count = kind, count


class DoomedConnection(redis.Connection):
    """A connection whose process is killed when the fuse has burnt down."""

    fuse: Fuse | None = None

    def send_packed_command(self, command: Any, check_health: bool = True) -> Any:
        fuse = type(self).fuse
        data = command if isinstance(command, bytes) else b"".join(command)
        if fuse is not None and fuse.kind == "sent":
            if len(data) > fuse.count:
                if fuse.count:
                    super().send_packed_command([data[: fuse.count]], check_health=False)
                self._die(fuse)
            fuse.count -= len(data)
        return super().send_packed_command([data], check_health)

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        fuse = type(self).fuse
        if fuse is not None and fuse.kind == "read":
            if fuse.count == 0:
                self._die(fuse)
            fuse.count -= 1
        return super().read_response(*args, **kwargs)

    def _die(self, fuse: Fuse) -> None:
        fuse.kind, fuse.count = "sent", 0
        self.disconnect()
        raise Killed
