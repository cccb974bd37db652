# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Find the workflows of a demo, and decide which of them it starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from batchy_provider.exceptions import ConfigError

EXAMPLES = ("crm_extract", "invoices", "sales", "stock")
"""The example workflows: a demo starts only these by itself."""
# Airflow reads only files that contain the words "airflow" and "dag".
LOADER = """\
# The Airflow DAGs of the workflows.
from batchy_provider.dag_factory import cfg_folder, load_dags

load_dags(cfg_folder(__file__), globals())
"""


def examples_folder() -> Path:
    """Return the folder of the example workflows, from the wheel or from the checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "examples" / "cfg", package.parent / "cfg"):
        if folder.is_dir():
            return folder
    raise ConfigError("this installation has no example workflows; name a folder of your own: batchy --cfg DIR demo")


def workflows_to_run(cfg: Path, dag_ids: list[str], *, named: list[str], exits: bool) -> list[str]:
    """Return the workflows that a demo unpauses and starts: the examples, and none that you wrote.

    :param cfg: folder of the workflow files.
    :param dag_ids: its workflows.
    :param named: workflows that the user asks for by name, instead.
    :param exits: the demo exits when all have run. In a folder without an example it then runs all workflows.
    :raises ConfigError: a named workflow does not exist, or a demo that exits has nothing to run.
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
    """Tell whether a folder contains the example of that name, and not another workflow with the same name."""
    try:
        return (cfg / f"{name}.yaml").read_bytes() == (shipped / f"{name}.yaml").read_bytes()
    except OSError:
        return False


def dags_of(cfg: Path, warn: Callable[[str], None]) -> list[str]:
    """Return the workflows of a folder that make DAGs. Errors in other files are only shown."""
    from batchy_provider.config.reader import read_folder

    if not cfg.is_dir():
        raise ConfigError(f"there is no folder {cfg} (--cfg, BATCHY_CFG)")
    found = read_folder(cfg)
    for diagnostic in found.diagnostics:
        warn(f"batchy: {diagnostic}")
    return [workflow.name for workflow in found.workflows.values() if workflow.has_dag]


def dags_folder(folder: Path, cfg: Path) -> Path:
    """Return the folder of DAG files: the one beside the workflows, or else the demo's own."""
    beside = cfg.resolve().parent / "dags"
    return beside if (beside / "batchy_dags.py").exists() else folder / "dags"


def write_loader(folder: Path, dags: Path) -> None:
    """Write the loader of DAGs, if the demo uses its own folder of DAG files."""
    if dags == folder / "dags":
        try:
            shutil.rmtree(dags, ignore_errors=True)
            dags.mkdir(mode=0o700)
            (dags / "batchy_dags.py").write_text(LOADER)
        except OSError as error:
            raise ConfigError(f"{folder} cannot be used: {error}. Choose another one with --folder") from error
