# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check whether bash can run a script as its author means it, and with which options. Pure: no file is opened here.

The worker runs `bash OPTIONS script.sh`. The first line of the script is respected: the options of a bash or sh there
are used, and a script for another interpreter is refused, since bash would run it as something else.
"""

from __future__ import annotations

import re
import shlex

SCRIPT = "script.sh"
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_SHELLS = ("bash", "sh")
_LONG = frozenset(
    ("--debugger", "--login", "--noediting", "--noprofile", "--norc", "--posix", "--restricted", "--verbose")
)
_LETTERS = frozenset("abefhiklmpruvxBCEHPT")
_NAMES = frozenset(
    (
        "allexport",
        "braceexpand",
        "emacs",
        "errexit",
        "errtrace",
        "functrace",
        "hashall",
        "histexpand",
        "history",
        "ignoreeof",
        "interactive-comments",
        "keyword",
        "monitor",
        "noclobber",
        "noglob",
        "nolog",
        "notify",
        "nounset",
        "physical",
        "pipefail",
        "posix",
        "privileged",
        "verbose",
        "vi",
        "xtrace",
    )
)
_SHOPT = re.compile(r"[a-z0-9_]+")
_INSTEAD = f"Put that program into a file of its own beside {SCRIPT}, and let {SCRIPT} call it"


class ScriptError(ValueError):
    """Bash cannot run a script as its author means it. The message says why, and what to do."""


def bash_options(content: bytes, name: str = SCRIPT) -> list[str]:
    """Check a script, and return the options for bash that its first line asks for.

    :param content: of the whole script.
    :param name: of the script in errors.
    :raises ScriptError: it is no text, no script for bash, or has no command.
    """
    _check_text(content, name)
    line = content.partition(b"\n")[0]
    options = _options_of(line[2:].decode("utf-8", "replace").strip(), name) if line.startswith(b"#!") else []
    if all(line.startswith(b"#") for line in map(bytes.strip, content.split(b"\n")) if line):
        what = "is empty" if not content.strip() else "has only comments"
        raise ScriptError(f"{name} {what}, so it would do nothing and succeed. Write the commands into it.")
    return options


def script_problem(content: bytes, name: str = SCRIPT) -> str | None:
    """Say why bash cannot run a script as its author means it; None if it can."""
    try:
        bash_options(content, name)
    except ScriptError as error:
        return str(error)
    return None


def _check_text(content: bytes, name: str) -> None:
    if content.startswith(_BOMS[1:]) or _is_wide(content):
        raise ScriptError(
            f"{name} is in UTF-16, which bash cannot read. Save it as UTF-8 without a byte order mark: "
            f"`iconv -f UTF-16 -t UTF-8 {name} > new && mv new {name}`."
        )
    if content.startswith(_BOMS[0]):
        raise ScriptError(
            f"{name} begins with a byte order mark (BOM), which bash reads as a part of the first command. Save it as "
            f"UTF-8 without BOM: `sed -i '1s/^\\xEF\\xBB\\xBF//' {name}`."
        )
    if b"\0" in content:
        kind = "a program" if content.startswith(b"\x7fELF") else "binary"
        number = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise ScriptError(
            f"{name} is {kind}: it has a NUL byte in line {number}. {_INSTEAD}; data belongs in a file of its own."
        )
    if b"\r\n" in content or (b"\r" in content and b"\n" not in content):
        number = content.count(b"\n", 0, content.find(b"\r\n")) + 1 if b"\r\n" in content else 1
        raise ScriptError(
            f"{name} has line endings of Windows (CR LF) or of an old Mac (CR), first in line {number}: bash reads the "
            f"carriage return as a part of the command. Save it with LF: `sed -i 's/\\r$//' {name}`. A carriage "
            "return that is meant is written $'\\r'."
        )


def _is_wide(content: bytes) -> bool:
    """Detect UTF-16 without a byte order mark: every second byte of the first characters is NUL."""
    begin = content[:64]
    begin = begin[: len(begin) // 2 * 2]
    return len(begin) >= 4 and any(not any(begin[i::2]) and all(begin[1 - i :: 2]) for i in (0, 1))


def _options_of(text: str, name: str) -> list[str]:
    """Return the options in a first line, after ``#!``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ScriptError(f"The first line of {name} cannot be read ({error}): #!{text}") from None
    words = _without_env(words, text, name)
    if not words:
        raise ScriptError(f"The first line of {name} names no program: #!{text}. Write `#!/bin/bash`.")
    program = words[0].rpartition("/")[2]
    if program not in _SHELLS:
        raise ScriptError(
            f"{name} is run by bash, but its first line asks for {program!r}: #!{text}. {_INSTEAD}: "
            f"`exec {program} FILE`. If it is a script of bash, write `#!/bin/bash`."
        )
    return _checked(words[1:], text, name)


def _without_env(words: list[str], text: str, name: str) -> list[str]:
    """Return the command that `env` would run. Its only option that is accepted is -S, which splits the line."""
    if not words or words[0].rpartition("/")[2] != "env":
        return words
    words = words[1:]
    if words and words[0] in ("-S", "--split-string"):
        words = words[1:]
    elif words and words[0].startswith(("-S", "--split-string=")):
        words[0] = words[0].removeprefix("--split-string=").removeprefix("-S")
        words = shlex.split(" ".join(map(shlex.quote, words))) if words[0] else words[1:]
    if words and (words[0].startswith("-") or "=" in words[0]):
        raise ScriptError(
            f"The first line of {name} gives env {words[0]!r}, which is not supported: #!{text}. Set variables in the "
            "script, or with `env` of the job."
        )
    return words


def _checked(words: list[str], text: str, name: str) -> list[str]:
    """Refuse options that bash would refuse, and those with which it would not run the script."""

    def refuse(word: str, why: str) -> ScriptError:
        return ScriptError(f"The first line of {name} has {word!r}, {why}: #!{text}. Leave it out.")

    options: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word in ("-", "--"):
            if waiting:
                raise refuse(waiting[0], f"which bash would run instead of {name}")
            break
        if word.startswith("--"):
            if word not in _LONG:
                raise refuse(word, "which bash does not know, or which keeps bash from running the script")
            options.append(word)
            continue
        if word[0] not in "-+" or len(word) == 1:
            raise refuse(word, f"which bash would run instead of {name}")
        values = []
        for letter in word[1:]:
            if letter in "oO":
                if not waiting:
                    raise refuse(word, "and the name of an option is missing after it")
                value = waiting.pop(0)
                if value not in _NAMES if letter == "o" else not _SHOPT.fullmatch(value):
                    raise refuse(value, "which bash does not know, or which keeps bash from running the script")
                values.append(value)
            elif letter not in _LETTERS:
                raise refuse(word[0] + letter, "which bash does not know, or which keeps bash from running the script")
        options += [word, *values]
    # bash reads its long options first.
    return [word for word in options if word.startswith("--")] + [word for word in options if not word.startswith("--")]
