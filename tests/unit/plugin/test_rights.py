# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Every route: without a token, without the permission, from a page of another site, with a hostile path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

import httpx
import pytest
from api_server import Api

from batchy_provider.plugin.batchy import BatchyPlugin

if TYPE_CHECKING:
    from redis import Redis

BODIES = {"window": {"from_date": "2026-11-01"}, "hold": {"why": "migration"}, "note": {"text": "slow"}}
BODIES["bulk"] = {"action": "pause", "workflows": ["sales"]}
HOSTILE = ["..%2f..%2fetc", "%2fetc%2fpasswd", "a%00b", "x" * 5000, "\uff53ales", "s%0d%0aX: y", "{s}", "%2e%2e", "a b"]


Route: TypeAlias = tuple[str, str]
"""Method and path."""


def routes() -> Iterator[Route]:
    """Yield all routes of the application, so that no new one is forgotten."""

    def walk(found: list[object]) -> Iterator[Route]:
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


@pytest.fixture(scope="module")
def every_route() -> list[Route]:
    """All routes. As parameters of tests, each process that collects tests would build the application for them."""
    return list(routes())


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


def test_there_are_routes(every_route: list[Route]) -> None:
    paths = {path for _, path in every_route}
    assert {"/api/v1/workflows", "/api/v1/openapi.json", "/open_batch/{workflow}/{form}"} <= paths


def test_without_a_token_nothing_is_shown_or_done(api: Api, every_route: list[Route]) -> None:
    nobody, garbage = api.client(None), api.client(None)
    garbage.headers["Authorization"] = "Bearer not.a.token"
    for method, path in every_route:
        answer = ask(nobody, method, path)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["content-type"] == "application/problem+json" or method == "HEAD", (method, path)
        assert ask(garbage, method, path).status_code in (401, 403), (method, path)


def test_a_viewer_changes_nothing(api: Api, every_route: list[Route]) -> None:
    viewer = api.client("viewer")
    for method, path in every_route:
        if changes(method, path):
            answer = ask(viewer, method, path)
            assert answer.status_code == 403, (method, path)
            assert "may not" in answer.json()["detail"], (method, path)


def test_a_viewer_reads(api: Api, every_route: list[Route]) -> None:
    viewer = api.client("viewer")
    for method, path in every_route:
        # An open stream of events never ends here: the in-process client returns whole answers. See tests/integration.
        if not changes(method, path) and not path.endswith("/events"):
            assert ask(viewer, method, path).status_code in (200, 404, 422), (method, path)


def test_a_page_of_another_site_changes_nothing_with_the_cookie(
    api: Api, every_route: list[Route], redis_client: Redis
) -> None:
    other_site, with_header = api.client("admin", cookie=True), api.client("admin", cookie=True)
    with_header.headers["X-Batchy-Request"] = "1"
    for method, path in every_route:
        if changes(method, path):
            assert ask(other_site, method, path).status_code in (401, 403), (method, path)
            allowed = ask(with_header, method, path).status_code
            expected = (200, 201, 404, 409, 415, 422) if path.startswith("/api/v1") else (401,)
            assert allowed in expected, (method, path, allowed)
            redis_client.flushall()


def test_an_invalid_name_in_the_path_is_refused(api: Api, every_route: list[Route]) -> None:
    client = api.client()
    for method, path in every_route:
        for workflow in HOSTILE if "{workflow}" in path else ():
            answer = ask(client, method, path, workflow if "%" in workflow else quote(workflow))
            # The result store has also what DAGs outside of any workflow left: no execution is a list without one.
            refused = answer.status_code in (404, 405, 422) or answer.json()["items"] == []
            assert refused, (method, path, workflow)
    assert not client.get("/api/v1/workflows?search=etc").json()["items"]
