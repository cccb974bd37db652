# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Changes are values: one after the other, nothing of either is lost, and the later one counts."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.core.ledger import Withdrawn
from batchy_provider.core.revision import Revision
from batchy_provider.core.snapshot import UNCHANGED, Change, LastSuccess, StoredConfig
from batchy_provider.core.values import BatchRecord

IDS = st.integers(1, 4)
NAMES = st.sampled_from("abc")
JOBS = st.dictionaries(NAMES, st.fixed_dictionaries({"status": st.sampled_from(["open", "failed"])}), max_size=2)
RECORDS = st.builds(
    BatchRecord, kind=st.just("live"), started=NAMES, to_date=NAMES, day=NAMES, reason=NAMES, by=st.none() | NAMES
)
CHANGES = st.builds(
    Change,
    live=st.none() | JOBS,
    batches=st.dictionaries(IDS, JOBS, max_size=2),
    records=st.dictionaries(IDS, RECORDS, max_size=2),
    owner=st.sampled_from([UNCHANGED, None]),
    last_success=st.sampled_from([UNCHANGED, None, LastSuccess(1, "x"), LastSuccess(2, "y")]),
    config=st.sampled_from([UNCHANGED, None, StoredConfig(), StoredConfig("Asia/Tokyo")]),
    disabled=st.sampled_from([UNCHANGED, frozenset(), frozenset("a")]),
    revision=st.sampled_from([None, Revision(number=1), Revision(number=2)]),
    audit=st.sampled_from([None, ()]),
    runs=st.dictionaries(NAMES, IDS, max_size=2),
    closed=st.dictionaries(IDS, st.floats(0, 9), max_size=2),
    entries=st.lists(st.builds(Withdrawn, st.frozensets(NAMES)), max_size=2).map(tuple),
    history=st.lists(IDS, max_size=2).map(tuple),
    event=st.none() | st.fixed_dictionaries({"event": NAMES}),
)


@given(CHANGES)
def test_nothing_before_or_after_a_change_leaves_it_as_it_is(change: Change) -> None:
    assert Change().then(change) == change == change.then(Change())


@given(CHANGES, CHANGES, CHANGES)
def test_it_does_not_matter_which_two_of_three_are_put_together_first(a: Change, b: Change, c: Change) -> None:
    assert a.then(b).then(c) == a.then(b.then(c))


@given(CHANGES, CHANGES)
def test_the_later_change_counts_and_nothing_else_of_the_earlier_one_is_lost(first: Change, later: Change) -> None:
    both = first.then(later)
    for name in (each.name for each in fields(Change)):
        before, after, found = (getattr(each, name) for each in (first, later, both))
        if name in ("batches", "records", "runs", "closed"):
            assert found == {**before, **after}
        elif name in ("history", "entries"):
            assert found == (*before, *after)
        else:
            assert found == (before if _leaves(name, after) else after), name


def _leaves(name: str, value: object) -> bool:
    """Tell whether a value leaves a part as it is; None removes an owner, a last success and a configuration."""
    return value is UNCHANGED or (value is None and name not in ("owner", "last_success", "config"))
