# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Results move to another name with their workflow, on a local disk and on anything with the pathlib API."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_results import IDENTITY, keep, open_path

from batchy_provider.bundles import result_moving
from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.result_moving import move_results
from batchy_provider.bundles.result_store import ResultStore


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ResultStore]:
    url = str(tmp_path / "results") if request.param == "local" else f"memory://results-{os.urandom(4).hex()}"
    return ResultStore(url, open_path)


def test_results_move_to_another_name(store: ResultStore, tmp_path: Path) -> None:
    keep(store, tmp_path, files__sub=b"x", output=b"\0\xff")
    keep(store, tmp_path, replace(IDENTITY, batch_id="1795000001"))
    keep(store, tmp_path, replace(IDENTITY, workflow="stock"))
    before = {each.url: dict(each.record) for each in store.find("sales")}
    assert move_results(store, "sales", "orders") == 2
    assert store.workflows() == ["orders", "stock"]
    after = {each.url.replace("/orders/", "/sales/"): dict(each.record) for each in store.find("orders")}
    assert after == {url: {**record, "workflow": "orders"} for url, record in before.items()}
    found = store.get(replace(IDENTITY, workflow="orders"))
    with found.open("files/sub") as file:
        assert file.read() == b"x"
    store.fetch(found.reference(), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"\0\xff"
    assert move_results(store, "sales", "orders") == 0


@pytest.mark.parametrize("function", ["write_whole", "_copy", "discard", "rename"])
def test_a_move_that_breaks_off_is_finished_by_the_next(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    keep(store, tmp_path, output=b"1")
    keep(store, tmp_path, replace(IDENTITY, batch_id="1795000001"), output=b"2")

    def breaks(*_: Any) -> None:
        raise OSError("no route to the store")

    place: Any = {"discard": ResultStore, "rename": Path}.get(function, result_moving)
    with monkeypatch.context() as broken:
        broken.setattr(place, function, breaks)
        with contextlib.suppress(ResultError):
            move_results(store, "sales", "orders")
    for name in ("1795000000", "1795000001"):
        assert store.find("sales", name) or store.find("orders", name), "each is there under one name at least"
    move_results(store, "sales", "orders")
    assert store.workflows() == ["orders"]
    assert [each.record["batch_id"] for each in store.find("orders")] == ["1795000000", "1795000001"]


def test_a_damaged_record_stays_under_the_old_name(store: ResultStore, tmp_path: Path) -> None:
    keep(store, tmp_path)
    damaged = keep(store, tmp_path, replace(IDENTITY, job="load"))
    (damaged.path / "exit.json").write_bytes(b"{")
    assert move_results(store, "sales", "orders") == 1
    assert [each.damage is None for each in store.find("sales")] == [False]
