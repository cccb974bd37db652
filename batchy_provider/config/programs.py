# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the program that a shell command is for: ``load.sh`` in ``cd /opt && sudo -u etl nice ./load.sh -v``."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_OPERATORS = frozenset((";", "&", "&&", "||", "|", "|&", "(", ")", "\n", ";;"))
_KEYWORDS = frozenset(("if", "then", "else", "elif", "fi", "while", "until", "do", "done", "{", "}", "!", "esac"))
_PREPARES = frozenset(
    (
        *("cd", "pushd", "source", ".", "export", "set", "unset", "test", "[", "[["),
        *("umask", "ulimit", "sleep", "mkdir", "echo", "printf", "true", "false", ":", "exit"),
        *("alias", "eval", "trap", "wait", "shopt", "local", "declare", "readonly", "touch", "for"),
        "case",
    )
)
"""Commands that only prepare for the main command of a line, or report about it."""

_WRAPPERS: dict[str, tuple[str, int]] = {
    "env": ("uCS", 0),
    "sudo": ("ugpChRrtTUD", 0),
    "doas": ("uC", 0),
    "nice": ("n", 0),
    "ionice": ("cnpt", 0),
    "chrt": ("pTPD", 1),
    "taskset": ("", 1),
    "nohup": ("", 0),
    "time": ("fo", 0),
    "exec": ("a", 0),
    "command": ("", 0),
    "builtin": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("ioe", 0),
    "chronic": ("", 0),
    "cronic": ("", 0),
    "caffeinate": ("tw", 0),
    "flock": ("wEc", 1),
    "lockfile": ("", 1),
    "timeout": ("ks", 1),
    "runuser": ("ugG", 0),
    "su": ("gGsw", 1),
    "systemd-run": ("pu", 0),
    "systemd-cat": ("tp", 0),
    "xargs": ("IinPdELs", 0),
    "run-one": ("", 0),
    "setlock": ("", 1),
    "chpst": ("ubemdrwl", 0),
    "proxychains": ("f", 0),
    "busybox": ("", 0),
}
"""Programs that run another one → their short options with a value, and the number of their arguments before it."""

_SHELLS = frozenset(("bash", "sh", "dash", "zsh", "ksh", "ash"))
_INTERPRETER = re.compile(r"(?:python|perl|ruby|php|node|rscript|lua|pypy|tclsh)[0-9.]*")


def program_of(command: str, depth: int = 3) -> str | None:
    """Return the name of the program, without folders and suffix; None if it cannot be determined.

    :param command: a shell command, of one line or several.
    """
    for words in _simple_commands(command):
        found = _program(words, depth)
        if found is not None:
            return found
    return None


def _simple_commands(command: str) -> list[list[str]]:
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars="();&|<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word in _OPERATORS or set(word) <= set("();&|"):
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:  # a quote that does not end: what was read before it counts
        pass
    return found


def _program(words: list[str], depth: int) -> str | None:
    words = _without_redirections(words)
    while words:
        word = words[0]
        name = PurePosixPath(word).name
        if _ASSIGNMENT.match(word) or word in _KEYWORDS:
            words = words[1:]
        elif word in _PREPARES:
            return None
        elif name in _SHELLS or (name in ("su", "runuser", "flock") and "-c" in words):
            return _of_shell(words[1:], depth)
        elif name in _WRAPPERS:
            values, before = _WRAPPERS[name]
            words = _after_options(words[1:], values)[before:]
            if before:
                words = _after_options(words, values)
        elif _INTERPRETER.fullmatch(name):
            return _of_interpreter(words[1:]) or _stem(name)
        elif name == "java" and "-jar" in words[:-1]:
            return _stem(PurePosixPath(words[words.index("-jar") + 1]).name)
        else:
            return _stem(name)
    return None


def _of_shell(words: list[str], depth: int) -> str | None:
    for index, word in enumerate(words):
        if re.fullmatch(r"-[a-z]*c", word):
            return program_of(words[index + 1], depth - 1) if depth and index + 1 < len(words) else None
    rest = _after_options(words, "oO")
    return _stem(PurePosixPath(rest[0]).name) if rest else None


def _of_interpreter(words: list[str]) -> str | None:
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word in ("-d", "-W", "-X", "-I"):
            skip = True
        elif word == "-m" and index + 1 < len(words):
            return _stem(words[index + 1].rpartition(".")[2])
        elif word in ("-c", "-e", "-r"):
            return None
        elif not word.startswith("-"):
            return _stem(PurePosixPath(word).name)
    return None


def _after_options(words: list[str], with_value: str) -> list[str]:
    while words and words[0].startswith("-") and words[0] != "-":
        option = words[0]
        words = words[1:]
        if option == "--":
            break
        # Of `-n 5` the value is the next word; of `-n5` and `--adjustment=5` it is in this one.
        if len(option) == 2 and option[1] in with_value:
            words = words[1:]
    return words[1:] if words[:1] == ["-"] else words


def _without_redirections(words: list[str]) -> list[str]:
    rest: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif set(word) <= set("<>&|") and word:
            skip = True
            if rest and rest[-1].isdigit():
                rest.pop()
        else:
            rest.append(word)
    return rest


def _stem(name: str) -> str | None:
    """Return a file's name without its suffix, of letters that a workflow's name may have."""
    stem = name.partition(".")[0] or name.strip(".")
    return re.sub(r"[^A-Za-z0-9_\-]+", "_", stem, flags=re.ASCII).strip("_-") or None
