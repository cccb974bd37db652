# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Send many commands in one packet, and read their replies, without a pipeline of redis-py.

For each command, a pipeline makes objects, and looks up how redis-py would convert the reply. A list of thousands of
workflows spends a quarter of its time on that. So this module uses the same public calls of a connection as the
pipeline does, with the retries that the client is set to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis import exceptions as redis_errors

from batchy_provider.state.protocol import Command, decoded, packed

if TYPE_CHECKING:
    import redis
    from redis.connection import AbstractConnection


def ask_server(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands to one server, without a transaction.

    :param client: of a standalone server, or of the master that Sentinel names.
    :returns: replies in the order of the commands; an error of the server is a reply too.
    """
    packet = packed(commands)
    pool = client.connection_pool
    connection = pool.get_connection()
    is_read = False
    try:

        def exchange() -> list[Any]:
            connection.send_packed_command([packet])
            return read_replies(connection, len(commands))

        replies: list[Any] = connection.retry.call_with_retry(exchange, lambda _: connection.disconnect())
        is_read = True
        return replies
    finally:
        if not is_read:
            connection.disconnect()  # the next user of this connection must not get replies that are left on it
        pool.release(connection)


def read_replies(connection: AbstractConnection, count: int) -> list[Any]:
    """Return the next replies on a connection; an error of the server is a reply too."""
    read = connection.read_response
    replies: list[Any] = []
    for _ in range(count):
        try:
            replies.append(decoded(read()))
        except redis_errors.ResponseError as error:
            replies.append(error)
    return replies
