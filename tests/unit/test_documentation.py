# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The documentation site: it builds, its links lead somewhere, and what its pages say is what the code does."""

from __future__ import annotations

import argparse
import ast
import functools
import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from batchy_provider.cli.main import build_parser
from batchy_provider.config.document import parse
from batchy_provider.config.schema import schema_text
from batchy_provider.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "scripts" / "docs_site"))

sys.path.append(str(ROOT / "tests" / "integration"))

import hooks  # noqa: E402
import messages  # noqa: E402
from browser import SCREENSHOTS, chromium  # noqa: E402
from commands import commands_of, commands_page  # noqa: E402
from configuration import configuration_page  # noqa: E402
from modules import modules, modules_page  # noqa: E402
from outside import Outside, anchor  # noqa: E402
from routes import routes_page  # noqa: E402

PAGES = {path.relative_to(DOCS).as_posix(): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
WRITTEN = {**PAGES, "README.md": (ROOT / "README.md").read_text()}
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


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
    """Build it; a warning of the build is a fault."""
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


def test_every_page_is_in_the_built_site_and_in_its_navigation(site: Site) -> None:
    for page in [*PAGES, *hooks.GENERATED]:
        html = page.removesuffix(".md") + ".html"
        assert html in site.pages, page
        assert html in {_target("index.html", link)[0] for link in site.pages["index.html"].links}, (
            f"{page} is in no place"
        )


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
        page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()  # type: ignore[arg-type]
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
    assert outside.mend("[a](../cfg/a.yaml)", "x.md") == "[a](reference/files.md#cfg-a-yaml)"
    assert outside.mend("[a](../../cfg/a.yaml#L3)", "deep/y.md") == "[a](../reference/files.md#cfg-a-yaml)"
    assert outside.mend("[b](../cfg/b.yaml) [c](https://x/y) [d](x.md)", "y.md") == (
        "[b](../cfg/b.yaml) [c](https://x/y) [d](x.md)"
    )
    assert f"{{#{anchor('cfg/a.yaml')}}}\n\n```yaml\njobs: {{}}\n```" in outside.page()


def test_pipes_in_the_code_of_a_table_are_shown_without_the_backslash_that_a_code_host_needs() -> None:
    assert hooks.plain_pipes("| `a\\|b` | c \\| d |\n`a\\|b`") == "| `a|b` | c \\| d |\n`a\\|b`"


# what the pages say


def _blocks(language: str) -> list[Any]:
    return [
        pytest.param(
            re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
            id=f"{page}:{text[: found.start()].count(chr(10)) + 2}",
        )
        for page, text in WRITTEN.items()
        for found in FENCE.finditer(text)
        if found[2] == language
    ]


@pytest.mark.parametrize("block", _blocks("yaml"))
def test_yaml_on_the_pages_is_yaml_and_whole_workflow_files_are_sound(block: str) -> None:
    from batchy_provider.config.validation import validate

    if "…" in block:  # an outline
        return
    if block.lstrip().startswith("wait_for:") and block.count("wait_for:") == 2:  # one key in its two forms
        return
    data, *more = yaml.safe_load_all(block)
    if more or (isinstance(data, dict) and {"on", True} & set(data)):  # of other programs: YAML takes `on` for true
        return
    if isinstance(data, dict) and "jobs" in data:
        _, problems = validate("page", ROOT / "cfg" / "page.yaml", parse(block).data, {})
        wrong = [problem for problem in problems if not problem.message.startswith("no bundle")]
        assert not wrong
    elif isinstance(data, dict) and set(data) <= _keys_of_files():
        with_job = parse(block + "\njobs: {load: {bash: 'true'}}\n")
        _, problems = validate("page", ROOT / "cfg" / "page.yaml", with_job.data, {})
        assert not problems


def _keys_of_files() -> set[str]:
    return set(json.loads(schema_text())["properties"])


@pytest.mark.parametrize("block", _blocks("json"))
def test_json_on_the_pages_is_json(block: str) -> None:
    if "…" not in block:
        json.loads(block)


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_on_the_pages_is_python_and_names_what_is_there(block: str) -> None:
    import importlib

    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("batchy_provider"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


_BEFORE = r"(?:^\s*|[|&;(]\s*|\$ |\w=\S+\s+|\b(?:airflow|run|time|sudo) )"
"""What may stand on a line before a command: in what a program printed, the word alone is none."""


def _commands() -> list[Any]:
    """All calls of ``batchy``: in blocks, where they must be whole, and in the text, where they may be cut short."""
    found: dict[str, tuple[str, bool]] = {}
    for page, text in WRITTEN.items():
        lines = [line for block in FENCE.finditer(text) if block[2] in ("", "sh", "bash") for line in _lines(block[3])]
        spans = re.findall(r"(?<!`)`((?:airflow )?batchy [^`\n]+)`(?!`)", FENCE.sub("", text))
        for line, is_whole in [*((line, True) for line in lines), *((span, False) for span in spans)]:
            for call in re.findall(rf"{_BEFORE}batchy ((?:[^|;&<>'\"()]|'[^']*'|\"[^\"]*\")+)", line):
                found.setdefault(call.strip(), (page, is_whole))
    return [pytest.param(call, whole, id=f"{page}: {call}"[:80]) for call, (page, whole) in found.items()]


def _lines(block: str) -> list[str]:
    """Lines of a shell block, without here documents and comments, and with continued lines as one."""
    block = re.sub(r"<<'?(\w+)'?\n.*?^\1$", "", block, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(r"(^|\s)#.*", "", line) for line in block.replace("\\\n", " ").splitlines()]


@functools.cache
def _parser() -> argparse.ArgumentParser:
    return build_parser()


@pytest.mark.parametrize(("call", "is_whole"), _commands())
def test_commands_on_the_pages_are_such_as_the_parser_takes(
    call: str, is_whole: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(call)
    if re.search(r"…|\[|\.\.\.|\b[A-Z]{2,}\b", call.replace("KEY=VALUE", "")):
        # An outline: its command and its options must be there all the same.
        own = call.partition(" -- ")[0]  # the rest is a script's
        words = [word.strip("[]()") for word in re.split(r"[\s|=]+", own)]
        commands = commands_of(_parser())
        name = next((word for word in words if word in commands), None)
        if name is not None:
            known = {option for action in commands[name]._actions for option in action.option_strings}
            assert {word for word in words if re.fullmatch(r"--[a-z][a-z-]+", word)} <= known
        return
    code = 0
    try:
        _parser().parse_args(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr().err
    is_cut_short = not is_whole and ("are required: " in said or "expected one argument" in said)
    assert code == 0 or is_cut_short, f"batchy {call}\n{said}"


def test_every_variable_that_the_code_reads_or_sets_is_on_its_page() -> None:
    page = PAGES["reference/variables.md"]
    found = set()
    for path in sorted((ROOT / "batchy_provider").rglob("*.py")):
        found |= set(re.findall(r"[\"'](BATCHY_[A-Z_]+)[\"']", path.read_text()))
    for name in found | set(re.findall(r"\$\{(BATCHY_[A-Z_]+)", (ROOT / "run").read_text())):
        assert f"`{name}`" in page, f"{name} is not on docs/reference/variables.md"


# the map of the code


def test_every_file_says_what_it_is_for_and_is_on_the_page_of_all_files() -> None:
    page = modules_page()
    for module in modules():
        assert module.purpose or module.name == "__init__.py", f"{module.folder}/{module.name} has no docstring"
        assert module.name == "__init__.py" or f"| `{module.name}` | " in page, module


def test_the_map_names_only_files_that_exist_and_all_folders() -> None:
    text = PAGES["development.md"].partition("## The map")[2].partition("## Tests")[0]
    names = set(re.findall(r"`([\w/.]+(?:/|\.py|\.js))`", text))
    package = ROOT / "batchy_provider"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.*")}
    for name in names:
        known = (package / name).exists() or (ROOT / name).exists() or any(file.endswith(f"/{name}") for file in files)
        assert known, f"{name} does not exist"
    missing = {f"{module.folder.split('/')[0]}/" for module in modules() if module.folder != "."} - names
    assert not missing


# the page of troubles


TROUBLE = PAGES["troubleshooting.md"]
TEXTS = messages.all_texts(ROOT / "batchy_provider")
SAID = messages.raised(ROOT / "batchy_provider")
NOT_OF_USERS = {
    "AssertionError",
    "AttributeError",
    "HTTPException",
    "UsageError",
    "ArgumentTypeError",
    "StackError",
    "UploadConflictError",
    "FormError",
    "_NoEventError",
}
"""Of a developer; of REST, whose page lists statuses; of the command line, which says what it expected; a part of the
sentence of another message, which the page lists."""
ELSEWHERE = (
    # They say all that there is to say, about one call of one's own.
    "batchy_provider/cli/",
    "batchy_provider/local/",
    "batchy_provider/plugin/",
    "batchy_provider/services/uploads.py",
    "batchy_provider/services/upload_files.py",
    "batchy_provider/config/",
    "batchy_provider/original/formats.py",
    "batchy_provider/core/job_settings.py",
    "batchy_provider/core/dates.py",
    "batchy_provider/state/wait_queries.py",
    "batchy_provider/state/deliveries.py",
)


@pytest.mark.parametrize("pattern", messages.patterns(TROUBLE))
def test_what_the_page_of_troubles_lists_is_what_the_code_says(pattern: str) -> None:
    assert any(messages.matches(pattern, text) for text in TEXTS), f"no text in the source is like {pattern!r}"


def test_every_error_that_a_night_can_meet_is_on_the_page_of_troubles() -> None:
    patterns = messages.patterns(TROUBLE)
    missing = [
        f"{message.place}: {message.error}: {message.text}"
        for message in SAID
        if message.error not in NOT_OF_USERS
        and message.error.endswith("Error")
        and message.error not in ("ValueError", "OSError", "ConnectionError", "BundleRefusedError")
        and not message.place.startswith(ELSEWHERE)
        and not any(messages.matches(pattern, message.text) for pattern in patterns)
    ]
    assert not missing


def test_a_pattern_matches_a_text_by_its_pieces_in_order() -> None:
    assert messages.matches("batch … is open since …", "…: batch … is open since … UTC, by …")
    assert not messages.matches("is open … batch", "batch 1 is open")
    source = "raise StateError(f'{name} of {x!r} is wrong' + ', mend it')"
    assert messages._text(ast.parse(source).body[0].exc.args[0]) == "… of … is wrong, mend it"  # type: ignore[attr-defined]
