# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Execute one request: fetch the bundle, run its script, store its output. Every run of a script uses this."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from batchy_provider.bundles.bundle_cache import BundleCache, FetchedBundle
from batchy_provider.bundles.errors import BundleError, ResultNotStoredError, is_full_disk
from batchy_provider.bundles.execution_outcome import SKIP_EXIT_CODE, ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.finished_run import FinishedRun, utc_now
from batchy_provider.bundles.job_lock import hold_job_lock
from batchy_provider.bundles.live_output import LiveView, Show
from batchy_provider.bundles.masking import Masker, Secrets
from batchy_provider.bundles.output_folder import EXACT_STDOUT, FILES, OutputFolder, names_below
from batchy_provider.bundles.output_values import masked_values
from batchy_provider.bundles.progress_lines import Progress, Throttle
from batchy_provider.bundles.result_draft import Draft
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.run_output import Copy
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.run_result import RunResult
from batchy_provider.bundles.runner import Runner
from batchy_provider.bundles.scratch import ScratchFolder
from batchy_provider.bundles.script import SCRIPT, ScriptError, bash_options
from batchy_provider.bundles.script_context import write_params_file
from batchy_provider.bundles.script_environment import build_environment, check_arguments

_MOST_NAMES = 20_000
_WAITING = (
    "Another script of this job still runs on this machine: of a try whose worker was killed, or of a batch that was "
    "taken over. Waiting until it has ended."
)


