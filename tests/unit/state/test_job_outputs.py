# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the jobs of an open batch have left for later ones."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis

from batchy_provider.exceptions import BatchyError
from batchy_provider.state.job_outputs import KEEP_SECONDS, MAX_BYTES, JobOutputs
from batchy_provider.state.store import Store

BATCH = 1_795_384_088
KEY = "sales:outputs"
LOAD, FIRST, SECOND = ("load", -1), ("part", 0), ("part", 1)
ENTRY: dict[str, Any] = {"state": "success", "xcoms": {"n": [1, 2.5, None, {"ü": "\x01 €"}], "big": 2**63 - 1}}


@pytest.fixture
def outputs(redis_client: Redis) -> JobOutputs:
    return Store(redis_client).job_outputs("sales", BATCH)


def test_what_a_task_leaves_is_read_unchanged(outputs: JobOutputs, redis_client: Redis) -> None:
    for instance in (LOAD, FIRST, SECOND):
        assert outputs.save(instance, {**ENTRY, "of": instance[1]})
    assert outputs.load([LOAD, SECOND, ("other", -1)]) == {LOAD: {**ENTRY, "of": -1}, SECOND: {**ENTRY, "of": 1}}
    assert outputs.load([]) == {}
    names = {f"{BATCH}/load", f"{BATCH}/part@0", f"{BATCH}/part@1"}
    assert {name.decode() for name in redis_client.hkeys(KEY)} == names


def test_batches_and_instances_are_kept_apart(outputs: JobOutputs, redis_client: Redis) -> None:
    outputs.save(LOAD, ENTRY)
    assert Store(redis_client).job_outputs("sales", BATCH + 1).load([LOAD]) == {}
    assert Store(redis_client).job_outputs("crm", BATCH).load([LOAD]) == {}
    outputs.forget([FIRST, LOAD])
    assert outputs.load([LOAD]) == {}


def test_a_large_entry_is_not_stored_and_hides_no_older_one(outputs: JobOutputs) -> None:
    outputs.save(LOAD, ENTRY)
    assert not outputs.save(LOAD, {"text": "ü" * MAX_BYTES})
    assert outputs.load([LOAD]) == {}


def test_closing_removes_the_batch_and_what_is_a_week_old(outputs: JobOutputs, redis_client: Redis) -> None:
    store = Store(redis_client)
    outputs.save(LOAD, ENTRY)
    outputs.save(FIRST, ENTRY)
    outputs.forget_batch([LOAD, FIRST])
    assert not redis_client.exists(KEY)
    outputs.save(("of_a_task_that_is_gone", -1), ENTRY)
    for batch_id in (BATCH - KEEP_SECONDS - 1, BATCH - KEEP_SECONDS, BATCH + 1):
        store.job_outputs("sales", batch_id).save(LOAD, ENTRY)
    redis_client.hset(KEY, "not ours", "x")
    outputs.forget_batch([LOAD])
    assert {name.decode() for name in redis_client.hkeys(KEY)} == {f"{BATCH - KEEP_SECONDS}/load", f"{BATCH + 1}/load"}


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"17", b"[" * 20_000, b'{"a":' * 3_000])
def test_an_entry_that_cannot_be_read_counts_as_missing(outputs: JobOutputs, redis_client: Redis, text: bytes) -> None:
    redis_client.hset(KEY, f"{BATCH}/load", text)
    assert outputs.load([LOAD]) == {}


def test_another_programs_key_is_an_error(outputs: JobOutputs, redis_client: Redis) -> None:
    redis_client.set(KEY, "x")
    for act in (outputs.forget, outputs.load, outputs.forget_batch):
        with pytest.raises(BatchyError):
            act([LOAD])
    with pytest.raises(BatchyError):
        outputs.save(LOAD, ENTRY)
