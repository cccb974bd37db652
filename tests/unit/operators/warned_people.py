# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Notifiers of the tests: they write down what they are called with."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseNotifier

HEARD: list[tuple[str, str]] = []
"""Name of the notifier → its text, rendered."""


class Pager(BaseNotifier):
    """Writes down its text, in a task."""

    template_fields = ("text",)

    def __init__(self, text: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def notify(self, context: Any) -> None:
        """Write it down."""
        HEARD.append((type(self).__name__, self.text))


class OnlyAsync(Pager):
    """Writes down its text, in an event loop."""

    notify = BaseNotifier.notify

    async def async_notify(self, context: Any) -> None:
        """Write it down."""
        HEARD.append(("OnlyAsync", self.text))


class Broken(Pager):
    """Has no line."""

    def notify(self, context: Any) -> None:
        """Fail."""
        raise OSError("no line")
