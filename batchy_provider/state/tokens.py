# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Make random tokens, which the rules in core take as arguments: of requests and of revisions."""

from __future__ import annotations

import os

from batchy_provider.core.values import Holder


def revision_token() -> str:
    """Return the token of a new revision. It is short, since Redis holds many."""
    return os.urandom(4).hex()


def identify(holder: Holder) -> None:
    """Give a holder its token, if it has none, when its request is first sent.

    The token stays with the value: a caller whose reply was lost sends the same request again, and the token shows that
    the batch is its own.
    """
    if not holder.token:
        object.__setattr__(holder, "token", os.urandom(16).hex())
