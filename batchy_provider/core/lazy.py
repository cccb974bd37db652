# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Calculate an attribute of a value when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class calculated_once(Generic[T]):  # noqa: N801 - a decorator, as `functools.cached_property`
    """`functools.cached_property` without its lock, which Python takes up to 3.11.

    For values that nothing changes: two threads that both calculate the attribute find the same.
    """

    def __init__(self, calculate: Callable[[Any], T]) -> None:
        self._calculate = calculate
        self.__doc__ = calculate.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]  # as `property` does, for what looks at the class
        found = instance.__dict__[self._name] = self._calculate(instance)
        return found
