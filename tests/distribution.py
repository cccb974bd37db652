# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How the processes of a test run share the tests, and what the terminal shows meanwhile."""

from __future__ import annotations

import resource
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from grouping import AIRFLOWS_AT_ONCE, group, has_airflow, is_quick
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SHOWN_SECONDS = 10.0
"""A test that takes longer is shown with its name as soon as it has ended."""


class Groups(LoadScopeScheduling):
    """Gives the next group of tests to the next process that is free.

    What takes long begins first, since the last group to end decides when all are done. Only some processes test on a
    whole Airflow at the same time, see `AIRFLOWS_AT_ONCE`: an Airflow needs the processor for as long as it runs, also
    when its tests only wait. The other processes begin with quick groups, so that the first results come within
    seconds. They leave half of them for the end, when long groups can no longer keep all processes busy.
    """

    _early: int | None = None
    """How many quick groups are left to begin with."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if self._early is None:
            self._early = sum(map(is_quick, map(_first, self.workqueue.values()))) // 2
        self.workqueue.move_to_end(self._next(node), last=False)
        super()._assign_work_unit(node)

    def _next(self, node: WorkerController) -> str:
        """Return the group that a process gets next."""
        on_airflow = {each for each, units in self.assigned_work.items() if any(map(_is_on_airflow, units.values()))}
        if node in on_airflow or len(on_airflow) < AIRFLOWS_AT_ONCE:
            return next(iter(self.workqueue))
        others = [scope for scope, tests in self.workqueue.items() if not has_airflow(_first(tests))]
        quick = [scope for scope in others if is_quick(_first(self.workqueue[scope]))]
        if self._early and quick:
            self._early -= 1
            return quick[0]
        return next(iter(others or self.workqueue))


def _first(tests: dict[str, bool]) -> str:
    return next(iter(tests))


def _is_on_airflow(tests: dict[str, bool]) -> bool:
    """Tell whether a group, some of whose tests have ended, still needs a whole Airflow."""
    return has_airflow(_first(tests)) and not all(tests.values())


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
