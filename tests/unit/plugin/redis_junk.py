# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Damage for values in Redis: keys of other programs and types, broken fields, broken values inside valid JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st
from redis import Redis

WORKFLOW = "bad"
SUFFIXES = (
    "",
    ":meta",
    ":runs",
    ":closed",
    ":days",
    ":loaded",
    ":durations",
    ":history",
    ":progress",
    ":outputs",
    ":told",
)

RAW = (
    b"",
    b"17",
    b"[[",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"status": "shipped"}',
    b'{"status": []}',
    b'"\\ud800"',
    b'{"\\ud800": "\\ud800"}',
    b"[" * 20_000,
    b'{"a":' * 3_000,
    b"1" * 6_000,
    b"NaN",
    b"x" * 200_000,
)
"""Whole fields."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**64,
    10**400,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "when?",
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+14:00",
    "\ud800",
    "a\0b",
    "\x1b[31m",
    [],
    {},
    [[["x"]]],
    {"x": {"y": None}},
    ["bad"],
)
"""Values inside valid JSON."""

Damage = Callable[[Redis], None]


def _another_type(suffix: str, kind: str) -> Damage:
    key = f"{WORKFLOW}{suffix}"

    def apply(redis: Redis) -> None:
        redis.delete(key)
        match kind:
            case "string":
                redis.set(key, "another program's")
            case "list":
                redis.rpush(key, "another program's")
            case "set":
                redis.sadd(key, "another program's")
            case "sorted set":
                redis.zadd(key, {"another program's": 17})
            case "hash":
                redis.hset(key, "another", "program's")
            case "stream":
                redis.xadd(key, {"another": "program's"})

    return apply


def _hashes(redis: Redis) -> list[bytes]:
    return [key for key in sorted(redis.scan_iter(f"{WORKFLOW}*")) if redis.type(key) == b"hash"]


def _raw_field(key: int, field: int, text: bytes) -> Damage:
    def apply(redis: Redis) -> None:
        hashes = _hashes(redis)
        name = hashes[key % len(hashes)]
        fields = sorted(redis.hkeys(name))
        redis.hset(name, fields[field % len(fields)], text)

    return apply


def _new_field(key: int, name: bytes, text: bytes) -> Damage:
    def apply(redis: Redis) -> None:
        hashes = _hashes(redis)
        redis.hset(hashes[key % len(hashes)], name, text)

    return apply


def _inside(key: int, field: int, place: int, value: Any) -> Damage:
    def apply(redis: Redis) -> None:
        hashes = _hashes(redis)
        name = hashes[key % len(hashes)]
        fields = sorted(redis.hkeys(name))
        chosen = fields[field % len(fields)]
        try:
            data = json.loads(redis.hget(name, chosen) or b"")
        except (ValueError, RecursionError):
            return
        places = list(_places(data))
        if places:
            holder, where = places[place % len(places)]
            holder[where] = value
            redis.hset(name, chosen, json.dumps(data))

    return apply


def _places(data: Any) -> Any:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for where, value in list(items):
        yield data, where
        yield from _places(value)


def _entry(suffix: str, member: str, score: float) -> Damage:
    def apply(redis: Redis) -> None:
        if redis.type(f"{WORKFLOW}{suffix}") in (b"zset", b"none"):
            redis.zadd(f"{WORKFLOW}{suffix}", {member: score})

    return apply


def _of_others(name: bytes, field: bytes, text: bytes) -> Damage:
    def apply(redis: Redis) -> None:
        redis.hset(name, field, text)

    return apply


_number = st.integers(0, 50)
_fields = st.sampled_from(
    [b"", b"17", b"\xff", "größe".encode(), b"a\nb", b"\x1b[2J", b"x" * 1000, b"batch:x", b"batch:17"]
)

DAMAGES: st.SearchStrategy[Damage] = st.one_of(
    st.builds(
        _another_type,
        st.sampled_from(SUFFIXES),
        st.sampled_from(["string", "list", "set", "sorted set", "hash", "stream"]),
    ),
    st.builds(_raw_field, _number, _number, st.sampled_from(RAW)),
    st.builds(_new_field, _number, _fields, st.sampled_from(RAW)),
    st.builds(_inside, _number, _number, _number, st.sampled_from(VALUES)),
    st.builds(_inside, _number, _number, _number, st.sampled_from(VALUES)),
    st.builds(
        _entry,
        st.sampled_from([":closed", ":history"]),
        st.sampled_from(["", "abc", "-1", "1.5", "9" * 40, "17"]),
        st.sampled_from([float("inf"), float("-inf"), 0, 1e300, -1e300, 1e12]),
    ),
    st.builds(
        _of_others,
        st.sampled_from(
            [b"orders", b".hidden", b"..", b"a b", b"\xff", b"good-17", b"other:meta", b"x" * 201, b"users"]
        ),
        _fields,
        st.sampled_from(RAW),
    ),
)

EVENTS = (
    b'{"workflow":"\\ud800"}',
    b'{"workflow":"good","at":"\\ud800"}',
    b"not JSON",
    b"",
    b"\xff\xfe",
    b"null",
    b"17",
    b'"good"',
    b"[]",
    b"{}",
    b'{"workflow":null}',
    b'{"workflow":17}',
    b'{"workflow":["good"]}',
    b'{"workflow":""}',
    b'{"workflow":".."}',
    b'{"workflow":"a b"}',
    b'{"workflow":"good","batch_id":"17"}',
    b'{"workflow":"good","batch_id":1e999}',
    b'{"workflow":"good","event":{}}',
    b'{"workflow":"good","more":' + b"[" * 3_000 + b"]" * 3_000 + b"}",
    b"[" * 60_000,
    b'{"workflow":"good","more":"' + b"x" * 1_000_000 + b'"}',
    b'{"workflow":"' + b"x" * 300 + b'"}',
)
"""Messages that are not events of a workflow, or that have unknown fields."""


def everywhere(redis: Redis, value: Any) -> Iterator[Damage]:
    """Yield damage that puts a value into each place of the first field of each hash."""
    for key, name in enumerate(_hashes(redis)):
        try:
            data = json.loads(redis.hget(name, sorted(redis.hkeys(name))[0]) or b"")
        except (ValueError, RecursionError):
            continue
        for place in range(len(list(_places(data)))):
            yield _inside(key, 0, place, value)
