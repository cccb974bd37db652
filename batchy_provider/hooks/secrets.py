# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Secrets for masking: those that Airflow's masker knows, and those that it learns before a script runs."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

_PR_SET_DUMPABLE = 4
_CONNECTION = "AIRFLOW_CONN_"


def known_secrets() -> set[str]:
    """Return all that Airflow masks in this process, from connections, variables and `mask_secret`."""
    from batchy_provider.compat import secrets_masker

    # Airflow stores them as patterns, each made by `re.escape`.
    return {re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL) for pattern in tuple(secrets_masker().patterns)}


def learn_secrets(*named: Mapping[str, Any], inherit_env: bool = False) -> None:
    """Let Airflow mask the values whose names are secret, in this process and in the task log.

    :param named: variables and params. Airflow's ``[core] sensitive_var_conn_names`` says which names are secret.
    :param inherit_env: also mask the secrets in the worker's own environment.
    """
    from airflow.sdk.log import mask_secret

    from batchy_provider.bundles.masking import secrets_in
    from batchy_provider.compat import secrets_masker

    is_secret = secrets_masker().should_hide_value_for_key
    found: set[str] = set()
    for values in named:
        found |= secrets_in(values, is_secret)
    if inherit_env:
        found |= secrets_in(_with_connections(os.environ), lambda name: is_secret(name) or _is_of_airflow(name))
    for secret in sorted(found - known_secrets()):
        mask_secret(secret)


def _is_of_airflow(name: str) -> bool:
    return name.startswith(_CONNECTION) or name.endswith("FERNET_KEY")


def _with_connections(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the environment, and the content of connections that are written as JSON."""
    opened: dict[str, Any] = dict(environment)
    for name, text in environment.items():
        if name.startswith(_CONNECTION) and text.startswith("{"):
            with contextlib.suppress(ValueError):
                opened[f"{name} as JSON"] = {"of a connection": json.loads(text)}
    return opened


def close_process() -> None:
    """Hide the memory and environment of this process from other processes of its user, also from its own script.

    Airflow does this since 3.2, except in a process that `run_as_user` has started again. Root can still read both.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
