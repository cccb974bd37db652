# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check that text can be stored in Redis, PostgreSQL, JSON and Airflow's protocol, and shown anywhere."""

from __future__ import annotations

import re

_REFUSED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NAMES = {"\0": "a NUL character", "\r": "a carriage return", "\x1b": "an escape character"}


def text_problem(text: str, what: str = "text") -> str | None:
    """Say why a text cannot be stored: it has half a character, or a control character other than tab and line feed.

    :param what: what the text is called.
    """
    found = _REFUSED.search(text)
    if found is None:
        return None
    letter = found[0]
    code = f"U+{ord(letter):04X}"
    if "\ud800" <= letter <= "\udfff":
        return f"the {what} holds half a character ({code}, a lone surrogate), which UTF-8 cannot hold; remove it"
    message = f"the {what} holds {_NAMES.get(letter, 'a control character')} ({code})"
    if letter == "\r":
        return f"{message}; end lines with a line feed alone"
    if letter == "\0":
        return f"{message}; remove it"
    return f"{message}; remove it, or write what makes it in a script, such as printf '\\{ord(letter):03o}'"


def storable(text: str) -> str:
    r"""Return a text that can be stored and shown: other characters are escaped, as ``\x00`` or ``\ud800``."""
    return _REFUSED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
