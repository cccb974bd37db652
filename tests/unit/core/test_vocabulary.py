# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Codes beside sentences: each prints as its value and is documented."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batchy_provider.core.vocabulary import Reason, VerdictCode

WAITING = (Path(__file__).parents[3] / "docs" / "waiting.md").read_text()
INTERNAL = {
    VerdictCode.NOT_OPEN,
    VerdictCode.NOT_ON_HOLD,
    VerdictCode.ON_HOLD,
    VerdictCode.BATCHES_CLOSED,
    VerdictCode.NOTHING_CLOSED,
    VerdictCode.REDIS_UNAVAILABLE,
}
"""Of waits that have no JSON answer."""


@pytest.mark.parametrize("code", [*Reason, *VerdictCode])
def test_a_code_prints_as_its_value(code: Reason | VerdictCode) -> None:
    assert f"{code}" == str(code) == code.value
    assert json.dumps({"code": code}) == f'{{"code": "{code.value}"}}'


@pytest.mark.parametrize("code", [code for code in VerdictCode if code not in INTERNAL])
def test_each_code_of_an_answer_is_in_the_documentation(code: VerdictCode) -> None:
    assert f"| `{code}` |" in WAITING
