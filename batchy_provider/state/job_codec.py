# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON of jobs: the values of a workflow's live hash, and of the hashes of its batches.

As this package writes jobs, the state fields come last: ``{"region": "eu", "batch_id": 7, "status": "open", …}``. Many
jobs of a batch have the same state fields, so their text is read once, and written once. What comes before them is
read for each job, and written again as it was read where a change does not touch it.
"""

from __future__ import annotations

import json.encoder
from collections.abc import Callable, Collection, Mapping
from typing import Any

from batchy_provider.core.alike import Grouped, for_each, grouped_texts
from batchy_provider.core.job_state import STATE_NAMES, STATES, Fields, JobState
from batchy_provider.state.stored_values import check_job_name, damaged, decode, load_json

_STATE_BEGINS = ', "batch_id": '


def _encoder() -> Callable[[Any], str]:
    """Return a function like `json.dumps` that does not make a new C encoder for each job."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.encoder.JSONEncoder().encode
    parts = make(None, None, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(parts(value, 0))


_encode = _encoder()


def dump(value: Any) -> str:
    """Write JSON as the original server can read it: ASCII, in the given order."""
    return _encode(value)


def load_jobs(key: str, stored: Mapping[str, str], order: tuple[str, ...] = ()) -> Mapping[str, JobState]:
    """Read a live or history hash. Jobs whose text is the same become one value.

    :param key: its name, for the error.
    :param order: names of jobs that come first, if they exist.
    :raises StateError: if a field does not hold a JSON object.
    """
    names = [name for name in order if name in stored]
    if len(names) < len(stored):
        names += sorted(stored.keys() - set(names)) if order else list(stored)
    texts = grouped_texts({name: stored[name] for name in names})
    jobs = _read_jobs(texts.different)
    if jobs is None:
        return for_each(texts, lambda name, text: JobState(_load_job(key, name, text)))
    if not "".join(names).isascii():
        for name in names:
            check_job_name(key, name)
    return Grouped(texts.groups, jobs)


def dump_jobs(jobs: Mapping[str, JobState]) -> Mapping[str, str]:
    """Return job → the JSON that `load_jobs` reads."""
    states: dict[int, str] = {}
    return for_each(jobs, lambda _, job: dump_job(job, states))


def dump_job(job: JobState, states: dict[int, str] | None = None) -> str:
    """Return the JSON of a job.

    :param states: what the state fields of other jobs are as JSON. It grows.
    """
    given, state = job.given, job.state
    if given is None or state is None or not given:
        return _encode(job.fields)
    states = {} if states is None else states
    text = states.get(id(state))
    if text is None:
        text = states[id(state)] = _encode(state)[1:]
    return f"{job.written or _encode(given)[:-1]}, {text}"


def _read_jobs(texts: Collection[str]) -> list[JobState] | None:
    """Return the job of each text; None if one of them is not the JSON of an object."""
    states: dict[str, Fields | None] = {"": None}
    heads: list[str] = []
    found: list[Fields | None] = []
    for text in texts:
        at = text.rfind(_STATE_BEGINS)
        tail = text[at + 2 :] if at > 0 else ""
        if tail not in states:
            states[tail] = _read_state(tail)
        state = states[tail]
        heads.append(text if state is None else text[:at])
        found.append(state)
    try:
        # One call for all jobs takes half the time. Single calls only find the wrong one.
        whole = [head if state is None else head + "}" for head, state in zip(heads, found, strict=True)]
        objects = decode("[" + ",".join(whole) + "]")
    except (ValueError, RecursionError):
        return None
    if len(objects) != len(texts) or not all(type(each) is dict for each in objects):
        return None
    return list(map(_job, objects, found, heads))


def _read_state(text: str) -> Fields | None:
    """Return the state fields of which this is the text, without the opening brace; None if it is not."""
    try:
        state: Fields = decode("{" + text)
    except (ValueError, RecursionError):
        return None
    # The text ends with the job, and all of it is one object. So the fields are those of the job, not of a param.
    return state if tuple(state) in STATES else None


def _job(given: Fields, state: Fields | None, written: str) -> JobState:
    if state is None:
        return JobState(given)
    if not STATE_NAMES.isdisjoint(given):  # a key that stands twice: the last one counts
        return JobState({**given, **state})
    # Bytes that are no UTF-8 are not written again.
    return JobState.of_parts(given, state, written if written.isascii() else None)


def _load_job(key: str, name: str, text: str) -> Fields:
    job = load_json(key, name, text)
    if not isinstance(job, dict):
        raise damaged(key, name, f"holds {type(job).__name__}")
    return job
