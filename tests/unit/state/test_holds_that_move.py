# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Holds and notes go where their workflow goes, and each has an audit entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from state_worlds import WORKFLOW
from store_calls import request as opening
from store_calls import succeed

from batchy_provider.core.values import Actor, Batch, CloseRequest
from batchy_provider.exceptions import ImportDocumentError, StateError, UnknownWorkflowError, WorkflowOnHoldError
from batchy_provider.state.connections import open_client
from batchy_provider.state.document_check import read_document
from batchy_provider.state.export_form import FORMAT, VERSION
from batchy_provider.state.importing import ImportRequest, export_state, import_state
from batchy_provider.state.keys import Keys
from batchy_provider.state.removal import remove_state
from batchy_provider.state.renaming import RenameRequest, rename_state
from batchy_provider.state.store import Store

ANNA = Actor("anna", "cli", "host1")


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    client = open_client(request.getfixturevalue("redis_url" if request.param == "server" else "cluster_url"))
    yield Store(client)
    client.close()


@pytest.fixture
def failed(store: Store) -> Batch:
    """A workflow on hold, whose latest batch has failed, which anna has acknowledged."""
    succeed(store, "first")
    batch = store.open(WORKFLOW, opening("second"))
    store.close(WORKFLOW, CloseRequest(result="failed", batch_id=batch.batch_id))
    store.note(WORKFLOW, batch.batch_id, "known", by=ANNA, ack=True)
    store.hold(WORKFLOW, by=ANNA, why="migration", until="2999-01-01")
    return batch


def check(store: Store, name: str, failed: Batch) -> None:
    state = store.status(name)
    assert state.hold is not None
    assert (state.hold.by, state.hold.why, state.hold.until) == ("anna", "migration", "2999-01-01T00:00:00.000000")
    for batch in (state.batch, store.batch(name, failed.batch_id)):
        assert batch is not None
        assert batch.record is not None
        assert [(each.by, each.text, each.ack) for each in batch.record.notes] == [("anna", "known", True)]
    with pytest.raises(WorkflowOnHoldError):
        store.open(name, opening("third"))


def document(workflow: dict[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "workflows": [json.loads(json.dumps(workflow))]}


@pytest.mark.parametrize("history", [True, False])
def test_they_are_exported_and_imported(store: Store, failed: Batch, history: bool) -> None:
    exported = export_state(store.backend, WORKFLOW, history=history)
    assert exported["hold"]["why"] == "migration"
    remove_state(store.backend, WORKFLOW)
    (workflow,) = read_document(document(exported))
    import_state(store.backend, ImportRequest(workflow=workflow, by=ANNA))
    check(store, WORKFLOW, failed)


def test_a_document_of_before_there_were_holds_can_be_imported(store: Store, failed: Batch) -> None:
    store.release(WORKFLOW, by=ANNA)
    exported = export_state(store.backend, WORKFLOW, history=True)
    assert exported.pop("hold") is None
    (workflow,) = read_document(document(exported))
    import_state(store.backend, ImportRequest(workflow=workflow, by=ANNA, replaces=True))
    assert store.status(WORKFLOW).hold is None


@pytest.mark.parametrize("hold", [{"by": "anna"}, "yes", {"by": "a", "why": "b", "since": "today"}])
def test_a_hold_of_another_form_is_an_error_of_the_document(store: Store, failed: Batch, hold: Any) -> None:
    exported = export_state(store.backend, WORKFLOW, history=False) | {"hold": hold}
    with pytest.raises(ImportDocumentError, match=r"workflows\[0\] \(sales\)\.hold"):
        read_document(document(exported))


@pytest.mark.parametrize("notes", ["x", ["x"], [{"by": "anna"}], [{"at": "today", "by": "anna"}]])
def test_notes_of_another_form_are_an_error_of_the_document(store: Store, failed: Batch, notes: Any) -> None:
    exported = export_state(store.backend, WORKFLOW, history=False)
    exported["batches"][-1]["record"]["notes"] = notes
    with pytest.raises(ImportDocumentError, match="record"):
        read_document(document(exported))


def test_they_have_the_new_name_after_a_rename(store: Store, failed: Batch) -> None:
    rename_state(store.backend, RenameRequest(old=WORKFLOW, new="orders", by=ANNA))
    check(store, "orders", failed)


def test_they_are_gone_after_a_removal(store: Store, failed: Batch) -> None:
    remove_state(store.backend, WORKFLOW)
    with pytest.raises(UnknownWorkflowError):
        store.release(WORKFLOW, by=ANNA)
    store.open(WORKFLOW, opening("first"))


def test_each_has_an_audit_entry_with_who_where_and_why(store: Store, failed: Batch) -> None:
    store.hold(WORKFLOW, by=Actor("ben", "web", "10.0.0.1"), why=" other ")
    store.release(WORKFLOW, by=ANNA, why="done")
    entries = [(each.by, each.source, each.what, each.why) for each in store.status(WORKFLOW).changes]
    assert entries == [
        ("anna", "cli", "released the hold of ben", "done"),
        ("ben", "web", "put on hold until it is released, instead of the hold of anna", "other"),
        ("anna", "cli", "put on hold until 2999-01-01T00:00:00 UTC", "migration"),
        ("anna", "cli", f"acknowledged the failure of batch {failed.batch_id}", "known"),
    ]


def test_a_list_of_workflows_shows_them(store: Store, failed: Batch) -> None:
    (state,) = store.overview()
    assert state.hold is not None
    assert state.hold.why == "migration"
    assert state.batch is not None
    assert state.batch.record is not None
    assert state.batch.record.notes[0].ack


def test_a_list_of_workflows_leaves_out_a_hold_that_has_ended(store: Store, failed: Batch) -> None:
    over = {"by": "anna", "why": "migration", "since": "2026-01-01T00:00:00", "until": "2026-01-02T00:00:00"}
    keys = Keys(WORKFLOW, store.backend.cluster)
    store.backend.client.hset(keys.meta, "hold", json.dumps(over))
    assert store.overview()[0].hold is None
    assert store.status(WORKFLOW).hold is None


def test_a_hold_that_cannot_be_read_stops_the_workflow_and_names_the_field(store: Store, failed: Batch) -> None:
    keys = Keys(WORKFLOW, store.backend.cluster)
    store.backend.client.hset(keys.meta, "hold", '{"by": 7}')
    with pytest.raises(StateError, match="hold"):
        store.open(WORKFLOW, opening("third"))
