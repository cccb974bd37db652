# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Secrets in what scripts write: masked whatever the pieces they come in, and nothing else is changed."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.bundles.masking import MaskedStream, Masker, hide, secrets_in

# Few letters, so that secrets are met often, overlap and begin alike.
secrets = st.lists(st.text("ab\n", min_size=1, max_size=8), min_size=1, max_size=4)

SECRET = "hunter2-and-more"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----"


data = st.text("abc\n*", max_size=200).map(str.encode)


def in_pieces(masker: Masker, whole: bytes, cuts: list[int]) -> list[bytes]:
    stream = MaskedStream(masker)
    places = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    out = [stream.feed(whole[begin:end]) for begin, end in itertools.pairwise(places)]
    return [*out, stream.finish()]


def pattern(known: list[str]) -> re.Pattern[bytes]:
    """What is to be masked, said in another way."""
    longest_first = sorted(map(str.encode, known), key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, longest_first)))


@given(secrets, data, st.lists(st.integers(0, 10_000), max_size=30))
def test_any_pieces_are_masked_as_the_whole_is(known: list[str], whole: bytes, cuts: list[int]) -> None:
    expected = pattern(known).sub(b"***", whole)
    assert b"".join(in_pieces(Masker(known), whole, cuts)) == Masker(known).bytes(whole) == expected


@given(secrets, data, st.lists(st.integers(0, 10_000), max_size=30))
def test_what_is_no_secret_is_kept_byte_for_byte(known: list[str], whole: bytes, cuts: list[int]) -> None:
    spared = pattern(known).split(whole)
    assert b"".join(in_pieces(Masker(known), whole, cuts)) == b"***".join(spared)
    assert not any(secret.encode() in part for part in spared for secret in known)


@given(secrets, data)
def test_byte_for_byte_it_is_the_same(known: list[str], whole: bytes) -> None:
    masker = Masker(known)
    assert b"".join(in_pieces(masker, whole, list(range(len(whole))))) == masker.bytes(whole)


@given(st.lists(st.text(min_size=1, max_size=12), max_size=5), st.binary(max_size=100))
def test_no_more_is_held_back_than_a_secret_may_need(known: list[str], whole: bytes) -> None:
    masker = Masker(known)
    stream = MaskedStream(masker)
    for byte in whole:
        stream.feed(bytes([byte]))
        assert len(stream.held) < max(1, masker.longest)
        assert not stream.held or any(secret.startswith(stream.held) for secret in masker._known)


def test_of_two_secrets_that_begin_alike_the_longer_one_is_masked() -> None:
    masker = Masker(["hunter2", "hunter2-prod"])
    assert in_pieces(masker, b"hunter2-prod hunter2-test", [7, 9]) == [b"", b"", b"*** ***-test", b""]


def test_each_long_line_of_a_secret_is_one_too() -> None:
    assert Masker([KEY]).text("debug: MIIEvQIBADANBgkqhkiG9w0BAQ!") == "debug: ***!"


KEY_FILE = {
    "type": "service_account",
    "project_id": "nightly",
    "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEA/AoIBAQ==\n-----END",
    "client_secret": "s3cr3t",
    "pin_token": 1234567890123,
    "nested": {"api_keys": ["first-key-of-many-characters", "zweiter-Schlüssel-mit-Umlaut"]},
    "extra": json.dumps({"password": "in-a-text"}),
}


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("how", [".", "-c .", "-a .", "-S --tab .", "-r .private_key", "'.. | strings'", "tojson"])
def test_a_json_secret_is_masked_however_jq_writes_it(how: str) -> None:
    secret = json.dumps(KEY_FILE)
    printed = subprocess.run(f"jq {how}", shell=True, input=secret.encode(), capture_output=True, check=True).stdout
    _has_nothing_of_the_key_file(Masker([secret]).bytes(printed).decode())


@pytest.mark.parametrize(
    "options",
    [{}, {"indent": 4}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"sort_keys": True, "indent": 1}],
)
def test_a_json_secret_is_masked_in_any_layout(options: dict[str, Any]) -> None:
    masker = Masker([json.dumps(KEY_FILE)])
    for text in (json.dumps(KEY_FILE, **options), json.dumps(KEY_FILE, **options).replace("/", "\\/"), str(KEY_FILE)):
        _has_nothing_of_the_key_file(masker.text(text))


def _has_nothing_of_the_key_file(shown: str) -> None:
    parts = ("MIIEvQ", "EFAASC", "s3cr3t", "1234567890123", "first-key", "zweiter", "in-a-text")
    assert not [part for part in parts if part in shown]


def test_ordinary_words_of_a_json_secret_are_no_secrets() -> None:
    assert Masker([json.dumps(KEY_FILE)]).text("nightly service_account type") == "nightly service_account type"


def test_a_text_with_quotes_is_masked_inside_json_too() -> None:
    secret = 'pa"ss\\wörd/1'
    for text in (json.dumps([secret]), json.dumps([secret], ensure_ascii=False), secret):
        assert Masker([secret]).text(text).strip('[]"') == "***"


def test_a_secret_that_is_no_document_or_a_very_deep_one_is_one_secret() -> None:
    for secret in ("[" * 20_000 + "]" * 20_000, "{broken: json}", '["' + "x" * 15):
        assert Masker([secret]).text(f"<{secret}>") == "<***>"


def test_of_two_names_that_are_secret_none_is_lost() -> None:
    masked = Masker(["first-secret", "second-secret"]).value({"first-secret": 1, "second-secret": 2})
    assert sorted(masked.values()) == [1, 2]


def test_values_are_masked_at_any_depth_numbers_and_names_too() -> None:
    value = {"url": f"pg://u:{SECRET}@h", "list": [SECRET, 7, 1234567, True, None], SECRET: 1}
    assert Masker([SECRET, "1234567"]).value(value) == {
        "url": "pg://u:***@h",
        "list": ["***", 7, "***", True, None],
        "***": 1,
    }


def test_without_secrets_nothing_is_looked_at() -> None:
    masker, whole = Masker(), b"x" * 10
    assert not masker
    assert MaskedStream(masker).feed(whole) is whole
    assert masker.text("hunter2") == "hunter2"


def test_what_is_secret_by_its_name() -> None:
    values = {
        "region": "frankfurt",
        "API_TOKEN": "t0ken-value",
        "db": {"host": "db.internal", "password": 12345678, "tls": True},
        "targets": [{"passphrase": "open sesame"}],
        "secrets": {"a": "first-one", "b": ["second-one", False]},
        "short": {"password": "1234"},
        "uri": "postgres://loader:p%40ssword@db/dwh",
    }
    assert secrets_in(values) == {
        "t0ken-value", "12345678", "open sesame", "first-one", "second-one", "p%40ssword", "p@ssword",
    }  # fmt: skip


def test_what_is_secret_by_its_name_is_hidden_from_those_who_only_look() -> None:
    shown = {"region": "eu", "db": [{"password": "x", "on": 1}], "tokens": {"a": 1}, "token": None, "secret": False}
    assert hide(shown) == {
        "region": "eu",
        "db": [{"password": "***", "on": 1}],
        "tokens": "***",
        "token": None,
        "secret": False,
    }


def test_memory_does_not_grow_with_what_is_masked(tmp_path: Path) -> None:
    masker = Masker([SECRET, KEY])
    stream = MaskedStream(masker)
    piece = (f"{SECRET} x\n" * 1000).encode()
    most = 0
    for _ in range(200):
        stream.feed(piece[3:] + piece[:3])
        most = max(most, len(stream.held))
    assert most < masker.longest
    assert stream.count > 199_000