class Execution:
    """Executes one request once.

    :param cache: where bundles are unpacked.
    :param results: where the result is stored.
    :param work: local folder for working copies.
    :param secrets: texts to mask in all that is shown and stored, except in the output that a later job reads.
    :param show: called with the output in lines, see :data:`batchy_provider.bundles.live_output.Show`.
    :param note: called with sentences about waiting if there is no ``show``.
    :param copy: called with the output in bytes as they come, see :class:`batchy_provider.bundles.runner.Runner`.
    :param outer: a folder around ``work``, which is removed too if this process is killed.
    :param progress: called with the script's progress, at most once a second.
    :raises BundleError: the request has a bundle and a command, or neither.
    """

    def __init__(
        self,
        request: ExecutionRequest,
        *,
        cache: BundleCache,
        results: ResultStore,
        work: Path,
        secrets: Secrets = tuple,
        show: Show | None = None,
        note: Callable[[str], None] | None = None,
        copy: Copy | None = None,
        outer: ScratchFolder | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        if (request.bundle is None) == (request.command is None):
            raise BundleError("Give a bundle or a command, one of the two.")
        self._request = request
        self._cache = cache
        self._results = results
        self._work = work
        self._secrets = secrets
        self._show = show
        self._note = note
        self._copy = copy
        self._outer = outer
        self._progress = progress
        self._runner: Runner | None = None
        self._cancelled: str | None = None
        self._exit_code: int | None = None
        self.running = False
        """The script is being started or is running. `cancel` stops it in order."""
        self.has_run = False
        """The script has ended. Its result is being stored, or is stored."""

    def cancel(self, reason: str = "cancelled", *, at_once: bool = False) -> None:
        """Stop the script. Safe in a signal handler and from any thread, before, during and after the run.

        :param reason: a word or sentence for the reason of the outcome.
        :param at_once: without grace between TERM and KILL.
        """
        self._cancelled = self._cancelled or reason
        if self._runner is not None:
            self._runner.cancel(reason, at_once=at_once)

    def run(self) -> ExecutionOutcome:
        """Fetch the bundle, run its script and store the result.

        :returns: how it ended. A script that fails is an outcome, not an error.
        :raises BundleError: the bundle was refused, or the script could not be run.
        :raises ResultNotStoredError: the script has run, and its result could not be stored.
        """
        request = self._request
        try:
            with ScratchFolder(self._work) as scratch, self._results.draft(request.identity, scratch.path) as draft:
                bundle = scratch.path / "bundle"
                command, fetched = self._prepare(bundle)
                files_before = names_below(bundle, _MOST_NAMES)
                output = OutputFolder(draft.script_folder)
                started = utc_now()
                with self._job_lock() as locks:
                    result = self._run(command, scratch, draft, output, locks)
                self._exit_code = result.exit_code
                new_files = names_below(bundle, len(files_before) + _MOST_NAMES) - files_before
                return self._store(draft, output, fetched, result, started, sorted(new_files))
        except (OSError, BundleError) as error:
            is_full = is_full_disk(error)
            # A runner that cannot write the script's output stops the script.
            self.has_run = self.has_run or (is_full and self._runner is not None)
            text = self._full_disk_text(error) if is_full else str(error)
            if self.has_run:
                raise ResultNotStoredError(text, self._exit_code) from error
            if not is_full:
                raise
            raise BundleError(text) from error

    def _full_disk_text(self, error: Exception) -> str:
        return (
            f"A disk is full: {error}. Nothing of this execution is stored. It needs space in the folder of bundles "
            f"and working copies, {self._work.parent}, and in the result store, {self._results.url}. Free some space "
            "and run the job again: it gets the same window."
        )

    def _prepare(self, folder: Path) -> tuple[list[str], FetchedBundle | None]:
        """Make the working copy; returns the command that runs its script, and the bundle."""
        request, fetched = self._request, None
        if request.bundle is not None:
            fetched = self._cache.working_copy(request.bundle, folder, sha256=request.sha256)
        else:
            folder.mkdir()
            (folder / SCRIPT).write_bytes(f"{request.command}\n".encode("utf-8", "surrogateescape"))
        try:
            options = bash_options((folder / SCRIPT).read_bytes(), SCRIPT if fetched else "The command")
        except ScriptError as error:
            raise BundleError(str(error)) from None
        return ["bash", *options, SCRIPT, *check_arguments(request.args)], fetched

    @contextlib.contextmanager
    def _job_lock(self) -> Iterator[tuple[int, ...]]:
        """Wait until no other script of the job runs; yields the descriptor of the lock."""
        file = self._request.job_lock
        if file is None:
            yield ()
            return
        with hold_job_lock(file, waiting=self._say_waiting, given_up=lambda: bool(self._cancelled)) as lock:
            yield () if lock is None else (lock,)

    def _say_waiting(self) -> None:
        if self._show is not None:
            self._show("note", _WAITING)
        elif self._note is not None:
            self._note(_WAITING)

    def _run(
        self,
        command: list[str],
        scratch: ScratchFolder,
        draft: Draft,
        output: OutputFolder,
        locks: tuple[int, ...],
    ) -> RunResult:
        request, folder = self._request, scratch.path
        masker = Masker(self._secrets())
        write_params_file(request.script_context, folder / "params.json")
        variables = {
            **request.script_context.variables(),
            "BATCHY_PARAMS": str(folder / "params.json"),
            "BATCHY_OUTPUT": str(output.output),
            "BATCHY_OUTPUT_DIR": str(output.files),
        }
        stdin = self._fetch_input(folder / "input")
        if stdin is not None:
            variables["BATCHY_INPUT"] = str(stdin)
        where = f"the result files ({request.identity.command(self._results.url)})"
        run_request = RunRequest(
            command=command,
            cwd=folder / "bundle",
            env=build_environment(variables, env=request.env, inherit=request.inherit_env),
            stdout=draft.folder / "stdout",
            stderr=draft.folder / "stderr",
            exact_stdout=draft.folder / EXACT_STDOUT if request.output_is_read else None,
            stdin=stdin,
            timeout=request.timeout,
            grace=request.kill_grace,
            background_timeout=request.background_timeout,
            good_codes=(0, SKIP_EXIT_CODE),
            limits=request.limits,
            max_output_bytes=request.max_output_bytes,
        )
        self._runner = Runner(
            run_request,
            masker=masker,
            view=LiveView(self._show, limit_bytes=request.log_limit_bytes, where=where) if self._show else None,
            progress=Throttle(_masked(self._progress, masker)) if self._progress else None,
            note=self._note,
            copy=self._copy,
            scratch=folder if self._outer is None else self._outer.path,
            lock_fds=(scratch.lock_fd, *(() if self._outer is None else (self._outer.lock_fd,)), *locks),
        )
        if self._cancelled:
            self._runner.cancel(self._cancelled)
        self.running = True
        try:
            result = self._runner.run()
            self.has_run = True  # set before `running` is cleared: a signal may come between two lines
            return result
        finally:
            self.running = False

    def _fetch_input(self, path: Path) -> Path | None:
        """Write the input to a file; None if the request has no input."""
        request = self._request
        if request.input is not None:
            self._results.fetch(request.input, path)
        elif request.input_bytes is not None:
            path.write_bytes(request.input_bytes)
        elif request.input_file is not None:
            shutil.copyfile(request.input_file, path)
        else:
            return None
        return path

    def _store(
        self,
        draft: Draft,
        output: OutputFolder,
        fetched: FetchedBundle | None,
        result: RunResult,
        started: str,
        new_files: list[str],
    ) -> ExecutionOutcome:
        masker = Masker(self._secrets())  # once more: the script may have run for hours
        collected = output.collect(draft.folder, masker)
        values, problem = masked_values(draft.folder / FILES, masker)
        with contextlib.suppress(OSError):  # it has files
            (draft.folder / FILES).rmdir()
        finished = FinishedRun(
            request=self._request,
            result=result,
            started=started,
            fetched=fetched,
            collected=collected,
            values=values,
            values_problem=problem,
            new_files=new_files,
            masker=masker,
        )
        return finished.outcome(draft.commit(finished.record))


def _masked(report: Callable[[Progress], None], masker: Masker) -> Callable[[Progress], None]:
    """Mask the message of a progress line again: in JSON, a secret may be written with escapes."""

    def report_masked(progress: Progress) -> None:
        report(replace(progress, message=masker.text(progress.message)) if progress.message else progress)

    return report_masked
