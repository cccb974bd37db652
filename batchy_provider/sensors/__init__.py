# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The sensor that waits for another workflow."""
