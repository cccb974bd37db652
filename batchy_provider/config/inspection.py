# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check workflow files as far as possible without running them.

A parse of the DAGs checks each file alone, and only the names of bundles. This also checks files against each other and
the content of bundles, for ``batchy validate`` and for uploads.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from datetime import date
from pathlib import Path

from batchy_provider.config.bundle_paths import locate_bundle
from batchy_provider.config.calendar_file import ending
from batchy_provider.config.cross_file_checks import Finding, check_across_files
from batchy_provider.config.diagnostics import Code, Diagnostic, Violation, unexpected
from batchy_provider.config.file_scan import folders_with_calendars
from batchy_provider.config.reader import Reader, find_files, locate, read_folder
from batchy_provider.config.workflow import Workflow

Check = Callable[[Workflow], list[Diagnostic]]


def inspect_folder(
    folder: str | os.PathLike[str],
    *,
    look_into_bundles: bool = True,
    check: Check | None = None,
    bundles_of: Collection[str] | None = None,
) -> list[Diagnostic]:
    """Return all diagnostics of the workflow files of a folder, in the order of files and lines.

    :param look_into_bundles: unpack each bundle of this machine once, by the rules of a run.
    :param check: one more check of each valid workflow.
    :param bundles_of: open bundles, and call `check`, only for these workflows.
    :raises ConfigError: if there is no such folder.
    """
    found = read_folder(folder)
    diagnostics = list(found.diagnostics)
    findings: list[Finding] = []
    try:
        findings += check_across_files(found.workflows, {path.stem for path in find_files(folder)})
    except Exception as error:  # the diagnostics of single files are reported all the same
        diagnostics.append(unexpected(folder, error))
    selected = [each for each in found.workflows.values() if bundles_of is None or each.name in bundles_of]
    if look_into_bundles:
        findings += _check_bundles(selected)
    calendars = Reader(folder)
    for each in folders_with_calendars(folder):
        known = calendars.calendars(each)
        findings += ((known.files[0], problem) for problem in ending(known, date.today()))
    diagnostics += [each for each in calendars.calendar_diagnostics if each not in diagnostics]
    by_file: dict[Path, list[Violation]] = {}
    for path, problem in findings:
        by_file.setdefault(path, []).append(problem)
    for path, violations in by_file.items():
        diagnostics += locate(path, violations)
    if check is not None:
        for workflow in selected:
            try:
                diagnostics += check(workflow)
            except Exception as error:  # no workflow may hide the errors of another
                diagnostics.append(unexpected(workflow.path, error))
    return sorted(diagnostics, key=lambda diagnostic: (diagnostic.file, diagnostic.line or 0, diagnostic.column or 0))


def _check_bundles(workflows: list[Workflow]) -> Iterator[Finding]:
    from batchy_provider.bundles.bundle_cache import BundleCache
    from batchy_provider.bundles.scratch import remove_tree
    from batchy_provider.exceptions import BatchyError

    checked: dict[tuple[str, str | None], str | None] = {}
    with tempfile.TemporaryDirectory(prefix="batchy-validate-") as scratch:
        cache = BundleCache(Path(scratch, "cache"))
        for workflow in workflows:
            for name, job in workflow.model.jobs.items() if workflow.model is not None else ():
                if job.bundle is None:
                    continue
                place = locate_bundle(workflow.path.parent, job.bundle)
                if "://" in place or "{{" in place:
                    continue
                key = place, job.sha256
                if key not in checked:
                    checked[key] = None
                    copy = Path(scratch, "copy")
                    try:
                        cache.working_copy(place, copy, sha256=job.sha256)
                        remove_tree(copy)
                    except (BatchyError, OSError) as error:
                        checked[key] = str(error)
                    except Exception as error:  # an error in one bundle must not hide those in other bundles
                        checked[key] = unexpected(place, error).message
                if (message := checked[key]) is not None:
                    yield workflow.path, Violation(("jobs", name, "bundle"), Code.INVALID_BUNDLE, message)
