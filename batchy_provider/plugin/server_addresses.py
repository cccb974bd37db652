# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Remove the paths and addresses of this server from messages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from airflow.configuration import conf

_LOCAL_URL = re.compile(r"\b(?:file|local):/\S*", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w:/.~*-])(?!/batchy/|/api/)/(?:[\w.@%+~=-]+/)+[\w.@%+~=-]*")
_REDIS = re.compile(r"\b(rediss?(?:\+\w+)?|unix)://\S+|\b(Redis(?: Cluster)? at )\S+|\b[\w.-]+:\d{1,5}\b(?!:)")


def hide_addresses(text: str) -> str:
    """Return a message without paths and addresses of this server.

    A configured folder becomes its name, such as "the result store". Any other path, and the address of Redis, becomes
    "…".
    """
    for folder, name in _configured_folders():
        text = text.replace(f"{folder}/", "").replace(folder, name)
    text = _PATH.sub("…", _LOCAL_URL.sub("…", text))
    if "redis" in text.lower():
        text = _REDIS.sub(lambda found: f"{found[2]}…" if found[2] else "…", text)
    return text


def _configured_folders() -> Iterable[tuple[str, str]]:
    """Return the folders in Airflow's configuration with their names for people, the longest path first."""
    from batchy_provider.hooks.deployment import cfg_folder

    folder = cfg_folder()
    named = {str(folder): "the folder of workflow files", str(folder.resolve()): "the folder of workflow files"}
    for option, what in (("results_url", "the result store"), ("bundle_cache", "the bundle cache")):
        if value := conf.get("batchy", option, fallback=""):
            named[value.rstrip("/")] = what
            if value.startswith("/"):
                named[Path(value).as_uri()] = what
    return sorted(named.items(), key=lambda each: -len(each[0]))
