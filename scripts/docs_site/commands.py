# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Generate the page of all commands from the argument parser."""

from __future__ import annotations

import argparse

from batchy_provider.cli.main import DESCRIPTION, build_parser

_HEAD = f"""\
# All commands

Look up every command and option here. For an introduction see [The command line](../cli.md). {DESCRIPTION}

This page is generated from the program. `batchy COMMAND --help` prints the same.
"""

_EXIT = """\
## Exit codes { #exit-codes }

| code | |
|---|---|
| 0 | done; `wait`: it succeeded; `demo --exit`: all runs succeeded; `run`: the script ended with 0 |
| 1 | an error; `validate`: something is wrong; `wait --on-failed fail`: it failed; `logs --follow`: the job failed |
| 2 | wrong usage, or a token that the server refuses |
| 124 | `wait`, `run`: the time is over |
| 125 | `run`: the script was not run |
| 130 | interrupted by Ctrl-C |
| other | `run`: the exit code of the script |
"""


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands by name."""
    (actions,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(actions.choices)


def commands_page() -> str:
    """Return the page as Markdown."""
    parser = build_parser()
    common = {option for action in parser._actions for option in action.option_strings} | {"-h", "--help"}
    parts = [_HEAD, _table(parser, set(), "You can write these options before or after every command:")]
    for name, command in sorted(commands_of(parser).items()):
        parts.append(f"## batchy {name}\n")
        parts.append(f"{_text(command.description or '')}\n")
        parts.append(f"```text\n{_usage(command, common)}\n```\n")
        parts.append(_table(command, common, ""))
        if command.epilog:
            parts.append(f"```sh\n{_example(command.epilog)}\n```\n")
    parts.append(_EXIT)
    return "\n".join(part for part in parts if part)


def _usage(parser: argparse.ArgumentParser, common: set[str]) -> str:
    words = [parser.prog.split(" [")[0]]
    for action in parser._actions:
        if common & set(action.option_strings) or action.help == argparse.SUPPRESS:
            continue
        words.append(_word(action))
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > 82:
            lines.append("   ")
        lines[-1] += f" {word}"
    return "\n".join(lines)


def _word(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return {"*": f"[{value} …]", "+": f"{value} …", "?": f"[{value}]"}.get(str(action.nargs), value)
    option = action.option_strings[-1] + (f" {value}" if value else "")
    return option if action.required else f"[{option}]"


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _table(parser: argparse.ArgumentParser, without: set[str], title: str) -> str:
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or without & set(action.option_strings):
            continue
        if action.help == argparse.SUPPRESS or (not action.option_strings and not action.help):
            continue
        value = _value(action)
        *short, last = action.option_strings or [value]
        names = [f"`{name}`" for name in [*short, f"{last} {value}" if value and value != last else last]]
        rows.append(f"| {', '.join(names)} | {_cell(parser, action)} |")
    if not rows:
        return ""
    return "\n".join(filter(None, [title and f"{title}\n", "| | |\n|---|---|", *rows])) + "\n"


def _cell(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog} if "%" in (action.help or "") else action.help
    return _text(text or "").replace("|", "&#124;")


def _text(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")


def _example(epilog: str) -> str:
    lines = epilog.splitlines()
    return "\n".join(line.removeprefix("  ") for line in (lines[1:] if lines[0].startswith("example") else lines))
