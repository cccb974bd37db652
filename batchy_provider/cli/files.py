# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy schema``, ``render`` and ``add``: a workflow file's schema, its graph, one more job."""

from __future__ import annotations

import argparse
import difflib
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from batchy_provider.cli.context import EXIT_OK, Commands, Context, UsageError, add_command
from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.config.workflow import Workflow


def add_commands(commands: Commands) -> None:
    """Add this group's commands to the parser."""
    schema = add_command(
        commands,
        "schema",
        print_schema,
        "print the JSON Schema of workflow files, for editors",
        "batchy schema > cfg/.schema.json     # then in a file: # yaml-language-server: $schema=.schema.json",
    )
    kind = schema.add_mutually_exclusive_group()
    kind.add_argument("--defaults", action="store_true", help="the schema of _defaults.yaml, which has no jobs")
    kind.add_argument("--calendars", action="store_true", help="the schema of _calendars.yaml")

    rendering = add_command(
        commands,
        "render",
        render,
        "show the graph of a workflow's DAG, without Airflow",
        "batchy render sales\nbatchy render sales --format svg > sales.svg\n"
        "batchy render sales --format dot | dot -Tpng > sales.png",
    )
    rendering.add_argument("workflow")
    rendering.add_argument(
        "--format", choices=("text", "dot", "svg"), help="text (default), a Graphviz file, or a picture"
    )

    adding = add_command(
        commands,
        "add",
        add,
        "add a job to a workflow's file; the rest of the file does not change",
        "batchy add sales archive --bash 'gzip out/*.csv'\n"
        "batchy add sales audit --after extract --bundle audit --input extract --set retries=2 --set params.level=3",
    )
    adding.add_argument("workflow")
    adding.add_argument("job")
    what = adding.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", metavar="PATH", help="folder or zip to run")
    what.add_argument("--bash", metavar="TEXT", help="shell commands to run")
    what.add_argument("--operator", metavar="CLASS", help="full Python path of an Airflow operator")
    adding.add_argument(
        "--after",
        action="append",
        metavar="JOB",
        help="the job runs after this one; may be repeated (default: the last job)",
    )
    adding.add_argument("--input", metavar="JOB", help="the script reads the output of this job")
    adding.add_argument(
        "--when", choices=("succeeded", "failed", "done"), help="run only if the jobs before it have this result"
    )
    adding.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other key, with its value in YAML; also params.x=1",
    )
    adding.add_argument("--dry-run", action="store_true", help="show the change, write nothing")


def print_schema(context: Context, arguments: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    from batchy_provider.config.schema import calendars_schema_text, schema_text

    text = calendars_schema_text() if arguments.calendars else schema_text(defaults=arguments.defaults)
    sys.stdout.write(text)
    return EXIT_OK


def render(context: Context, arguments: argparse.Namespace) -> int:
    """Show a workflow's graph."""
    from batchy_provider.config.graph import as_dot, as_svg, as_text, graph_of
    from batchy_provider.config.reader import read_workflow

    workflow = read_workflow(context.cfg, arguments.workflow)
    if arguments.format is None and not context.output.is_table:
        nodes = graph_of(workflow)
        context.output.data({name: {**asdict(node), "upstream": list(node.upstream)} for name, node in nodes.items()})
        return EXIT_OK
    draw = {"dot": as_dot, "svg": as_svg}.get(arguments.format, as_text)
    context.output.document(draw(workflow))
    return EXIT_OK


def add(context: Context, arguments: argparse.Namespace) -> int:
    """Add a job to a file."""
    from batchy_provider.config.editing import add_job, check_edited, replace_text
    from batchy_provider.config.reader import read_workflow

    workflow = read_workflow(context.cfg, arguments.workflow)
    if workflow.model is None:
        raise ConfigError(f"{workflow.path} is a file of the original Batchy. Convert it first: batchy convert")
    if arguments.job in workflow.model.jobs:
        raise ConfigError(f"{workflow.path} has a job {arguments.job!r} already")
    with workflow.path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    edited = add_job(text, arguments.job, _job(arguments, workflow), is_json=workflow.path.suffix == ".json")
    check_edited(context.cfg, workflow.path, edited)
    if arguments.dry_run:
        name = str(workflow.path)
        diff = difflib.unified_diff(text.splitlines(True), edited.splitlines(True), name, name)
        context.output.document("".join(diff))
        return EXIT_OK
    replace_text(workflow.path, edited)
    context.output.line(f"{workflow.path}: added the job {arguments.job}")
    return EXIT_OK


def _job(arguments: argparse.Namespace, workflow: Workflow) -> dict[str, Any]:
    """Return the keys of the new job, in the usual order."""
    assert workflow.model is not None
    job: dict[str, Any] = {}
    holders = [name for name, job in workflow.model.jobs.items() if not job.is_handler]
    # By default a job runs after the last one, and a handler without `after` watches all jobs.
    if arguments.after is not None and (arguments.after != holders[-1:] or arguments.when == "failed"):
        job["after"] = arguments.after
    for key in ("when", "bundle", "bash", "operator", "input"):
        if (value := getattr(arguments, key)) is not None:
            job[key] = value
    for setting in arguments.set:
        _set(job, setting)
    return job


def _set(job: dict[str, Any], setting: str) -> None:
    from batchy_provider.config.document import DocumentError, parse

    path, equals, text = setting.partition("=")
    if not equals or not all(path.split(".")):
        raise UsageError(f"--set {setting}: expected KEY=VALUE")
    try:
        value = parse(text).data if text.strip() else ""
    except DocumentError as error:
        raise UsageError(f"--set {setting}: {error}") from None
    *parents, last = path.split(".")
    place = job
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {setting}: {parent} is not a mapping")
    place[last] = value
