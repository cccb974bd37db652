# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Operators: open and close a batch, and run a bundle or a command as a job."""
