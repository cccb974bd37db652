# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How the processes of a test run share the tests, and what the terminal shows meanwhile."""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from grouping import group, is_quick
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SHOWN_SECONDS = 10.0
"""A test that takes longer is shown with its name as soon as it has ended."""


class Groups(LoadScopeScheduling):
    """Gives the next group of tests to the next process that is free.

    What takes long begins first, since the last group to end decides when all are done. One process begins with quick
    groups instead, so that the first results come within seconds. It leaves half of them for the end, when long groups
    can no longer keep all processes busy.
    """

    _first: deque[str] | None = None
    """Quick groups that the first process begins with."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if self._first is None:
            quick = [scope for scope, tests in self.workqueue.items() if is_quick(next(iter(tests)))]
            self._first = deque(quick[: len(quick) // 2])
        while self._first and self._first[0] not in self.workqueue:
            self._first.popleft()
        if self._first and node is self.nodes[0]:
            self.workqueue.move_to_end(self._first.popleft(), last=False)
        super()._assign_work_unit(node)


def processor_seconds(report: pytest.TestReport) -> float:
    """Return what a test and the programs that it has waited for took of a processor. It is in the last report."""
    return float(getattr(report, "processor_seconds", 0.0))


def _processor_time() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class ProcessorTime:
    """Adds its processor time to the last report of each test: with two cores for all, that is what counts."""

    _began = pytest.StashKey[float]()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note where the test begins."""
        item.stash[self._began] = _processor_time()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the time into the report."""
        report = yield
        if call.when == "teardown" and self._began in item.stash:
            report.processor_seconds = _processor_time() - item.stash[self._began]
        return report


@dataclass
class _File:
    """What one process has tested in the file that it is at."""

    name: str
    tests: int = 0
    failed: int = 0
    seconds: float = 0.0
    processor: float = 0.0


class Progress:
    """Shows each file when a process is done with it, and each test at once that has failed or taken long.

    With several processes, pytest itself shows only dots.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._files: dict[Any, _File] = {}
        self._session: pytest.Session | None = None
        self._ended = 0

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session, which knows how many tests there are, and leave out pytest's own percentages."""
        self._session = session
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and terminal.verbosity == 0 and self._config.getoption("numprocesses", None):
            terminal._show_progress_info = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show no dot for a test that has passed, where its file is shown."""
        shown = hasattr(report, "node") and self._config.get_verbosity() == 0
        if shown and report.passed and report.when == "call" and not hasattr(report, "wasxfail"):
            return "passed", "", "PASSED"
        return None

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test to what its process has done."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None or terminal.verbosity != 0:
            return
        when = "" if report.when == "call" else f" ({report.when})"
        if report.failed or report.duration > SHOWN_SECONDS:
            said = "FAILED " if report.failed else ""
            self._show(f"{report.duration:6.1f} s {said}{report.nodeid}{when}")
        node = getattr(report, "node", None)
        if node is None:
            return
        name = report.nodeid.partition("::")[0]
        file = self._files.get(node)
        if file is None or file.name != name:
            self._end(file)
            file = self._files[node] = _File(name)
        file.tests += report.when == "call" or (report.when == "setup" and not report.passed)
        file.failed += report.failed
        file.seconds += report.duration
        file.processor += processor_seconds(report)

    def pytest_sessionfinish(self) -> None:
        """Show the files that were the last ones."""
        for file in self._files.values():
            self._end(file)
        self._files.clear()

    def _end(self, file: _File | None) -> None:
        if file is None:
            return
        self._ended += file.tests
        collected = self._session.testscollected if self._session else 0
        percent = f"[{self._ended * 100 // collected:3}%] " if collected else ""
        failed = f", {file.failed} failed" if file.failed else ""
        times = f"{file.seconds:6.1f} s {file.processor:6.1f} cpu"
        self._show(f"{percent}{times}  {file.name}: {file.tests} tests{failed}")

    def _show(self, line: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        terminal.ensure_newline()
        terminal.write_line(line)
