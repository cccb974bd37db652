# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Look up known vulnerabilities of all pinned packages, with pip-audit.

Exit code 0: all packages were audited, none has a known vulnerability. 1: some have. 3: some could not be audited,
because the vulnerability service knows nothing of them.

Usage: python scripts/audit.py [FILE…] [--ignore ID]      default: constraints.txt
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

HOLES, NOT_AUDITED = 1, 3


def ask(file: str, ignored: list[str]) -> list[dict[str, Any]]:
    """Return pip-audit's answer for each pinned package."""
    command = [sys.executable, "-m", "pip_audit", "-r", file, "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--progress-spinner", "off", "--timeout", "15"]
    for each in ignored:
        command += ["--ignore-vuln", each]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        # for example, the service cannot be reached
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        print(f"{file}: NOT AUDITED: pip-audit gave no answer: {last}", file=sys.stderr)
        sys.exit(NOT_AUDITED)
    return found


def report(file: str, found: list[dict[str, Any]]) -> int:
    """Print the result for one file; returns the exit code."""
    holes = [(each, hole) for each in found for hole in each.get("vulns", ())]
    skipped = [each for each in found if "skip_reason" in each]
    for each, hole in holes:
        fixed = ", ".join(hole.get("fix_versions", ())) or "no version yet"
        print(f"{file}: {each['name']} {each['version']}: {hole['id']}; fixed in {fixed}")
    if skipped:
        print(
            f"{file}: NOT AUDITED: {len(skipped)} of {len(found)} packages, for instance: {skipped[0]['skip_reason']}"
        )
        print("Nothing is known of these. Is the vulnerability service (pypi.org) in reach from here?")
    print(f"{file}: {len(found) - len(skipped)} of {len(found)} packages audited, {len(holes)} known holes")
    return HOLES if holes else NOT_AUDITED if skipped or not found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("files", nargs="*", default=["constraints.txt"])
    parser.add_argument("--ignore", action="append", default=[], metavar="ID", help="a hole that does not matter here")
    options = parser.parse_args()
    codes = [report(file, ask(file, options.ignore)) for file in options.files]
    return HOLES if HOLES in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
