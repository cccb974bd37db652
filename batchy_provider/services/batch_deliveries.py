# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Deliver closed batches to a subscription, each at least once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batchy_provider.state.deliveries import Subscription, acknowledge, lease

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.state.connections import Address
    from batchy_provider.state.store import Store

__all__ = ["DeliveryService", "Subscription", "open_deliveries"]


class DeliveryService:
    """Lease batches to one subscriber of a subscription, and acknowledge what it has handled.

    :param store: the state in Redis.
    :param subscriber: name of this subscriber; unique for each process that takes batches.
    """

    def __init__(self, store: Store, subscription: Subscription, subscriber: str) -> None:
        self._store = store
        self._subscription = subscription
        self._subscriber = subscriber

    def take(self) -> list[Batch]:
        """Return the batches that this subscriber is to handle now, oldest first. Nobody else gets them meanwhile."""
        return lease(self._store.backend, self._subscription, self._subscriber)

    def acknowledge(self, batch_ids: Sequence[int]) -> None:
        """Record that these batches are handled, so that they are not delivered again."""
        acknowledge(self._store.backend, self._subscription, batch_ids)


@contextmanager
def open_deliveries(address: Address, subscription: Subscription, subscriber: str) -> Iterator[DeliveryService]:
    """Open a connection for the deliveries of a subscription; it is closed at the end of the context.

    :param address: of Redis.
    """
    from batchy_provider.state.connections import client, store

    connection = client(address, client_name="batchy-deliveries")
    try:
        yield DeliveryService(store(address, connection), subscription, subscriber)
    finally:
        connection.close()
