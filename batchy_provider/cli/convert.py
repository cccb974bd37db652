# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy convert``: make workflow files from a crontab or from the original Batchy's files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.cli.context import EXIT_OK, Commands, Context, add_command
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.config.convert import Converted, ConvertedCrontab


def add_commands(commands: Commands) -> None:
    """Add this group's command to the parser."""
    parser = add_command(
        commands,
        "convert",
        convert,
        "make workflow files from a crontab or from the original Batchy's files, and list what could not be converted",
        "crontab -l | batchy convert crontab - --to cfg\nbatchy convert batchy old/cfg --to cfg --dry-run",
    )
    parser.add_argument("what", choices=("crontab", "batchy"), help="what to read")
    parser.add_argument("path", metavar="PATH", help="a crontab (- for stdin), or the folder of the original's files")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where to write the files (default: the folder of --cfg)"
    )
    parser.add_argument(
        "--with-user", action="store_true", help="each line has a user, as in /etc/crontab (default: detected)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument("--dry-run", action="store_true", help="show the files, write nothing")


def convert(context: Context, arguments: argparse.Namespace) -> int:
    """Convert a crontab or the original's files."""
    from batchy_provider.config.convert import file_text

    made, left_out, remarks = _crontab(arguments) if arguments.what == "crontab" else _original(arguments)
    folder = arguments.to or context.cfg
    files = {folder / f"{each.name}.yaml": each for each in made}
    if not arguments.dry_run:
        _write(files, force=arguments.force)
    if not context.output.is_table:
        context.output.data(
            {
                "files": [{"file": str(path), "left": each.left} for path, each in files.items()],
                "left": [*left_out, *remarks],
            }
        )
        return EXIT_OK
    for path, each in files.items():
        if arguments.dry_run:
            context.output.document(f"# {path}\n{file_text(each)}\n")
        else:
            context.output.line(f"{path}")
        for sentence in each.left:
            context.output.note(f"  {path.name}: {sentence}")
    for sentence in left_out:
        context.output.note(f"  left out: {sentence}")
    for sentence in remarks:
        context.output.note(f"  {sentence}")
    return EXIT_OK


def _crontab(arguments: argparse.Namespace) -> ConvertedCrontab:
    from batchy_provider.config.convert import from_crontab
    from batchy_provider.config.crontab import decode_crontab

    try:
        raw = _stdin() if arguments.path == "-" else Path(arguments.path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{arguments.path} cannot be read: {error}") from None
    text, is_utf8 = decode_crontab(raw)
    converted = from_crontab(text, with_user=arguments.with_user or None)
    if not is_utf8:
        converted.remarks.append("the crontab is not UTF-8 and was read as Latin-1; the workflow files are UTF-8")
    return converted


def _stdin() -> bytes:
    binary = getattr(sys.stdin, "buffer", None)
    return bytes(binary.read()) if binary is not None else sys.stdin.read().encode()


def _original(arguments: argparse.Namespace) -> tuple[list[Converted], list[str], list[str]]:
    from batchy_provider.config.convert import from_original
    from batchy_provider.config.reader import read_folder

    found = read_folder(arguments.path)
    remarks = [str(diagnostic) for diagnostic in found.diagnostics]
    remarks += [
        f"{each.path} is not a file of the original" for each in found.workflows.values() if each.original is None
    ]
    return [from_original(each) for each in found.workflows.values() if each.original is not None], [], remarks


def _write(files: dict[Path, Converted], *, force: bool) -> None:
    from batchy_provider.config.convert import file_text

    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise ConfigError(
            f"cannot overwrite {', '.join(there)}; nothing was written. Give --force, or another folder with --to"
        )
    for path, each in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file_text(each), encoding="utf-8")
