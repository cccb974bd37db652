# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What this Airflow is called, and where it has workflow files, bundle cache, results and archive.

All of it is from Airflow's configuration.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchy_provider.hooks.airflow_identity import identity_of_task

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.archive.archiver import Archiver
    from batchy_provider.bundles.bundle_cache import BundleCache
    from batchy_provider.bundles.result_store import ResultStore


def deployment_name() -> str | None:
    """Return the name of this Airflow, different from those of other Airflows on the same Redis.

    It is ``[batchy] deployment``, else ``[api] base_url``, else ``[core] execution_api_server_url``. If none of them is
    set, it is the identity that this Airflow keeps in its database. None where nobody knows that: outside of a task,
    and before the scheduler of this version has started once.
    """
    return configured_name() or identity_of_task()


def configured_name() -> str | None:
    """Return the name of this Airflow by its configuration; None if it has none."""
    from airflow.providers.common.compat.sdk import conf

    named = (
        conf.get("batchy", "deployment", fallback=None),
        conf.get("api", "base_url", fallback=None),
        conf.get("core", "execution_api_server_url", fallback=None),
    )
    names = (str(name or "").strip().rstrip("/") for name in named)
    return next(filter(None, names), None)


def cfg_folder(loader_file: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the workflow files: ``[batchy] cfg_folder``, or ``cfg`` beside the DAGs folder.

    :param loader_file: ``__file__`` of a file in the DAGs folder; None: ``[core] dags_folder`` is used.
    """
    from airflow.configuration import conf

    if configured := conf.get("batchy", "cfg_folder", fallback=None):
        return Path(configured).expanduser()
    dags = Path(loader_file).resolve().parent if loader_file else Path(conf.get_mandatory_value("core", "dags_folder"))
    return dags.parent / "cfg"


def open_path(url: str) -> Any:
    """Return a local path as a `Path`; any other URL through Airflow's object storage and its connection.

    :raises BundleError: the URL is a web address, or Airflow has no provider for it.
    """
    from batchy_provider.bundles.confined_files import as_local_path

    if (place := as_local_path(url)) is not None:
        return Path(place)
    from batchy_provider.bundles.errors import BundleError
    from batchy_provider.config.bundle_paths import WEB_ADDRESS, is_web_address

    if is_web_address(url):
        raise BundleError(f"{WEB_ADDRESS.format(url=url)}.")
    from airflow.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(url)
        path.fs  # noqa: B018 - only this looks for the provider
    except ValueError as error:
        raise BundleError(
            f"{url} cannot be opened: {error}. Install the Airflow provider of that store, "
            "for s3:// apache-airflow-providers-amazon[s3fs]."
        ) from None
    return path


def result_store(url: str | None = None) -> ResultStore:
    """Return a result store.

    :param url: where it is; default: ``[batchy] results_url``.
    """
    from batchy_provider.bundles.result_store import ResultStore

    return ResultStore(url or _option("results_url", "results"), open_path)


def archive_files(url: str | None = None) -> ArchiveFiles:
    """Return the archive of closed batches in a result store.

    :param url: where the result store is; default: ``[batchy] results_url``.
    """
    from batchy_provider.archive.archive_files import ArchiveFiles

    return ArchiveFiles(url or _option("results_url", "results"), open_path)


def is_archive_on() -> bool:
    """Tell whether this deployment archives closed batches: ``[batchy] archive``."""
    from airflow.providers.common.compat.sdk import conf

    return bool(conf.getboolean("batchy", "archive", fallback=True))


def archive() -> Archiver | None:
    """Return the archiver of this deployment, or None if ``[batchy] archive`` is off. It opens nothing yet."""
    if not is_archive_on():
        return None
    from batchy_provider.archive.archiver import Archiver

    return Archiver(archive_files)


def bundle_cache() -> BundleCache:
    """Return the bundle cache of this machine, ``[batchy] bundle_cache``, with its limits.

    A task that Airflow runs as another user (`run_as_user`) uses a cache in that user's home. No user may run what
    another user can write.
    """
    from airflow.providers.common.compat.sdk import conf

    from batchy_provider.bundles.bundle_cache import BundleCache
    from batchy_provider.bundles.limits import MIB, UnpackLimits

    most = conf.getint("batchy", "bundle_max_mb", fallback=1024) * MIB
    place = Path(_option("bundle_cache", "bundles")).expanduser()
    if os.environ.get("_AIRFLOW__REEXECUTED_PROCESS") == "1":
        place = Path.home() / ".cache" / "batchy" / "bundles"
    return BundleCache(
        place,
        max_bytes=conf.getint("batchy", "bundle_cache_mb", fallback=2048) * MIB,
        limits=UnpackLimits(archive_bytes=most // 2, unpacked_bytes=most),
    )


def _option(name: str, folder: str) -> str:
    from airflow.providers.common.compat.sdk import conf

    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    value: str = conf.get("batchy", name, fallback="")
    return value or str(home / "batchy" / folder)
