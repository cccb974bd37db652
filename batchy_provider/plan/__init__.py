# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Foresight: what will happen to workflows, why something does not happen, and who is affected. Pure: facts in."""
