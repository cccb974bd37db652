# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the API server loads of this package when it starts, and that it starts without it, too."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from batchy_provider.plugin import batchy

SERVER = """
import sys
from airflow.api_fastapi.app import create_app

create_app({apps!r})
print("batchy_provider.plugin.app" in sys.modules)
"""


@pytest.mark.parametrize(("apps", "is_loaded"), [("core", True), ("execution", False)])
def test_a_server_that_has_the_page_loads_it_before_the_first_request(apps: str, is_loaded: bool) -> None:
    found = subprocess.run([sys.executable, "-c", SERVER.format(apps=apps)], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == str(is_loaded)


def test_a_program_that_only_loads_plugins_does_not_load_the_page() -> None:
    program = (
        "import sys\nfrom batchy_provider.plugin.batchy import BatchyPlugin\n"
        "BatchyPlugin.timetables, BatchyPlugin.listeners, BatchyPlugin.external_views\n"
        "print('batchy_provider.plugin.app' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"


def test_airflow_starts_without_a_page_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(batchy.LazyApp):
        @property
        def app(self) -> Any:
            raise ImportError("No module named 'numpy'")

    monkeypatch.setattr(batchy, "LazyApp", Broken)

    class Plugin:
        fastapi_apps = batchy.Applications()

    with caplog.at_level(logging.ERROR):
        (found,) = Plugin.fastapi_apps
    assert found["url_prefix"] == "/batchy"
    assert "Batchy's page and REST API cannot be loaded" in caplog.text
    assert "No module named 'numpy'" in caplog.text
