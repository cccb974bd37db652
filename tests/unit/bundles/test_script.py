# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The first line counts, and what bash would misread is refused before it runs; beside the real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import scaled

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleError, BundleRefusedError
from batchy_provider.bundles.script import ScriptError, bash_options, script_problem


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", []),
        ("# a comment", []),
        ("#!/bin/bash", []),
        ("#!/bin/sh", []),
        ("#! /usr/local/bin/bash -eu", ["-eu"]),
        ("#!/bin/sh -e", ["-e"]),
        ("#!/bin/bash\t-e -u", ["-e", "-u"]),
        ("#!/bin/bash -euo pipefail", ["-euo", "pipefail"]),
        ("#!/bin/bash -o errexit -o pipefail", ["-o", "errexit", "-o", "pipefail"]),
        ("#!/bin/bash -O extglob +x", ["-O", "extglob", "+x"]),
        ("#!/bin/bash -e --norc --", ["--norc", "-e"]),
        ("#!/usr/bin/env bash", []),
        ("#!/usr/bin/env bash -e", ["-e"]),
        ("#!/usr/bin/env -S bash -euo pipefail", ["-euo", "pipefail"]),
        ("#!/usr/bin/env -Sbash -eu", ["-eu"]),
        ("#!/usr/bin/env --split-string=bash -eu", ["-eu"]),
    ],
)
def test_options_of_the_first_line(line: str, options: list[str]) -> None:
    assert bash_options(f"{line}\necho hello\n".encode()) == options


@pytest.mark.parametrize(
    ("content", "why", "remedy"),
    [
        (b"", "is empty", "Write the commands"),
        (b"  \n\t\n", "is empty", "Write the commands"),
        (b"#!/bin/bash\n# to do\n\n   # later\n", "has only comments", "Write the commands"),
        (b"\xef\xbb\xbfecho hello\n", "byte order mark", "sed -i"),
        (b"#!/bin/bash\r\necho hello\r\n", "CR LF", "sed -i 's/\\r$//' script.sh"),
        (b"echo a\necho b\r\necho c\n", "first in line 2", "$'\\r'"),
        (b"echo a\recho b\r", "old Mac", "sed -i"),
        ("echo hello\n".encode("utf-16"), "UTF-16", "iconv"),
        ("echo hello\n".encode("utf-16-le"), "UTF-16", "iconv"),
        ("echo hello\n".encode("utf-16-be"), "UTF-16", "iconv"),
        (b"\x7fELF\x02\x01\x01\0\0", "is a program", "file of its own"),
        (b"echo hello\nexit\n\0\0payload", "NUL byte in line 3", "file of its own"),
        (b"#!/usr/bin/env python3\nprint(1)\n", "asks for 'python3'", "`exec python3 FILE`"),
        (b"#!/usr/bin/python3 -u\nprint(1)\n", "asks for 'python3'", "of its own beside script.sh"),
        (b"#!/usr/bin/env -S uv run --script\nprint(1)\n", "asks for 'uv'", "exec uv FILE"),
        (b"#!/bin/zsh\necho hello\n", "asks for 'zsh'", "write `#!/bin/bash`"),
        (b"#!/usr/bin/perl\nprint 1;\n", "asks for 'perl'", "exec perl"),
        (b"#!\necho hello\n", "names no program", "#!/bin/bash"),
        (b"#!/usr/bin/env\necho hello\n", "names no program", "#!/bin/bash"),
        (b"#!/usr/bin/env -S LANG=C bash\necho hello\n", "gives env 'LANG=C'", "Set variables in the script"),
        (b"#!/usr/bin/env -i bash\necho hello\n", "gives env '-i'", "not supported"),
        (b"#!/bin/bash -n\necho hello\n", "'-n'", "Leave it out"),
        (b"#!/bin/bash -et\necho hello\n", "'-t'", "Leave it out"),
        (b"#!/bin/bash -c\necho hello\n", "'-c'", "Leave it out"),
        (b"#!/bin/bash -o noexec\necho hello\n", "'noexec'", "Leave it out"),
        (b"#!/bin/bash -o\necho hello\n", "name of an option is missing", "Leave it out"),
        (b"#!/bin/bash --version\necho hello\n", "'--version'", "Leave it out"),
        (b"#!/bin/bash other.sh\necho hello\n", "run instead of script.sh", "Leave it out"),
        (b"#!/bin/bash 'open\necho hello\n", "cannot be read", "#!/bin/bash 'open"),
    ],
)
def test_what_bash_would_misread_is_refused_with_a_remedy(content: bytes, why: str, remedy: str) -> None:
    problem = script_problem(content)
    assert problem is not None
    assert why in problem
    assert remedy in problem


@pytest.mark.parametrize(
    "content",
    [
        b"echo hello",
        b"printf 'a\rb'\necho hello\n",
        "# Größe\necho héllo\n".encode("latin-1"),
        b":",
        b"\n\n#!/usr/bin/env python3\n:\n",
        b"cat <<'X'\nx\nX\n",
    ],
)
def test_what_bash_reads_well_is_not_refused(content: bytes) -> None:
    assert script_problem(content) is None


WORDS = st.sampled_from(
    [f"-{letter}" for letter in ("e", "u", "x", "eu", "O", "o", "", "-", "n", "c", "s", "t", "D", "Z", "p", "r")]
    + ["+e", "--norc", "--help", "--posix", "--nonsense"]
    + ["-euo pipefail", "-o nounset", "-O extglob", "-o noexec", "-o nonsense", "--rcfile x"]
)


@settings(max_examples=scaled(60))
@given(st.lists(WORDS, max_size=3))
def test_options_that_are_accepted_run_the_whole_script_in_a_real_bash(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    content = f"#!/bin/bash {' '.join(words)}\ntrue\necho whole\n".encode()
    try:
        options = bash_options(content)
    except ScriptError:
        return
    script = tmp_path_factory.getbasetemp() / "accepted.sh"
    script.write_bytes(content)
    done = subprocess.run(["bash", *options, script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: f"#!{text}\n:".encode("utf-8", "replace")))
def test_any_bytes_have_options_or_a_reason(content: bytes) -> None:
    problem = script_problem(content)
    assert problem is None or problem.endswith((".", "`", text_end(content)))


def text_end(content: bytes) -> str:
    return content.partition(b"\n")[0][2:].decode("utf-8", "replace").strip() or "."


@pytest.mark.parametrize("content", [b"", b"#!/usr/bin/env python3\n", b"echo hello\r\n"])
def test_a_bundle_with_such_a_script_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "script.sh").write_bytes(content)
    with pytest.raises(BundleRefusedError, match=r"entry 'script\.sh'"):
        BundleCache(tmp_path / "cache").working_copy(tmp_path / "bundle", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert issubclass(BundleRefusedError, BundleError)
