# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Who calls a command: the process that holds a batch while it lives, for faces that run on the caller's machine."""

from __future__ import annotations

from batchy_provider.state.processes import ancestors, calling_process, this_process

__all__ = ["ancestors", "calling_process", "this_process"]
