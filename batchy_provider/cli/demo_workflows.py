# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which workflows a demo has, and which of them it starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from batchy_provider.exceptions import ConfigError

EXAMPLES = ("crm_extract", "sales", "stock")
"""The workflows that are shipped: all that a demo starts by itself."""
# Airflow opens only files that hold the words "airflow" and "dag".
LOADER = """\
# The Airflow DAGs of the workflows.
from batchy_provider.dag_factory import cfg_folder, load_dags

load_dags(cfg_folder(__file__), globals())
"""


def examples_folder() -> Path:
    """Folder of the example workflows: what the wheel brought, or the checkout's."""
    package = Path(__file__).parents[1]
    for folder in (package / "examples" / "cfg", package.parent / "cfg"):
        if folder.is_dir():
            return folder
    raise ConfigError("this installation has no example workflows; name a folder of your own: batchy --cfg DIR demo")


def workflows_to_run(cfg: Path, dag_ids: list[str], *, named: list[str], exits: bool) -> list[str]:
    """
    Return what a demo unpauses and starts: the examples, and nothing that somebody else has written.

    :param cfg: folder of the workflow files.
    :param dag_ids: its workflows.
    :param named: those that the caller asks for by name, instead.
    :param exits: whether the demo leaves when they have run. A folder without an example is then run as a whole: it
        was named for that.
    :raises ConfigError: one that is named is not there, or nothing is left to run for a demo that exits.
    """
    unknown = [name for name in named if name not in dag_ids]
    if unknown:
        raise ConfigError(f"{cfg} has no workflow {', '.join(unknown)}, only {', '.join(dag_ids) or 'none'}")
    shipped = examples_folder()
    own = cfg.resolve() != shipped.resolve()
    found = named or [name for name in dag_ids if name in EXAMPLES and (not own or _is_copy(cfg, shipped, name))]
    if not found and exits and own:
        found = dag_ids
    if not found and exits:
        raise ConfigError(f"{cfg} holds no workflow that makes a DAG: nothing to run")
    return list(dict.fromkeys(found))


def _is_copy(cfg: Path, shipped: Path, name: str) -> bool:
    """Whether a folder holds the example of that name, and not a workflow of somebody's own that is called so."""
    try:
        return (cfg / f"{name}.yaml").read_bytes() == (shipped / f"{name}.yaml").read_bytes()
    except OSError:
        return False


def dags_of(cfg: Path, warn: Callable[[str], None]) -> list[str]:
    """Workflows of a folder that make DAGs; errors in other files are shown, and do not stop these."""
    from batchy_provider.config.reader import read_folder

    if not cfg.is_dir():
        raise ConfigError(f"there is no folder {cfg} (--cfg, BATCHY_CFG)")
    found = read_folder(cfg)
    for diagnostic in found.diagnostics:
        warn(f"batchy: {diagnostic}")
    return [workflow.name for workflow in found.workflows.values() if workflow.has_dag]


def dags_folder(folder: Path, cfg: Path) -> Path:
    """Folder of DAG files: that beside the workflows, or one of the demo's own."""
    beside = cfg.resolve().parent / "dags"
    return beside if (beside / "batchy_dags.py").exists() else folder / "dags"


def write_loader(folder: Path, dags: Path) -> None:
    """Write the loader's two lines into the demo's own folder of DAG files, if that is the one."""
    if dags == folder / "dags":
        try:
            shutil.rmtree(dags, ignore_errors=True)
            dags.mkdir(mode=0o700)
            (dags / "batchy_dags.py").write_text(LOADER)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be used: {error}. Choose another one with --folder") from error
