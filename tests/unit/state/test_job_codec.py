# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The JSON of jobs, read and written in two parts: the result is what `json` reads and writes, whatever is stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.core.job_state import JobState, opened_state
from batchy_provider.exceptions import StateError
from batchy_provider.state.job_codec import dump_job, dump_jobs, load_jobs
from batchy_provider.state.protocol import decoded, packed

STATE = {
    "batch_id": 7,
    "status": "success",
    "from_date": "2026-01-01T00:00:00.000000",
    "to_date": "2026-01-02T00:00:00.000000",
    "batch_start": "2026-01-02T00:00:00.000000",
    "batch_end": None,
    "outcome": "success",
}
OPENED = opened_state(8, "2026-01-02T00:00:00.000000", "2026-01-03T00:00:00.000000")
NAMES = st.sampled_from(["a", "é", 'q"', "reprocess_hours", *STATE, ', "batch_id": 1']) | st.text(max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)
TAILS = st.sampled_from([{}, STATE, dict(list(STATE.items())[:6]), dict(list(STATE.items())[1:]), {"status": "new"}])


@given(st.dictionaries(NAMES, VALUES, max_size=4), TAILS, st.booleans(), st.sampled_from([None, 2]), st.booleans())
def test_what_is_read_is_what_json_reads(
    params: dict[str, Any], tail: dict[str, Any], is_ascii: bool, indent: int | None, is_nested: bool
) -> None:
    whole = {**params, **tail}
    if is_nested:  # state fields at the end of the text that are not those of the job
        whole = {"x": {"y": 1, **tail}, "z": whole}
    text = json.dumps(whole, ensure_ascii=is_ascii, indent=indent)
    job = load_jobs("wf", {"job": text})["job"]
    assert json.dumps(job.fields) == json.dumps(whole)
    assert json.dumps(job.copied_fields()) == json.dumps(whole)
    assert json.loads(dump_job(job)) == whole
    if is_ascii and indent is None:
        assert dump_job(job) == text


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=1, max_size=scaled(4)), TAILS)
def test_what_becomes_of_a_job_does_not_depend_on_how_it_was_read(
    params: list[dict[str, Any]], tail: dict[str, Any]
) -> None:
    stored = {f"job{n}": json.dumps({**each, **tail}) for n, each in enumerate(params)}
    known: dict[tuple[int, str], dict[str, Any]] = {}
    for name, job in load_jobs("wf", stored).items():
        plain = JobState(json.loads(stored[name]))
        assert job == plain
        fresh = {"p": 1, "status": "of a new job only"}
        for one, other in (
            (job.opened(OPENED), plain.opened(OPENED)),
            (job.configured(fresh), plain.configured(fresh)),
            (job.configured(fresh).opened(OPENED), plain.configured(fresh).opened(OPENED)),
            (job.closed("failed", "aborted", "now", known), plain.closed("failed", "aborted", "now")),
            (job.left_out(9, "new"), plain.left_out(9, "new")),
            (job.skipped("now"), plain.skipped("now")),
            (job.aborted("now"), plain.aborted("now")),
            (job.without_window(), plain.without_window()),
            (job.starts_at("then"), plain.starts_at("then")),
            (job.has_loaded("then", "now"), plain.has_loaded("then", "now")),
        ):
            assert dump_jobs({name: one})[name] == json.dumps(other.fields)
            assert one.params == other.params
            for attribute in ("batch_id", "batch_name", "status", "outcome", "from_date", "loaded_to", "batch_end"):
                assert getattr(one, attribute) == getattr(other, attribute)


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["{}", '{"p": 1}'])),
    st.permutations("abcd"),
    st.integers(0, 4),
)
@example({"b": "{}", "a": "{}"}, list("abcd"), 0)
@example({"c": "{}", "b": "{}", "a": "{}"}, list("bacd"), 1)
def test_jobs_come_in_the_order_of_the_configuration_and_then_by_name(
    stored: dict[str, str], names: list[str], known_names: int
) -> None:
    order = tuple(names[:known_names])
    found = load_jobs("wf", stored, order)
    known = [name for name in order if name in stored]
    rest = [name for name in stored if name not in order]
    assert list(found) == known + (sorted(rest) if order else rest)
    assert {name: dump_job(job) for name, job in found.items()} == stored


