# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Why is a workflow not running, or not done? One answer, through all workflows that it waits for, to the root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchy_provider.plan.causes import cause_of, upstream_cause
from batchy_provider.plan.why_codes import WhyCode
from batchy_provider.plan.why_facts import Cause, Facts

_MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Link:
    """One workflow of a chain, and why it is not running, or not done."""

    workflow: str
    code: WhyCode
    text: str


@dataclass(frozen=True, slots=True)
class Why:
    """The answer.

    :param code: of the workflow itself.
    :param text: one line for people: the root cause first.
    :param chain: the workflow itself, what it waits for, and so on; the root cause is last.
    """

    workflow: str
    code: WhyCode
    text: str
    chain: Sequence[Link]

    @classmethod
    def of(cls, chain: Sequence[Link]) -> Why:
        """Make an answer of its chain, which has at least one link."""
        return cls(chain[0].workflow, chain[0].code, headline(chain), tuple(chain))

    @property
    def root(self) -> Link:
        """The root cause."""
        return self.chain[-1]


class ShownLink(Protocol):
    """The part of a link that people read."""

    @property
    def workflow(self) -> str:
        """Its workflow."""

    @property
    def text(self) -> str:
        """Why it is not running, or not done."""


def headline(chain: Sequence[ShownLink]) -> str:
    """Say the root cause of a chain in one line, and who waits for it."""
    text = chain[-1].text
    if len(chain) == 1:
        return text
    names = [link.workflow for link in chain]
    waits = f"{names[0]} waits for {names[-1]}" if chain[-1].workflow != names[0] else f"{names[0]} waits for itself"
    between = names[1:-1]
    if between:
        shown = ", ".join(between[:_MOST_NAMES])
        waits += f", through {shown}" + (f" and {len(between) - _MOST_NAMES} more" if between[_MOST_NAMES:] else "")
    return f"{text}. So {waits}"


def why(facts: Facts, workflow: str) -> Why:
    """Return why a workflow is not running, or not done."""
    return why_all(facts, [workflow])[workflow]


def why_all(facts: Facts, workflows: Iterable[str]) -> dict[str, Why]:
    """Return workflow → why it is not running, or not done. The workflows that several wait for are examined once."""
    search = _Search(facts)
    return {name: Why.of(search.chain(name)) for name in workflows}


class _Search:
    """Finds, for each workflow, the one of those it waits for that leads to the most important root cause."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._causes: dict[str, Cause] = {}
        self._root: dict[str, WhyCode] = {}
        self._next: dict[str, str | None] = {}

    def chain(self, name: str) -> list[Link]:
        self._examine(name)
        chain: list[Link] = []
        seen: set[str] = set()
        at: str | None = name
        while at is not None and at not in seen:
            seen.add(at)
            cause = self._cause(at) if not chain else self._upstream(at)
            chain.append(Link(at, cause.code, cause.text))
            at = self._next.get(at)
        if at is not None:
            text = f"{chain[-1].workflow} waits for {at}, which waits for it: none of them can start before the other"
            chain.append(Link(at, WhyCode.WAIT_CYCLE, text))
        return chain

    def _cause(self, name: str) -> Cause:
        if name not in self._causes:
            self._causes[name] = cause_of(self._facts, name)
        return self._causes[name]

    def _upstream(self, name: str) -> Cause:
        found = self._cause(name)
        return upstream_cause(self._facts, name) if found.code is WhyCode.DONE else found

    def _examine(self, name: str) -> None:
        """Examine a workflow after those it waits for. A chain may be longer than Python's stack is deep."""
        stack, entered = [name], set[str]()
        while stack:
            at = stack[-1]
            if at in self._root:
                stack.pop()
            elif at not in entered:
                entered.add(at)
                stack += [other for other in self._cause(at).upstream if not (other in self._root or other in entered)]
            else:
                self._decide(at)
                stack.pop()

    def _decide(self, name: str) -> None:
        cause = self._cause(name)
        # One that is not decided yet waits for this one: a cycle.
        roots = {other: self._root.get(other, WhyCode.WAIT_CYCLE) for other in cause.upstream}
        chosen = min(roots, key=lambda other: roots[other].rank, default=None)
        self._next[name] = chosen
        self._root[name] = cause.code if chosen is None else roots[chosen]
