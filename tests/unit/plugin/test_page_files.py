# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How the page is served: after a login, with its own content security policy, without files of other hosts."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from airflow_versions import LOGIN_LEADS_BACK
from api_server import Api

from batchy_provider.plugin.batchy import BatchyPlugin
from batchy_provider.plugin.routes.page import STATIC

FILES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())
OURS = [name for name in FILES if name.endswith((".js", ".css", ".html")) and not name.startswith("vendor/")]


def test_a_person_without_a_login_is_redirected_to_it(api: Api) -> None:
    answer = api.client(None).get("/page", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == 307
    assert "/auth/login" in answer.headers["location"]
    assert "batchy" in answer.headers["location"] or not LOGIN_LEADS_BACK


def test_the_page_may_load_only_its_own_files(api: Api) -> None:
    answer = api.client("viewer", cookie=True).get("/page")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
def test_each_file_needs_a_login(api: Api, name: str) -> None:
    assert api.client(None).get(f"/static/{name}").status_code == 401
    answer = api.client("viewer", cookie=True).get(f"/static/{name}")
    assert (answer.status_code, answer.content) == (200, (STATIC / name).read_bytes())
    again = api.client("viewer", cookie=True).get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2fetc%2fpasswd", "vendor", "", "nothing.js", "a%00b"])
def test_nothing_else_is_served(api: Api, path: str) -> None:
    answer = api.client().get(f"/static/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


class Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += attrs


@pytest.mark.parametrize("name", OURS)
def test_nothing_comes_from_another_host_and_nothing_is_inline(name: str) -> None:
    text = (STATIC / name).read_text()
    assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text.replace("http://www.w3.org/2000/svg", ""))
    assert "innerHTML" not in text
    assert "dangerouslySetInnerHTML" not in text
    assert "eval(" not in text
    if name.endswith(".html"):
        parser = Attributes()
        parser.feed(text)
        assert not [key for key, _ in parser.found if key.startswith("on") or key == "style"]


@pytest.mark.parametrize("name", [name for name in OURS if name.endswith(".js")])
def test_each_import_of_a_script_exists(name: str) -> None:
    for other in re.findall(r"""(?:from|import\()\s*"(\./[^"]+)\"""", (STATIC / name).read_text()):
        assert (STATIC / name).parent.joinpath(other).is_file(), f"{name} imports {other}"


def test_the_readme_names_the_libraries_with_their_digests() -> None:
    lines = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (STATIC / "vendor" / "README.md").read_text(), re.M)
    assert {name for name, _ in lines} == {path.name for path in (STATIC / "vendor").glob("*.js")}
    for name, digest in lines:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_the_addresses_of_the_page_in_airflow_are_relative() -> None:
    views = BatchyPlugin.external_views
    assert [view["destination"] for view in views] == ["nav", "dag"]
    for view in views:
        assert not view["href"].startswith(("/", "http"))
        assert (STATIC / Path(view["icon"]).name).is_file()
    assert len({view["url_route"] for view in views}) == len(views)


def test_the_text_of_a_file_needs_the_permission_to_read_code(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    from batchy_provider.plugin.security import Caller

    assert "Sales" in api.client("viewer").get("/api/v1/workflows/sales").json()["source"]
    may = Caller.may
    monkeypatch.setattr(
        Caller,
        "may",
        lambda self, method, name, entity=None, **_: (
            entity is not DagAccessEntity.CODE and may(self, method, name, entity)
        ),
    )
    assert api.client("viewer").get("/api/v1/workflows/sales").json()["source"] is None


def test_the_page_and_the_rules_have_the_same_beginning() -> None:
    from batchy_provider.core.dates import BEGINNING

    assert f'BEGINNING = "{BEGINNING.isoformat(timespec="minutes")}"' in (STATIC / "dates.js").read_text()


def test_rest_has_the_window_of_a_batch_and_who_closed_it(api: Api) -> None:
    client = api.client()
    batch = client.post("/api/v1/workflows/sales/batches").json()["batch"]["batch_id"]
    client.post(f"/api/v1/workflows/sales/batches/{batch}/close", json={"why": "checked"})
    told = client.get(f"/api/v1/workflows/sales/batches/{batch}").json()
    assert (told["closed_by"], told["closed_why"]) == (told["by"], "checked")
    found = api.client("viewer").get("/api/v1/workflows/sales/coverage").json()
    assert (found["batches"], found["jobs"], found["gaps"]) == (1, ["extract", "load"], [])
    assert client.get("/api/v1/workflows/nothing/coverage").status_code == 404
