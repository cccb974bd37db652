# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Batches that only the archive has, by REST: in the list of a workflow and one by one, to read and not to change."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from api_server import SALES, Api

from batchy_provider.plugin import airflow_services

WORKFLOW = "/api/v1/workflows/sales"


@pytest.fixture
def client(api: Api) -> httpx.Client:
    (api.cfg / "sales.yaml").write_text(SALES)
    return api.client()


@pytest.fixture
def made(client: httpx.Client) -> list[int]:
    """Five batches, newest first. Redis has two of them, the archive all."""
    found = []
    for result in ("close", "fail", "close", "close", "fail"):
        opened = client.post(f"{WORKFLOW}/batches").json()["batch"]["batch_id"]
        assert client.post(f"{WORKFLOW}/batches/{opened}/{result}", json={"why": "by hand"}).status_code == 200
        found.append(int(opened))
    airflow_services.get_services().store.prune("sales", keep=2)
    return found[::-1]


def damage_archive() -> None:
    files = airflow_services.get_services()._archive_files
    assert files is not None
    folder = Path(files.url.removeprefix("file://"), "sales", "batches")
    assert len([*folder.iterdir()]) == 5
    for file in folder.iterdir():
        file.write_text("{")


def listed(client: httpx.Client, query: str = "") -> list[tuple[int, bool]]:
    answer = client.get(f"{WORKFLOW}/batches?{query}")
    assert answer.status_code == 200, answer.text
    return [(each["batch_id"], each["archived"]) for each in answer.json()["items"]]


def test_the_list_goes_on_with_those_of_the_archive(client: httpx.Client, made: list[int]) -> None:
    marked = [(batch_id, at >= 2) for at, batch_id in enumerate(made)]
    assert listed(client) == marked
    for limit in (1, 2, 3, 4):
        pages = [listed(client, f"limit={limit}&offset={offset}") for offset in range(0, 6, limit)]
        assert [each for page in pages for each in page] == marked
    totals = [client.get(f"{WORKFLOW}/batches?limit=1&offset={at}").json()["total"] for at in (0, 1, 2, 5, 9)]
    assert totals == [2, 5, 5, 5, 5], "the archive is asked at the end of what Redis has"
    assert listed(client, "status=failed") == [(made[0], False)], "/history searches the archive, too"


def test_one_batch_is_shown_as_it_was(client: httpx.Client, made: list[int]) -> None:
    kept, gone = (client.get(f"{WORKFLOW}/batches/{each}") for each in (made[0], made[3]))
    assert (kept.json()["archived"], gone.json()["archived"]) == (False, True)
    assert gone.json().items() >= {"batch_id": made[3], "status": "failed", "closed_why": "by hand"}.items()
    assert gone.json().keys() == kept.json().keys()
    assert set(gone.json()["jobs"]) == {"extract", "load"}


def test_a_comparison_needs_another_batch_by_name(client: httpx.Client, made: list[int]) -> None:
    alone = client.get(f"{WORKFLOW}/batches/{made[2]}/comparison").json()
    assert (alone["other"], alone["previous"], alone["next"]) == (None, None, None)
    assert "only the archive has it" in alone["text"]
    both = client.get(f"{WORKFLOW}/batches/{made[2]}/comparison?with={made[3]}").json()
    assert (both["batch"]["batch_id"], both["other"]["batch_id"]) == (made[2], made[3])
    assert "failed" in both["text"]


@pytest.mark.parametrize("action", ["close", "fail", "note", "ack"])
def test_nothing_changes_it(client: httpx.Client, made: list[int], action: str) -> None:
    before = client.get(f"{WORKFLOW}/batches/{made[3]}").json()
    answer = client.post(f"{WORKFLOW}/batches/{made[3]}/{action}", json={"text": "seen"} if action == "note" else {})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_batch")
    assert client.get(f"{WORKFLOW}/batches/{made[3]}").json() == before


def test_a_batch_that_nobody_has_is_unknown(client: httpx.Client, made: list[int]) -> None:
    answer = client.get(f"{WORKFLOW}/batches/17")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_batch")


def test_an_archive_that_cannot_be_read_is_named(client: httpx.Client, made: list[int]) -> None:
    damage_archive()
    answer = client.get(f"{WORKFLOW}/batches/{made[3]}")
    assert (answer.status_code, answer.json()["code"]) == (503, "archive_error")
    assert f"sales: Redis has no batch {made[3]}, and whether the archive has it is not known" in answer.text
    assert client.get(f"{WORKFLOW}/batches/{made[0]}").status_code == 200
    page = client.get(f"{WORKFLOW}/batches").json()
    assert [each["batch_id"] for each in page["items"]] == made[:2]
    assert "batches" in page["archive_error"]
    assert client.get(f"{WORKFLOW}/batches?limit=1").json()["archive_error"] is None
