# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Everything that can go wrong in the words of a user; faces show these, never a traceback of ours."""

from __future__ import annotations


class BatchyError(Exception):
    """Base of all errors that this package raises on purpose; its text is meant for the user."""
