# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy import`` of a document with errors: each is named with its place, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import Cli
from export_documents import JOB, document, written

GOOD = {"workflow": "sales", "jobs": {"load": JOB}, "ledger": {}}


@pytest.mark.parametrize(
    ("data", "places"),
    [
        ("{", ["this is not JSON: line 1, column 2"]),
        ("[]", ["this is not an export"]),
        ({"version": 1, "workflows": []}, ["this is not an export"]),
        (document(version="1"), ["this is not an export"]),
        (document(GOOD, version=2), ["has version 2, and this package reads version 1", "Upgrade batchy_provider"]),
        (document(workflows={}), ["workflows is {}; expected a list"]),
        (document(7), ["workflows[0] is 7; expected a JSON object"]),
        (document({**GOOD, "workflow": "a/b"}), ["workflows[0].workflow: workflow name 'a/b' holds '/'"]),
        (document(GOOD, GOOD), ["workflows[1].workflow: 'sales' is in the document twice"]),
        (document({"workflow": "sales"}), ["(sales): the key 'jobs' is missing", "the key 'ledger' is missing"]),
        (document({**GOOD, "lodger": {}}), ["workflows[0] (sales): the key 'lodger' is unknown"]),
        (document({**GOOD, "jobs": {}}), ["workflows[0] (sales).jobs is empty; expected at least one job"]),
        (document({**GOOD, "jobs": {"load": 1}}), ["(sales).jobs.load is 1; expected a JSON object"]),
        (
            document({**GOOD, "jobs": {"load": {"status": "done", "from_date": "soon", "batch_id": "1"}}}),
            [
                "(sales).jobs.load.batch_id is '1'; expected a whole number",
                "(sales).jobs.load.from_date is 'soon'; expected a date in ISO 8601",
                "(sales).jobs.load.status is 'done'; expected new, open, success",
            ],
        ),
        (
            document({**GOOD, "ledger": {"load": [["2026-01-02", "2026-01-01"]]}}),
            ["workflows[0] (sales).ledger.load is not in order; expected"],
        ),
        (document({**GOOD, "ledger": {"load": 5}}), ["(sales).ledger.load is 5; expected a list of [from, to]"]),
        (document({**GOOD, "disabled": "load"}), ["(sales).disabled is none; expected a list of jobs"]),
        (document({**GOOD, "config": {"timezone": "Mars"}}), ["(sales).config"]),
        (document({**GOOD, "owner": []}), ["(sales).owner is []; expected a JSON object"]),
        (document({**GOOD, "last_success": {"batch_id": 1}}), ["(sales).last_success lacks the key 'to_date'"]),
        (document({**GOOD, "changes": [{"at": 1}]}), ["(sales).changes has at = 1; expected text"]),
        (document({**GOOD, "durations": {"load": [["soon", 1, 2]]}}), ["(sales).durations.load is [['soon', 1, 2]]"]),
        (document({**GOOD, "runs": {"one": "x"}}), ["(sales).runs.one is 'x'; expected the id of a batch"]),
        (document({**GOOD, "batches": [{"batch_id": -1}]}), ["(sales).batches[0].batch_id is -1; expected the id"]),
        (
            document({**GOOD, "batches": [{"batch_id": 1, "jobs": {"load": JOB}, "record": {}, "closed": "x"}]}),
            ["(sales).batches[0].closed is 'x'", "(sales).batches[0].record lacks the key 'kind'"],
        ),
        (document(GOOD, {"workflow": "crm", "jobs": {"load": {"batch_id": []}}, "ledger": {}}), ["workflows[1] (crm)"]),
        ("[" * 100_000, ["this is not JSON"]),
    ],
)
def test_an_error_of_the_document_names_its_place_and_nothing_is_written(
    cli: Cli, tmp_path: Path, data: Any, places: list[str]
) -> None:
    for words in ([], ["--dry-run"], ["--replace"]):
        cli("import", written(tmp_path, data), *words, code=1)
        for place in places:
            assert place in cli.said
    assert list(cli.store.backend.client.scan_iter()) == []


def test_a_file_that_is_not_there_is_said(cli: Cli) -> None:
    cli("import", "nothing.json", code=1)
    assert "nothing.json cannot be read: No such file" in cli.said
