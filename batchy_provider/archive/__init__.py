# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive of closed batches beside Redis: what it holds, how it is written, how state is restored."""
