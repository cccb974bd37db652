# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The archive: a copy of each workflow's state and closed batches in the result store, to restore a lost Redis.

- Before an opening, `archive_guard` compares Redis with the archive, and refuses the opening if Redis has lost state.
- After a change, `archive_entry` says what the archive must hold, and `archive_writer` writes it to `archive_files`.
- To restore, `redis_scan` reads Redis, `comparison` finds what is missing there, and `restoring` brings it back.
"""
