# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page of messages: each one that it lists is in the code, and each error of a night is on it."""

from __future__ import annotations

import ast

import pytest
from documentation_pages import PAGES, ROOT, messages

TROUBLE = PAGES["troubleshooting.md"]
NOT_OF_USERS = {
    "AssertionError",
    "AttributeError",
    "HTTPException",
    "UsageError",
    "ArgumentTypeError",
    "StackError",
    "UploadConflictError",
    "FormError",
    "_NoEventError",
}
"""Of a developer; of REST, whose page lists statuses; of the command line, which says what it expected; a part of the
sentence of another message, which the page lists."""
ELSEWHERE = (
    # They say all that there is to say, about one call of one's own.
    "batchy_provider/cli/",
    "batchy_provider/local/",
    "batchy_provider/plugin/",
    "batchy_provider/services/uploads.py",
    "batchy_provider/services/upload_files.py",
    "batchy_provider/services/upload_checks.py",
    "batchy_provider/config/",
    "batchy_provider/original/formats.py",
    "batchy_provider/core/job_settings.py",
    "batchy_provider/core/dates.py",
    "batchy_provider/core/batch_search.py",
    "batchy_provider/services/batch_history.py",
    "batchy_provider/services/bulk_actions.py",
    "batchy_provider/state/wait_queries.py",
    "batchy_provider/state/deliveries.py",
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """All texts in the source: read when a test wants them, not by each process that collects tests."""
    return messages.all_texts(ROOT / "batchy_provider")


@pytest.mark.parametrize("pattern", messages.patterns(TROUBLE))
def test_what_the_page_of_troubles_lists_is_what_the_code_says(pattern: str, texts: list[str]) -> None:
    assert any(messages.matches(pattern, text) for text in texts), f"no text in the source is like {pattern!r}"


def test_every_error_that_a_night_can_meet_is_on_the_page_of_troubles() -> None:
    patterns = messages.patterns(TROUBLE)
    missing = [
        f"{message.place}: {message.error}: {message.text}"
        for message in messages.raised(ROOT / "batchy_provider")
        if message.error not in NOT_OF_USERS
        and message.error.endswith("Error")
        and message.error not in ("ValueError", "OSError", "ConnectionError", "BundleRefusedError")
        and not message.place.startswith(ELSEWHERE)
        and not any(messages.matches(pattern, message.text) for pattern in patterns)
    ]
    assert not missing


def test_a_pattern_matches_a_text_by_its_pieces_in_order() -> None:
    assert messages.matches("batch … is open since …", "…: batch … is open since … UTC, by …")
    assert not messages.matches("is open … batch", "batch 1 is open")
    source = "raise StateError(f'{name} of {x!r} is wrong' + ', mend it')"
    assert messages._text(ast.parse(source).body[0].exc.args[0]) == "… of … is wrong, mend it"
