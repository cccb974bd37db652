# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The files of the page, for a browser whose other requests a test answers itself."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Route

from batchy_provider.plugin.routes import page as page_route


def path_of(route: Route) -> str:
    """Return the path of a request, below that of the plugin."""
    return urlsplit(route.request.url).path.removeprefix("/batchy/")


def answer(route: Route) -> None:
    """Answer a request for the page, for one of its files, or for events, of which there are none; else with 404."""
    path = path_of(route)
    if path == "page":
        route.fulfill(path=page_route.STATIC / "index.html", content_type="text/html")
    elif path.startswith("static/"):
        file = Path(page_route.STATIC, path.removeprefix("static/"))
        route.fulfill(path=file, content_type=mimetypes.guess_type(file.name)[0])
    elif path == "api/v1/events":
        route.fulfill(body=": watching\n\n", content_type="text/event-stream")
    else:
        route.fulfill(status=404, json={"detail": "not here"})
