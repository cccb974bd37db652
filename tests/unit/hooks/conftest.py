# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Fixtures of the hook's tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from batchy_provider.hooks.batchy import BatchyHook


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., BatchyHook]:
    """Return a hook on a connection of these parts."""

    def make(**parts: Any) -> BatchyHook:
        made = {"conn_type": "redis", **parts}
        monkeypatch.setenv("AIRFLOW_CONN_C", json.dumps(made))
        return BatchyHook("c", retry_seconds=1)

    return make
