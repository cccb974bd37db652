# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The state of all workflows in Redis: connections, transactions, keys, and the store of batches."""