def test_jobs_with_the_same_state_share_it_and_their_answers_do_not() -> None:
    stored = {name: json.dumps({"p": name, **STATE}) for name in "abc"}
    jobs = load_jobs("wf", stored)
    assert len({id(job.state) for job in jobs.values()}) == 1
    assert len({id(job) for job in jobs.values()}) == 3
    jobs["a"].copied_fields()["status"] = "changed by the caller"
    assert jobs["a"].fields == json.loads(stored["a"])
    assert dump_jobs(jobs) == stored


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "batch_id": 7, "a": 2, "batch_id": 8}',
        '{"status": "open", "a": 1, ' + json.dumps(STATE)[1:],
        '{"outcome": "failed", "a": 1, ' + json.dumps(dict(list(STATE.items())[:6]))[1:],
        '{"a": 1, ' + json.dumps(STATE)[1:-1] + ', "batch_id": 9, ' + json.dumps(STATE)[1:].partition(", ")[2],
    ],
)
def test_of_a_key_that_stands_twice_the_last_one_counts(text: str) -> None:
    job = load_jobs("wf", {"job": text})["job"]
    assert job.fields == json.loads(text)
    assert list(job.fields) == list(json.loads(text))
    assert job.status == json.loads(text).get("status", "new")
    assert json.loads(dump_job(job)) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1 ' + json.dumps(STATE)[1:],
        '{"a": {"b": 1, ' + json.dumps(STATE)[1:],
        '["a", ' + json.dumps(STATE)[1:],
        'null, "batch_id": 7, ' + json.dumps(STATE)[1:].partition(", ")[2],
        '{"a": 1, ' + json.dumps(STATE)[1:] + "}",
        '{"a": 1, ' + json.dumps(STATE)[1:-1],
        '{"a": 1, "batch_id": }',
    ],
)
def test_a_text_that_is_no_json_object_is_refused_although_its_end_can_be_read(text: str) -> None:
    good = json.dumps({"a": 1, **STATE})
    with pytest.raises(StateError, match="'bad' of Redis hash 'wf'"):
        load_jobs("wf", {"good": good, "bad": text})


def test_bytes_that_are_not_utf_8_are_written_as_json_writes_them() -> None:
    text = '{"a": "\udcff", ' + json.dumps(STATE)[1:]
    job = load_jobs("wf", {"job": text})["job"]
    assert dump_job(job) == json.dumps(json.loads(text))


def test_words_of_commands_keep_their_bytes_whatever_they_are() -> None:
    commands = [("SET", "k", "\udcff"), ("SET", "é", 5), ("SET", "k", 1.5), ("SET", "k", None), ("SET", "a\0b", "")]
    for command in commands:
        words = [str(word).encode("utf-8", "surrogateescape") for word in command]
        assert packed([command]) == b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    assert packed(commands) == b"".join(packed([command]) for command in commands)


@pytest.mark.parametrize(
    "reply",
    [
        b"a",
        7,
        None,
        [],
        {},
        [b"a", b"\xff\xc3", b"b"],
        [b"\xc3", b"\xa9"],
        [b"a\0b", b"c"],
        [b"", b""],
        [b"", None],
        [[b"1", b"2"], 3, [None]],
        {b"a": b"1", b"\xff": b"a\0b"},
        {b"a": [b"1", 2.0]},
    ],
    ids=str,
)
def test_replies_become_text_item_by_item(reply: Any) -> None:
    def text(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode("utf-8", "surrogateescape")
        if isinstance(value, list):
            return [text(item) for item in value]
        return {text(key): text(item) for key, item in value.items()} if isinstance(value, dict) else value

    assert decoded(reply) == text(reply)
