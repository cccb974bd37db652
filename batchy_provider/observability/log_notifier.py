# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A notifier that only writes a line to the log, to try out a deadline before a pager is set up."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import BaseNotifier

log = logging.getLogger(__name__)


class LogNotifier(BaseNotifier):
    """Write a line to the log of the program that calls the notifier.

    :param message: the line.
    """

    template_fields = ("message",)

    def __init__(self, message: str = "batchy: a notifier was called", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.message = message

    def notify(self, context: Any) -> None:
        """Write the line."""
        log.warning("%s", self.message)

    async def async_notify(self, context: Any) -> None:
        """Write the line; Airflow calls this for deadlines, in the triggerer."""
        log.warning("%s", self.message)
