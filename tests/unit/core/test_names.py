# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Names of workflows and jobs, and the keys made of them."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchy_provider.core.names import check_job_name, check_workflow_name, is_workflow_name
from batchy_provider.exceptions import InvalidNameError
from batchy_provider.state.keys import Keys

ALLOWED = string.ascii_letters + string.digits + "_.-"


@pytest.mark.parametrize(
    "name", ["a", "sales", "Sales_EU.v2", "x-y", "-", ".a", "0", "a-1b", "a-init", "1467149783", "x" * 200]
)
def test_letters_digits_and_three_signs_make_a_name(name: str) -> None:
    assert check_workflow_name(name) == check_job_name(name) == name
    assert is_workflow_name(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "the workflow name is empty"),
        ("a b", "holds ' '"),
        ("a:b", "holds ':'"),
        ("{a}", "holds '{'"),
        ("a/b", "holds '/'"),
        ("café", "holds 'é'"),
        ("a٣", "holds '٣'"),
        ("..", "not dots alone"),
        ("a\n", r"holds '\n'"),
        ("a\x00", r"holds '\x00'"),
        ("x" * 201, "has 201 characters"),
        (None, "None is not text"),
        (17, "17 is not text"),
        (b"a", "b'a' is not text"),
    ],
)
def test_all_else_is_refused_and_the_fault_is_shown(name: Any, said: str) -> None:
    with pytest.raises(InvalidNameError, match=re.escape(said)) as raised:
        check_workflow_name(name)
    assert "letters, digits" in str(raised.value)
    with pytest.raises(InvalidNameError):
        check_job_name(name)


@pytest.mark.parametrize("name", ["a-1", "sales-1467149783", "sales-1467149783-init", "-1", "a-0-init", "a-1-2"])
def test_a_workflow_is_not_named_like_an_old_batch_but_a_job_may_be(name: str) -> None:
    with pytest.raises(InvalidNameError, match="how the key of an old batch ends"):
        check_workflow_name(name)
    assert check_job_name(name) == name
    assert not is_workflow_name(name)


@given(st.text(ALLOWED, min_size=1, max_size=20).filter(lambda name: name.strip(".")))
def test_the_name_that_is_proposed_instead_can_be_used(name: str) -> None:
    try:
        check_workflow_name(name)
    except InvalidNameError as error:
        (proposed,) = re.findall(r"for example '(.*)'$", str(error))
        assert check_workflow_name(proposed) == proposed


@pytest.mark.parametrize("cluster", [False, True])
@given(
    names=st.lists(st.text(ALLOWED, min_size=1, max_size=6), min_size=2, max_size=2, unique=True),
    ids=st.tuples(*[st.integers(0)] * 2),
)
def test_no_two_workflows_share_a_key(cluster: bool, names: list[str], ids: tuple[int, int]) -> None:
    assume(all(is_workflow_name(name) for name in names))

    def keys(name: str, batch_id: int) -> set[str]:
        k = Keys(name, cluster)
        return {k.live, k.batch(batch_id), k.meta, k.runs, k.closed, k.days, k.history, k.progress}

    first, second = (keys(name, batch_id) for name, batch_id in zip(names, ids, strict=True))
    assert len(first) == 8
    assert not first & second


def test_keys_are_those_of_the_original_and_our_own() -> None:
    keys = Keys("wf")
    assert (keys.live, keys.batch(1467149783), keys.meta) == ("wf", "wf-1467149783", "wf:meta")
    tagged = Keys("wf", cluster=True)
    assert (tagged.live, tagged.batch(1), tagged.days) == ("{wf}", "{wf}-1", "{wf}:days")
