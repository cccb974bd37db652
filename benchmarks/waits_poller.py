# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A wait as the seed's waitsy does it, for `waits.py`: a process that asks the server until all jobs succeeded today.

Written from the seed's description, with the standard library alone: ``waits_poller.py URL SECONDS NOTES``.
"""

import json
import os
import struct
import sys
import time
import urllib.request


def main() -> None:
    url, seconds, notes = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, struct.pack("<cd", b"s", time.monotonic()))
    while True:
        with urllib.request.urlopen(url) as reply:
            jobs = json.load(reply).values()
        today = time.strftime("%Y-%m-%d", time.gmtime())
        if all(job["status"] == "success" and job.get("batch_end", "").startswith(today) for job in jobs):
            break
        time.sleep(seconds)
    os.write(file, struct.pack("<cd", b"f", time.monotonic()))


if __name__ == "__main__":
    main()
