# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy adopt``, on a Redis that the original server has written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from batchy_provider.cli.main import main

DAY = 86400
FIRST = 1767225600


def start(night: int) -> str:
    return f"2026-01-0{night + 1}T00:00:00.250000"


@pytest.fixture
def original(redis_client: Redis) -> None:
    """Four nights of two workflows, as it leaves them: loaded, failed and so skipped, left open, loaded."""
    windows = [("1776-07-04T23:59:00", 0, "success"), (start(0), 1, "failure"), (start(2), 2, "open")]
    windows.append((start(3), 3, "success"))
    for workflow in ("sales", "crm"):
        for begin, night, status in windows:
            batch_id = FIRST + night * DAY
            ended = None if status == "open" else f"2026-01-0{night + 1}T01:00:00.5"
            job = {"from_date": begin, "batch_start": start(night), "batch_end": ended}
            text = json.dumps(job | {"status": status, "batch_id": batch_id})
            redis_client.hset(f"{workflow}-{batch_id}", "load", text)
            redis_client.hset(workflow, "load", text)
    redis_client.hset("sessions-17", "anna", "on")


def run(url: str, *words: str) -> int:
    return main(["--redis-url", url, *words])


@pytest.mark.usefixtures("original")
def test_it_lists_what_the_original_did_and_tells_what_nobody_loaded(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(redis_url, "-o", "plain", "adopt", "--all", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert run(redis_url, "-o", "plain", "adopt", "--all") == 0
    assert capsys.readouterr().out == printed
    lines = printed.splitlines()
    assert [line.split("\t") for line in lines[:2]] == [["crm", "4", "1", "1"], ["sales", "4", "1", "1"]]
    assert lines[2] == f"crm, load: no batch has loaded {start(0)} to {start(3)} UTC"
    assert run(redis_url, "-o", "plain", "history", "sales") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in rows] == ["success", "failed", "failed", "success"]
    assert run(redis_url, "history", "sales", "--changes") == 0
    assert "adopted the original's batches: 4" in capsys.readouterr().out


@pytest.mark.usefixtures("original")
def test_one_workflow_as_data(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(redis_url, "-o", "json", "adopt", "sales") == 0
    done: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    ids = [FIRST + night * DAY for night in range(4)]
    assert done == [
        {
            "workflow": "sales",
            "adopted": ids,
            "ended": [ids[2]],
            "loads": [],
            "gaps": [{"job": "load", "from_date": start(0), "to_date": start(3)}],
            "passed_over": {},
        }
    ]
    assert run(redis_url, "-o", "json", "history", "crm") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_mistyped_name_is_an_error_and_no_name_is_wrong_usage(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(redis_url, "adopt", "slaes") == 1
    assert "slaes" in capsys.readouterr().err
    assert run(redis_url, "adopt") == 2
    assert run(redis_url, "adopt", "sales", "--all") == 2
