# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check the text and the arguments of a job's script."""

from __future__ import annotations

from collections.abc import Iterator

from batchy_provider.bundles.script import script_problem
from batchy_provider.bundles.script_environment import text_problem
from batchy_provider.config.diagnostics import Code, Violation
from batchy_provider.config.jinja import template_violations
from batchy_provider.config.job_model import Job


def check_script(name: str, job: Job) -> Iterator[Violation]:
    """Yield what bash or the kernel would refuse when the job runs."""
    path = ("jobs", name)
    if job.bash and (why := script_problem(job.bash.encode("utf-8", "surrogatepass"), "The command")):
        yield Violation((*path, "bash"), Code.INVALID_SCRIPT, why)
    if isinstance(job.args, dict):
        yield Violation(
            (*path, "args"),
            Code.WRONG_TYPE,
            "expected a list of arguments of the script, such as [eu, --full]",
            at_key=True,
        )
    for index, argument in enumerate(job.script_args):
        if why := text_problem(argument):
            yield Violation((*path, "args", index), Code.UNSTORABLE, f"the argument {why}")
    yield from template_violations(job.script_args, (*path, "args"))
