# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Mappings in groups behave as plain mappings do, and what is made of them is made once for each group."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.alike import (
    Grouped,
    different,
    different_items,
    for_each,
    for_each_pair,
    grouped,
    grouped_texts,
    regrouped,
    without_nulls,
)

names = st.text("abcdefg", min_size=1, max_size=2)
# Values that are equal are not always one object, and values that are one object are always equal.
objects = st.sampled_from([("one",), ("two",), ("three",)]) | st.builds(lambda text: (text,), st.just("one"))
mappings = st.dictionaries(names, objects, max_size=8)


@given(mappings)
def test_a_grouped_mapping_is_the_mapping(plain: dict[str, Any]) -> None:
    found = grouped(plain)
    assert found == plain
    assert plain == found
    assert list(found) == list(found.keys()) == list(plain)
    assert list(found.values()) == list(plain.values())
    assert list(found.items()) == list(plain.items())
    assert dict(found) == {**found} == plain
    assert len(found) == len(plain)
    assert bool(found) == bool(plain)
    for name in [*plain, "not there"]:
        assert (name in found) == (name in plain)
        assert found.get(name) == plain.get(name)
        assert found.get(name, 7) == plain.get(name, 7)
    assert repr(found) == repr(plain)
    assert pickle.loads(pickle.dumps(found)) == plain
    with pytest.raises(KeyError):
        found["not there"]


@given(mappings)
def test_each_object_is_one_value_with_its_first_name(plain: dict[str, Any]) -> None:
    firsts: dict[int, str] = {}
    for name, value in plain.items():
        firsts.setdefault(id(value), name)
    assert list(map(id, different(plain))) == list(firsts)
    assert [name for name, _ in different_items(grouped(plain))] == list(firsts.values())


@given(mappings)
def test_a_result_is_made_once_for_each_value(plain: dict[str, Any]) -> None:
    asked: list[str] = []

    def make(name: str, value: Any) -> list[Any]:
        asked.append(name)
        return [value]

    found = for_each(plain, make)
    assert found == {name: [value] for name, value in plain.items()}
    assert asked == [name for name, _ in different_items(plain)]
    assert for_each(found, lambda _, made: made[0]) == plain
    assert len(set(map(id, found.values()))) == len(asked)


@given(mappings, st.data())
def test_a_pair_is_made_once_for_each_two_values(plain: dict[str, Any], data: st.DataObject) -> None:
    others = {name: data.draw(objects) for name in [*reversed(list(plain)), *data.draw(st.lists(names))]}
    made: list[tuple[int, int]] = []

    def make(value: Any, other: Any) -> Any:
        made.append((id(value), id(other)))
        return value, other

    found = for_each_pair(plain, others, make)
    assert list(found.items()) == [(name, (value, others[name])) for name, value in plain.items()]
    assert len(made) == len(set(made))
    both = for_each_pair(found, found, lambda one, other: one == other)
    assert both == dict.fromkeys(plain, True)


@given(st.dictionaries(names, st.sampled_from(["x", "y"]) | st.text("xy", max_size=2)))
def test_equal_texts_are_in_one_group(texts: dict[str, str]) -> None:
    found = grouped_texts(texts)
    assert list(found.items()) == list(texts.items())
    assert list(found.different) == list(dict.fromkeys(texts.values()))


@given(mappings)
def test_groups_of_equal_values_become_one(plain: dict[str, Any]) -> None:
    found = regrouped(grouped(plain), lambda value: value)
    assert list(found.items()) == list(plain.items())
    assert list(found.different) == list(dict.fromkeys(plain.values()))


@given(st.dictionaries(names, st.none() | st.sampled_from([("one",), ("two",)])), st.sets(names))
def test_nulls_and_some_names_are_left_out(plain: dict[str, Any], left_out: set[str]) -> None:
    wanted = {name: value for name, value in plain.items() if value is not None}
    assert without_nulls(plain) == wanted
    found: Mapping[str, Any] = without_nulls(grouped(plain), left_out)
    assert list(found.items()) == [(name, value) for name, value in wanted.items() if name not in left_out]


def test_what_is_in_groups_stays_as_it_is() -> None:
    one = grouped({"a": 1, "b": 1})
    assert grouped(one) is one
    assert isinstance(for_each(one, lambda _, value: value), Grouped)
