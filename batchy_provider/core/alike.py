# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Mappings of which many values are the same, such as the jobs of a workflow that differ in nothing.

The names of such a mapping are in groups, and all names of a group share one value. What is made of each value keeps
the groups. So a rule costs as much as there are different values, however many names there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, Generic, TypeVar, final

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class _Groups:
    """Names in groups.

    :param of: name → the number of its group, in the order of names.
    :param first: the first name of each group.
    """

    __slots__ = ("first", "of")

    def __init__(self, of: dict[str, int], first: list[str]) -> None:
        self.of = of
        self.first = first


@final
class Grouped(Mapping[str, T]):
    """A mapping that holds one value for each group of names. Nothing changes it.

    :ivar different: the value of each group.
    """

    __slots__ = ("different", "groups")

    def __init__(self, groups: _Groups, different: Sequence[T]) -> None:
        self.groups = groups
        self.different = different

    def __getitem__(self, name: str) -> T:
        return self.different[self.groups.of[name]]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name."""
        at = self.groups.of.get(name)
        return default if at is None else self.different[at]

    def __contains__(self, name: object) -> bool:
        return name in self.groups.of

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups.of)

    def __len__(self) -> int:
        return len(self.groups.of)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self.groups.of.keys()

    def values(self) -> ValuesView[T]:
        """Return the value of each name."""
        return _Values(self)

    def items(self) -> ItemsView[str, T]:
        """Return each name with its value."""
        return _Items(self)

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class _Values(ValuesView[T], Generic[T]):
    _mapping: Grouped[T]

    def __iter__(self) -> Iterator[T]:
        return map(self._mapping.different.__getitem__, self._mapping.groups.of.values())


class _Items(ItemsView[str, T], Generic[T]):
    _mapping: Grouped[T]

    def __iter__(self) -> Iterator[tuple[str, T]]:
        of = self._mapping.groups.of
        return zip(of, map(self._mapping.different.__getitem__, of.values()), strict=False)


def grouped(values: Mapping[str, T], key: Callable[[T], Any] = id) -> Grouped[T]:
    """Return a mapping in groups; itself if it is so already.

    :param key: names are in one group if this returns the same of their values; by default, if they share one object.
    """
    if type(values) is Grouped:  # `isinstance` takes longer with an abstract class
        return values
    numbers: dict[Any, int] = {}
    of: dict[str, int] = {}
    first: list[str] = []
    different: list[T] = []
    for name, value in values.items():
        number = numbers.get(at := key(value))
        if number is None:
            number = numbers[at] = len(first)
            first.append(name)
            different.append(value)
        of[name] = number
    return Grouped(_Groups(of, first), different)


def grouped_texts(texts: Mapping[str, str]) -> Grouped[str]:
    """Return texts in groups of those that are equal."""
    different = dict.fromkeys(texts.values())
    if len(different) == 1:
        return Grouped(_Groups(dict.fromkeys(texts, 0), [next(iter(texts))]), list(different))
    return grouped(texts, str)


def regrouped(values: Grouped[T], key: Callable[[T], Any] = id) -> Grouped[T]:
    """Return a mapping in fewer groups, where some of them have the same value.

    :param key: see `grouped`.
    """
    if len(values.different) == 1:
        return values
    numbers: dict[Any, int] = {}
    first: list[str] = []
    different: list[T] = []
    new: list[int] = []
    for name, value in zip(values.groups.first, values.different, strict=True):
        number = numbers.setdefault(key(value), len(numbers))
        if number == len(first):
            first.append(name)
            different.append(value)
        new.append(number)
    if len(different) == len(new):
        return values
    old = values.groups.of
    of = dict.fromkeys(old, 0) if len(different) == 1 else {name: new[at] for name, at in old.items()}
    return Grouped(_Groups(of, first), different)


def different(values: Mapping[str, T]) -> Sequence[T]:
    """Return each value once."""
    return values.different if type(values) is Grouped else grouped(values).different


def different_items(values: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    """Return the first name and the value of each group."""
    known = grouped(values)
    return zip(known.groups.first, known.different, strict=True)


def for_each(values: Mapping[str, T], make: Callable[[str, T], U]) -> Grouped[U]:
    """Return name → what a function makes of its value, once for each group.

    :param make: gets the first name of the group, for errors, and the value. What it makes must not depend on the name.
    """
    known = values if type(values) is Grouped else grouped(values)
    return Grouped(known.groups, list(map(make, known.groups.first, known.different)))


def for_each_pair(values: Mapping[str, T], others: Mapping[str, U], make: Callable[[T, U], V]) -> Grouped[V]:
    """Return name → what a function makes of its values in two mappings, once for each pair of groups.

    :param others: has all names of `values`.
    """
    one, two = grouped(values), grouped(others)
    if one.groups is two.groups:
        return Grouped(one.groups, list(map(make, one.different, two.different)))
    if len(two.different) == 1:
        (other,) = two.different
        return Grouped(one.groups, [make(value, other) for value in one.different])
    of_two = two.groups.of
    pairs = grouped({name: (at, of_two[name]) for name, at in one.groups.of.items()}, tuple)
    return Grouped(pairs.groups, [make(one.different[at], two.different[also]) for at, also in pairs.different])


def without_nulls(values: Mapping[str, T | None], without: Collection[str] = ()) -> Mapping[str, T]:
    """Return a mapping without the names whose value is None.

    :param without: further names to leave out.
    """
    known = grouped(values)
    some = [value for value in known.different if value is not None]
    if not without and len(some) == len(known.different):
        return Grouped(known.groups, some)
    return {name: value for name, value in known.items() if value is not None and name not in without}
