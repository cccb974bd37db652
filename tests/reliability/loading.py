# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
The scripts of the nights, and the tables they load: a source that knows which rows there are, and what came of it.

Each workflow has a SQLite file of its own. Its source has one row every half second, made beforehand; a window ends at
Redis' now, so no script can see a row of the future. A script loads its window in one transaction, as real loaders do,
and the same transaction writes the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

ROW_EVERY = timedelta(seconds=0.5)

TABLES = """
create table source (at text primary key);
create table target (job text, at text, batch_id integer);
create index target_at on target (job, at);
create table ledger (job text, batch_id integer, from_date text, to_date text, attempt integer, run_id text,
                     rows integer, started text, committed text);
create table overlaps (job text, at text, mine text, other text);
create table mistakes (job text, batch_id integer, what text);
"""

# Its lock is held as long as any process of the script lives, and by whom stands in it.
SCRIPT = """set -eu
exec 9<>"$TABLES/$BATCHY_WORKFLOW.$BATCHY_JOB.lock"
exec "$PYTHON" -S load.py
"""

LOAD = """import fcntl, json, os, random, sqlite3, sys, time
from datetime import datetime, timezone

def now():
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()

job, start, end = (os.environ["BATCHY_" + name] for name in ("JOB", "FROM_DATE", "TO_DATE"))
batch_id, attempt, run_id = (os.environ["BATCHY_" + name] for name in ("BATCH_ID", "ATTEMPT", "RUN_ID"))
path = os.environ["TABLES"] + "/" + os.environ["BATCHY_WORKFLOW"] + ".db"
db = sqlite3.connect(path, timeout=60, isolation_level=None)
mine = json.dumps([batch_id, start, end, attempt, run_id, os.getpid()])
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    other = os.pread(9, 1000, 0).decode()
    db.execute("insert into overlaps values (?, ?, ?, ?)", (job, now(), mine, other))
else:
    os.ftruncate(9, 0)
    os.pwrite(9, mine.encode(), 0)
if "BATCHY_INPUT" in os.environ:
    handed = json.load(open(os.environ["BATCHY_INPUT"]))
    if handed != [batch_id, start, end]:
        db.execute("insert into mistakes values (?, ?, ?)", (job, batch_id, f"was handed {handed}, is {mine}"))
        sys.exit(f"the output of another window was handed over: {handed}")
started = now()
time.sleep(random.uniform(*json.loads(os.environ.get("BEFORE", "[0.1, 1]"))))
db.execute("begin immediate")
until = end if os.environ.get("DELETE") == "window" else "9999"
db.execute("delete from target where job = ? and at >= ? and at < ?", (job, start, until))
rows = db.execute(
    "insert into target select ?, at, ? from source where at >= ? and at < ?", (job, batch_id, start, end)
).rowcount
db.execute(
    "insert into ledger values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    (job, batch_id, start, end, attempt, run_id, rows, started, now()),
)
db.execute("commit")
# Loaded, and not yet known to be: the moment at which a kill makes a loader do it again.
time.sleep(random.uniform(0, 0.7))
print(json.dumps([batch_id, start, end]))
"""


class Tables:
    """
    The tables of one workflow.

    :param folder: shared by all workflows
    """

    def __init__(self, folder: Path, workflow: str) -> None:
        self.path = folder / f"{workflow}.db"
        self.workflow = workflow

    def make(self, begin: datetime, hours: float) -> None:
        """Make them, with all rows that the source will ever have."""
        count = int(timedelta(hours=hours) / ROW_EVERY)
        with self.connected() as db:
            db.execute("pragma journal_mode = wal")
            db.executescript(TABLES)
            rows = ((stamp(begin + number * ROW_EVERY),) for number in range(count))
            db.executemany("insert into source values (?)", rows)

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=60)
        try:
            with db:
                yield db
        finally:
            db.close()

    def lost_and_doubled(self, job: str, until: str) -> tuple[int, int, int]:
        """How many rows of the source before a date a job has loaded once, never, and more than once."""
        with self.connected() as db:
            counts = [
                count
                for (count,) in db.execute(
                    "select (select count(*) from target where job = ? and target.at = source.at) from source"
                    " where at < ?",
                    (job, until),
                )
            ]
        return counts.count(1), counts.count(0), sum(1 for count in counts if count > 1)

    def committed(self) -> set[tuple[str, int, str, str]]:
        """Job, batch, and window of every load."""
        with self.connected() as db:
            return set(db.execute("select job, batch_id, from_date, to_date from ledger"))

    def loads(self) -> int:
        """How often anything was loaded."""
        with self.connected() as db:
            return int(db.execute("select count(*) from ledger").fetchone()[0])

    def overlaps(self) -> list[str]:
        """Scripts of one job that ran at the same time."""
        with self.connected() as db:
            return [
                f"{self.workflow}.{job}: {mine} beside {other}"
                for job, _, mine, other in db.execute("select * from overlaps")
            ]

    def mistakes(self) -> list[str]:
        """What scripts themselves found wrong."""
        with self.connected() as db:
            return [f"{self.workflow}.{job}: {what}" for job, _, what in db.execute("select * from mistakes")]


def stamp(moment: datetime) -> str:
    """A date as windows have it, so that texts compare as dates do."""
    return moment.isoformat(timespec="microseconds")
