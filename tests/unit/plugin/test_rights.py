# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Every route: without a token, without the permission, from a page of another site, with a hostile path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from api_server import Api

from batchy_provider.plugin.batchy import BatchyPlugin

BODIES = {"window": {"from_date": "2026-11-01"}, "hold": {"why": "migration"}, "note": {"text": "slow"}}
HOSTILE = ["..%2f..%2fetc", "%2fetc%2fpasswd", "a%00b", "x" * 5000, "\uff53ales", "s%0d%0aX: y", "{s}", "%2e%2e", "a b"]


def routes() -> Iterator[tuple[str, str]]:
    """Yield all routes of the application, so that no new one is forgotten."""

    def walk(found: list[object]) -> Iterator[tuple[str, str]]:
        for route in found:
            inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
            if inner and not hasattr(route, "methods"):
                yield from walk(inner)
                continue
            for method in sorted(getattr(route, "methods", None) or ["GET"]):
                yield method, route.path

    app = BatchyPlugin.fastapi_apps[0]["app"].app
    documented = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    yield from sorted({*walk(app.routes), *documented})


ROUTES = list(routes())


def changes(method: str, path: str) -> bool:
    if path.startswith("/api/v1"):
        return method not in ("GET", "HEAD")
    return not path.startswith(("/get_status", "/index", "/page", "/static"))


def ask(client: httpx.Client, method: str, path: str, workflow: str = "sales") -> httpx.Response:
    filled = path.replace("{attempt}", "1").replace("{name}", "stdout").replace("{name:path}", "stdout")
    filled = filled.replace("{path:path}", "main.js")
    filled = filled.replace("{workflow}", workflow).replace("{job}", "load").replace("{batch_id}", "1")
    filled = re.sub(r"\{form\}", "json", filled)
    body = BODIES.get(path.rpartition("/")[2], {}) if method in ("POST", "PUT") and path.startswith("/api") else None
    return client.request(method, filled, json=body)


@pytest.fixture(autouse=True)
def _uploads_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__ALLOW_UPLOAD", "True")


def test_there_are_routes() -> None:
    paths = {path for _, path in ROUTES}
    assert {"/api/v1/workflows", "/api/v1/openapi.json", "/open_batch/{workflow}/{form}"} <= paths


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_token_nothing_is_shown_or_done(api: Api, method: str, path: str) -> None:
    answer = ask(api.client(None), method, path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json" or method == "HEAD"
    garbage = api.client(None)
    garbage.headers["Authorization"] = "Bearer not.a.token"
    assert ask(garbage, method, path).status_code in (401, 403)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if changes(*route)])
def test_a_viewer_changes_nothing(api: Api, method: str, path: str) -> None:
    answer = ask(api.client("viewer"), method, path)
    assert answer.status_code == 403
    assert "may not" in answer.json()["detail"]


# An open stream of events never ends here: the in-process client returns whole answers. See tests/integration.
@pytest.mark.parametrize(("method", "path"), [r for r in ROUTES if not changes(*r) and not r[1].endswith("/events")])
def test_a_viewer_reads(api: Api, method: str, path: str) -> None:
    assert ask(api.client("viewer"), method, path).status_code in (200, 404, 422)


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if changes(*route)])
def test_a_page_of_another_site_changes_nothing_with_the_cookie(api: Api, method: str, path: str) -> None:
    answer = ask(api.client("admin", cookie=True), method, path)
    assert answer.status_code in (401, 403)
    with_header = api.client("admin", cookie=True)
    with_header.headers["X-Batchy-Request"] = "1"
    allowed = ask(with_header, method, path).status_code
    assert allowed in ((200, 201, 404, 409, 415, 422) if path.startswith("/api/v1") else (401,))


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "{workflow}" in route[1]])
def test_an_invalid_name_in_the_path_is_refused(api: Api, method: str, path: str) -> None:
    client = api.client()
    for workflow in HOSTILE:
        answer = ask(client, method, path, workflow if "%" in workflow else quote(workflow))
        # The result store has also what DAGs outside of any workflow left: no execution is a list without one.
        assert answer.status_code in (404, 405, 422) or answer.json()["items"] == [], workflow
    assert not client.get("/api/v1/workflows?search=etc").json()["items"]
