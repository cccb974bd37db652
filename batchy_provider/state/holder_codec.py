# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Read and write the JSON of holders and leases."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from batchy_provider.core.dates import parse_date
from batchy_provider.core.holders import CallingProcess, Holder, Lease, ProcessId
from batchy_provider.core.typed_data import FormError, build
from batchy_provider.state.stored_values import read_field

LEASE = "lease"
_PROCESS = "process"


@dataclass(frozen=True, slots=True)
class _Process:
    """JSON form of `CallingProcess`: the chain is a list of pid and start."""

    host: str
    place: str
    chain: list[list[int]]


def load_holder(data: Any) -> Holder:
    """Read a holder, also one that an earlier release has written.

    :raises FormError: if it has another form.
    """
    if not isinstance(data, dict) or _PROCESS not in data:
        return build(Holder, data)
    holder = build(Holder, {name: value for name, value in data.items() if name != _PROCESS})
    process = data.get(_PROCESS)
    return holder if process is None else replace(holder, process=_load_process(process))


def _load_process(data: Any) -> CallingProcess:
    found = build(_Process, data)
    if not found.chain or any(len(pair) != 2 for pair in found.chain):
        raise FormError("has a chain without processes; expected pairs of pid and start")
    chain = tuple(ProcessId(pid, started) for pid, started in found.chain)
    return CallingProcess(host=found.host, place=found.place, chain=chain)


def dump_holder(holder: Holder) -> dict[str, Any]:
    """Return the JSON form that `load_holder` reads."""
    plain = {
        "dag_id": holder.dag_id,
        "run_id": holder.run_id,
        "by": holder.by,
        "token": holder.token,
        "deployment": holder.deployment,
    }
    found: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    if (process := holder.process) is not None:
        chain = [[each.pid, each.started] for each in process.chain]
        found[_PROCESS] = {"host": process.host, "place": process.place, "chain": chain}
    return found


def load_lease(key: str, text: str | None) -> Lease | None:
    """Read the lease on the open batch.

    :param key: the hash that has it, for the error.
    """

    def read(data: Any) -> Lease:
        found = build(Lease, data)
        parse_date(found.until)
        return found

    return None if text is None else read_field(key, LEASE, text, read)


def dump_lease(lease: Lease) -> dict[str, Any]:
    """Return the JSON form that `load_lease` reads."""
    return asdict(lease)
