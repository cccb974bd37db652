# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Gaps of one workflow and of all, from the ledger in a real Valkey."""

from __future__ import annotations

from datetime import timedelta

import pytest
from loaded_nights import ANN, load, with_gap

from batchy_provider.core.values import WorkflowConfig
from batchy_provider.exceptions import UnknownWorkflowError
from batchy_provider.services.composition import Services

CRM = WorkflowConfig(name="crm", jobs={"only": {}})


def spans(found: list[object]) -> list[tuple[str, ...]]:
    return [(each.workflow, getattr(each, "job", ""), each.from_date[:10], each.to_date[:10]) for each in found]


def test_a_gap_is_shown_for_each_job_until_it_is_loaded(services: Services) -> None:
    with_gap(services)
    assert spans(services.gaps.of("sales")) == [
        ("sales", "extract", "2026-11-03", "2026-11-06"),
        ("sales", "load", "2026-11-03", "2026-11-06"),
    ]
    load(services, 3, 5, live=False)
    assert spans(services.gaps.of("sales"))[0] == ("sales", "extract", "2026-11-05", "2026-11-06")
    load(services, 5, 6, live=False)
    assert services.gaps.of("sales") == []


def test_it_does_not_matter_how_many_batches_there_were_since(services: Services) -> None:
    with_gap(services)
    assert services.store.prune("sales", keep=1) == 1
    assert len(services.gaps.of("sales")) == 2
    assert len(services.batches.coverage("sales").gaps) == 1


def test_all_workflows_are_in_one_list_and_one_that_cannot_be_read_hides_no_other(services: Services) -> None:
    with_gap(services)
    with_gap(services, CRM)
    services.store.backend.client.hset("damaged", "job", '{"status": "success", "batch_id": 1}')
    services.store.backend.client.hset("damaged:loaded", "job", "[[1]]")
    services.names.expire()
    found, unreadable = services.gaps.all()
    assert [name for name, *_ in spans(found)] == ["crm", "sales", "sales"]
    assert [state.workflow for state in unreadable] == ["damaged"]
    assert [name for name, *_ in spans(services.gaps.all(["crm", "nobody"])[0])] == ["crm"]


def test_merged_gaps_name_their_jobs_and_those_of_disabled_jobs_are_marked(services: Services) -> None:
    with_gap(services)
    (gap,) = services.gaps.merged()
    assert (gap.jobs, gap.disabled) == (["extract", "load"], False)
    services.workflows.switch("sales", "load", enabled=False, actor=ANN)
    assert [(gap.jobs, gap.disabled) for gap in services.gaps.merged()] == [(["extract"], False), (["load"], True)]


def test_totals_count_gaps_and_their_length(services: Services) -> None:
    with_gap(services)
    load(services, 9, 10)
    total = services.gaps.totals(["sales", "nobody"])
    assert {name: (each.count, each.length) for name, each in total.items()} == {"sales": (2, timedelta(days=5))}


def test_only_the_list_makes_a_ledger_of_the_history(services: Services) -> None:
    with_gap(services)
    client, keys = services.store.backend.client, services.store.backend.keys("sales")
    client.delete(keys.loaded)
    client.hdel(keys.meta, "ledger")
    assert (services.gaps.totals(["sales"]), services.gaps.merged()) == ({}, [])
    assert len(services.gaps.all()[0]) == 2


def test_an_unknown_workflow_is_an_error(services: Services) -> None:
    with pytest.raises(UnknownWorkflowError):
        services.gaps.of("nobody")
