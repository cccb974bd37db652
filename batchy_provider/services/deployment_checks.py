# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check whether the Airflows that use a Redis can be told apart."""

from __future__ import annotations

from collections.abc import Iterator

from batchy_provider.services.server_checks import Finding
from batchy_provider.state.store import Store

_SHOWN = 3


def deployments(store: Store) -> Iterator[Finding]:
    """Report workflows whose latest batch was opened by an Airflow without a name."""
    unnamed = [
        state.workflow
        for state in store.overview()
        if state.batch is not None
        and (record := state.batch.record) is not None
        and record.run is not None
        and record.deployment is None
    ]
    if unnamed:
        names = ", ".join(unnamed[:_SHOWN]) + (f" and {len(unnamed) - _SHOWN} more" if len(unnamed) > _SHOWN else "")
        yield Finding(
            "deployment",
            "warn",
            f"the last run of {names} was that of an Airflow without a name. Another Airflow on this Redis could take "
            "its run of the same id for it. Set [batchy] deployment in each Airflow",
        )
