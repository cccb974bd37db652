# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Text → plain data, the same that PyYAML makes, and the places of every key and value."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import category

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.config.document import DocumentError, parse

_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co"], exclude_characters="\u2028\u2029\ufeff")
)
# PyYAML writes a name without quotes also if it begins with a space of another kind, which is refused.
_names = _texts.filter(lambda text: text != "" and category(text[0]) not in ("Zs", "Cf"))
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.slow
@given(_values, st.booleans())
@settings(max_examples=scaled(100))
def test_reads_what_pyyaml_wrote(value: Any, flow: bool):
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    assert parse(text).data == value


@given(_values)
def test_reads_json(value: Any):
    assert parse(json.dumps(value), is_json=True).data == value


@pytest.mark.slow
@given(st.dictionaries(_names, _values, min_size=1, max_size=5), st.booleans())
@settings(max_examples=scaled(100))
def test_every_value_is_at_its_place(value: dict[str, Any], flow: bool):
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True, sort_keys=False, width=60)
    document = parse(text)

    def walk(node: yaml.Node, path: tuple[str | int, ...]) -> None:
        assert document.position(path) == (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            for key, inner in node.value:
                mark = key.start_mark
                assert document.position((*path, key.value), at_key=True) == (mark.line + 1, mark.column + 1)
                walk(inner, (*path, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, inner in enumerate(node.value):
                walk(inner, (*path, index))

    walk(yaml.compose(text, yaml.CSafeLoader), ())


def test_a_name_that_begins_with_a_space_of_another_kind_is_written_in_quotes():
    with pytest.raises(DocumentError, match=r"another kind stands here \(U\+00A0\).* in quotes"):
        parse("jobs:\n \u00a0load:\n")
    assert parse('"\u00a0load": 1').data == {"\u00a0load": 1}


def test_a_key_that_is_not_there_is_at_its_parent():
    document = parse("jobs:\n  load:\n    bash: echo\n")
    assert document.position(("jobs", "load", "retries")) == (2, 3)
    assert document.position(("owner",)) == (1, 1)


def test_keys_are_text_as_written():
    assert parse("on: 1\n2026: 2\n~: 3\n1.10: 4").data == {"on": 1, "2026": 2, "~": 3, "1.10": 4}


def test_dates_stay_text():
    assert parse("a: 2026-01-31\nb: 2026-01-31 18:30:00").data == {"a": "2026-01-31", "b": "2026-01-31 18:30:00"}


def test_big_numbers_are_kept():
    assert parse("a: 123456789012345678901234567890").data == {"a": 123456789012345678901234567890}


def test_anchors_and_merge_keys():
    text = "x-base: &base {retries: 2, pool: p}\njob: {<<: *base, pool: q}\nboth: {<<: [*base, {queue: r}]}\n"
    assert parse(text).data == {
        "x-base": {"retries": 2, "pool": "p"},
        "job": {"retries": 2, "pool": "q"},
        "both": {"retries": 2, "pool": "p", "queue": "r"},
    }


def test_merging_what_is_no_mapping():
    with pytest.raises(DocumentError, match="'<<' takes an alias of a mapping"):
        parse("a: {<<: [1]}")


def test_positions_of_json_with_escaped_pairs_of_surrogates():
    document = parse('{"a": "\\ud83d\\ude00"}', is_json=True)
    assert document.data == {"a": "😀"}
    assert document.position(("a",)) == (1, 7)
