# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make foreign text safe for a terminal: escape what would move the cursor, set a title or hide text."""

from __future__ import annotations

import codecs
import re

_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,60}m")
# C0 and C1 controls; marks that turn or hide the order of letters; line separators; halves of characters.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}
_BEGUN = re.compile(r"\x1b(\[[0-9;:]{0,60})?\Z")
_LONGEST = 64


def printable(text: object, *, lines: bool = True) -> str:
    r"""Return a text in which every control character is visible: ``\x1b``, ``\r``, ``\u202e``.

    For names, messages and values from outside: file names of a script, errors of a server, text in Redis.

    :param text: anything that `str` takes.
    :param lines: keep line feeds and tabs; False escapes them too, for a text that must stay on one line.
    """
    safe = _UNSAFE.sub(_written, str(text))
    return safe if lines else safe.replace("\n", "\\n").replace("\t", "\\t")


def is_printable(text: str) -> bool:
    """Tell whether `printable` leaves a text as it is."""
    return _UNSAFE.search(text) is None


class ColouredText:
    r"""Decode the output of a program for a terminal: its colours and carriage returns stay.

    Other control sequences are written out, so that they cannot rewrite lines that were shown before, set the
    title or the clipboard, or make the terminal type an answer. Bytes may be cut anywhere.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._has_colours = False

    def feed(self, data: bytes) -> str:
        """Return the text of some bytes; what may be the beginning of a colour is held back."""
        text = self._rest + self._decoder.decode(data)
        begun = _BEGUN.search(text, max(0, len(text) - _LONGEST))
        cut = begun.start() if begun else len(text)
        self._rest = text[cut:]
        return self._shown(text[:cut])

    def close(self) -> str:
        """Return what was held back, and the end of all colours if there were any."""
        text = self._shown(self._rest + self._decoder.decode(b"", final=True))
        self._rest = ""
        return text + "\x1b[0m" if self._has_colours else text

    def _shown(self, text: str) -> str:
        shown, at = [], 0
        for colour in _COLOUR.finditer(text):
            self._has_colours = True
            shown += [_written_out(text[at : colour.start()]), colour.group()]
            at = colour.end()
        return "".join([*shown, _written_out(text[at:])])


def _written_out(text: str) -> str:
    return _UNSAFE.sub(lambda found: "\r" if found.group() == "\r" else _written(found), text)


def _written(found: re.Match[str]) -> str:
    character = found.group()
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
