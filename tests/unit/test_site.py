# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The documentation site: it builds, its links lead to a place, and its generated pages are complete."""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from documentation_pages import (
    PAGES,
    ROOT,
    SCREENSHOTS,
    Outside,
    anchor,
    chromium,
    commands_of,
    commands_page,
    configuration_page,
    hooks,
    routes_page,
)

from batchy_provider.cli.main import build_parser
from batchy_provider.get_provider_info import get_provider_info


class Page(HTMLParser):
    """One built page: its anchors, its links, and what a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(path.read_text())

    def handle_data(self, data: str) -> None:
        if not {"pre", "script", "style"} & set(self._open):
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._open += [tag] if tag in ("pre", "script", "style") else []
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.loads.append(str(given["src"]))
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(str(given.get("href")))


class Site(NamedTuple):
    """The built site.

    :param pages: path → what is on it.
    """

    folder: Path
    pages: dict[str, Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Build it, which takes twenty seconds; a warning of the build is a fault."""
    folder = tmp_path_factory.mktemp("site") / "site"
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return Site(folder, {path.relative_to(folder).as_posix(): Page(path) for path in sorted(folder.rglob("*.html"))})


# the site as a whole


@pytest.mark.slow
def test_every_page_is_in_the_built_site_and_in_its_navigation(site: Site) -> None:
    for page in [*PAGES, *hooks.GENERATED]:
        html = page.removesuffix(".md") + ".html"
        assert html in site.pages, page
        assert html in {_target("index.html", link)[0] for link in site.pages["index.html"].links}, (
            f"{page} is in no place"
        )


@pytest.mark.slow
def test_all_links_within_the_site_lead_to_a_page_and_a_place_on_it(site: Site) -> None:
    broken = []
    for name, page in site.pages.items():
        if name == "404.html":  # is served at any address
            continue
        for link in page.links:
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            path, place = _target(name, link)
            if path not in site.pages:
                broken += [] if (site.folder / path).is_file() else [f"{name}: {link}"]
            elif place and place not in site.pages[path].anchors:
                broken.append(f"{name}: {link}: no such place")
    assert not broken


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Site) -> None:
    for name, page in site.pages.items():
        for load in page.loads:
            assert not urlsplit(load).scheme, f"{name} loads {load}"
            assert not load.startswith("//"), f"{name} loads {load}"
    for style in site.folder.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", style.read_text()), style
        assert not re.search(r"@import\s+(url\()?['\"]?(https?:)?//", style.read_text()), style
    # The theme's script would fetch Mermaid from a content delivery network, for such blocks alone.
    assert not [page for page, text in PAGES.items() if "```mermaid" in text]


def _target(page: str, link: str) -> tuple[str, str]:
    parts = urlsplit(link)
    path = os.path.normpath(Path(page).parent / unquote(parts.path)) if parts.path else page
    return ("index.html" if path == "." else path), unquote(parts.fragment)


@pytest.mark.slow
def test_no_page_shows_what_markdown_did_not_understand(site: Site) -> None:
    for name, page in site.pages.items():
        for rest in ("\\|", "](", "{ #", "<!--", ":::"):
            assert rest not in page.text, f"{name} shows {rest}"


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (390, "dark")])
def test_in_a_browser_it_asks_nobody_else_fits_a_phone_and_finds_words(site: Site, width: int, scheme: str) -> None:
    quiet = functools.partial(QuietHandler, directory=str(site.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server, chromium() as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        for name in ("index", "concepts", "comparison", "troubleshooting", "reference/commands", "reference/python"):
            page.goto(f"{here}{name}.html", wait_until="networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than the screen"
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"site-{scheme}-{name.replace('/', '-')}.png")
        page.locator("label.md-header__button[for=__search]:visible, .md-search__input:visible").first.click()
        page.keyboard.type("watermark")
        page.locator(".md-search-result__item").first.wait_for()
        server.shutdown()
    assert not wrong
    assert not [url for url in asked if not url.startswith((here, "data:", "blob:"))]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the built site."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


# the pages that are made of code


def test_the_page_of_commands_has_every_command_and_every_option() -> None:
    page = commands_page()
    for name, command in commands_of(build_parser()).items():
        assert f"\n## batchy {name}\n" in page
        of_it = page.split(f"\n## batchy {name}\n")[1].split("\n## ")[0]
        for action in command._actions:
            if action.help != argparse.SUPPRESS and not {"--help", "--redis-url"} & set(action.option_strings):
                for option in action.option_strings:
                    assert option in of_it or option in page.split("\n## ")[0], f"{name} {option}"
                if not action.option_strings:
                    value = "|".join(action.choices) if action.choices else str(action.metavar or action.dest.upper())
                    assert value in of_it, f"{name} {action.dest}"


def test_the_page_of_routes_has_every_route_and_leads_to_every_object() -> None:
    document = hooks._openapi()
    page = routes_page(document)
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"\n## {method.upper()} {path} " in page
    for name in document["components"]["schemas"]:
        assert f"\n### {name} {{ #{name.lower()} }}\n" in page
    assert "None" not in page


def test_the_page_of_configuration_has_every_option_and_field() -> None:
    page, info = configuration_page(), get_provider_info()
    for name, option in info["config"]["batchy"]["options"].items():
        assert f"\n## {name}\n" in page
        assert f"AIRFLOW__BATCHY__{name.upper()}" in page
        assert option["default"] is None or f"| default | `{option['default']}` |" in page
    for name in info["connection-types"][0]["conn-fields"]:
        assert f"| `{name}` |" in page


def test_a_page_that_is_not_there_is_left_out_of_the_navigation_with_a_section_that_it_leaves_empty() -> None:
    nav = ["a.md", {"B": "b.md"}, {"C": ["c.md", {"D": "d.md"}]}, {"E": [{"F": ["f.md"]}]}]
    assert hooks.without_missing(nav, {"a.md", "d.md"}) == ["a.md", {"C": [{"D": "d.md"}]}]
    assert hooks.without_missing(nav, {"a.md", "b.md", "c.md", "d.md", "f.md"}) == nav


def test_links_that_leave_the_docs_lead_to_the_page_that_shows_the_file(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "a.yaml").write_text("jobs: {}\n")
    (tmp_path / "docs" / "x.md").write_text("[a](../cfg/a.yaml) [all](../cfg) [b](../cfg/b.yaml) [c](https://x/y)")
    (tmp_path / "docs" / "deep" / "y.md").write_text("[a](../../cfg/a.yaml#L3)")
    outside = Outside(tmp_path, tmp_path / "docs", "reference/files.md")
    assert outside.linked() == ["cfg", "cfg/a.yaml"], "what is not there stays as it is, for the build to complain of"
    assert outside.rewrite_links("[a](../cfg/a.yaml)", "x.md") == "[a](reference/files.md#cfg-a-yaml)"
    assert outside.rewrite_links("[a](../../cfg/a.yaml#L3)", "deep/y.md") == "[a](../reference/files.md#cfg-a-yaml)"
    assert outside.rewrite_links("[b](../cfg/b.yaml) [c](https://x/y) [d](x.md)", "y.md") == (
        "[b](../cfg/b.yaml) [c](https://x/y) [d](x.md)"
    )
    assert f"{{#{anchor('cfg/a.yaml')}}}\n\n```yaml\njobs: {{}}\n```" in outside.page()


def test_pipes_in_the_code_of_a_table_are_shown_without_the_backslash_that_a_code_host_needs() -> None:
    assert hooks.plain_pipes("| `a\\|b` | c \\| d |\n`a\\|b`") == "| `a|b` | c \\| d |\n`a\\|b`"
