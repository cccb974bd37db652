# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Text with styles for a terminal, such as a status in its color. Needs no library, so that a list starts fast."""

from __future__ import annotations

from batchy_provider.core.terminal_text import printable

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}


class StyledText:
    """A text whose parts have styles.

    :param parts: text and style of each part. A style is words of `_CODES`, such as ``bold red``, or empty.
    """

    __slots__ = ("parts",)

    def __init__(self, *parts: tuple[str, str]) -> None:
        self.parts = parts

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts)

    def __add__(self, other: StyledText | str) -> StyledText:
        return StyledText(*self.parts, *(other.parts if isinstance(other, StyledText) else ((other, ""),)))

    def printable(self) -> StyledText:
        """Return it with every control character visible, and spaces for tabs."""
        return StyledText(*((printable(text).expandtabs(), style) for text, style in self.parts))

    def slice(self, start: int, end: int, *, color: bool) -> str:
        """Return a part of the text as a terminal shows it.

        :param start: of its characters, inclusive.
        :param end: of its characters, exclusive.
        :param color: write the styles, too.
        """
        if not color:
            return str(self)[start:end]
        shown, at = [], 0
        for text, style in self.parts:
            shown.append(in_style(text[max(0, start - at) : max(0, end - at)], style))
            at += len(text)
        return "".join(shown)


def in_style(text: str, style: str) -> str:
    """Return a text in a style, as a terminal shows it."""
    if not style or not text:
        return text
    return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m"
