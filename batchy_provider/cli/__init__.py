# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The ``batchy`` command line: one module per group of commands, each a thin face on the store."""
