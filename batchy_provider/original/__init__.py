# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What exists only for the original Batchy server: its history in Redis, and its output formats."""
