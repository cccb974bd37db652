# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The rules of batches, as pure functions (DESIGN, section 3).

Each takes what is stored, the wish and the time, and returns the answer and what is to be written. No
Redis, no Airflow, no clock: whoever wants to know whether a window can be lost or loaded twice reads

- `windows`: where a job's next window starts,
- `opening`: who may open, and which window it gets,
- `closing`: what a result does to the state,
- `steering`: rewind, load anew, switch jobs off and on.
"""

from __future__ import annotations

from batchy_provider.batches.rules.closing import close_batch
from batchy_provider.batches.rules.opening import open_batch
from batchy_provider.batches.rules.steering import load, set_window, skip_job, switch

__all__ = ["close_batch", "load", "open_batch", "set_window", "skip_job", "switch"]
