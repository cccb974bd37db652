# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
