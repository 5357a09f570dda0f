"""sqlite3, of the standard library: functions, aggregates, collations, handlers."""

import sqlite3

from hosts import pause

NAME = "sqlite3, standard library"
VERSION = sqlite3.sqlite_version


def _database():
    db = sqlite3.connect(":memory:")
    db.execute("create table t (a integer, b text)")
    rows = [(i * 7 % 101, f"text {i * 31 % 997}") for i in range(20_000)]
    db.executemany("insert into t values (?, ?)", rows)
    return db


def small():
    return sqlite3.connect(":memory:").execute("select 1 + 1, upper('a')").fetchall()


def heavy():
    db = _database()
    terms = " + ".join(str(n) for n in range(900))
    recursive = """with recursive n(i) as (select 1 union all select i + 1 from n
        where i < 50000) select sum(i) from n"""
    return [
        db.execute(
            "select a, count(*), max(b) from t group by a order by b"
        ).fetchall(),
        db.execute(f"select {terms}").fetchall(),
        db.execute(recursive).fetchall(),
        db.execute("select json_group_array(a) from t where a < 3").fetchall(),
    ]


class _Sum:
    def __init__(self):
        self.total = 0

    def step(self, value):
        pause()
        self.total += value

    def finalize(self):
        return self.total


def callback(number):
    db = sqlite3.connect(":memory:")
    db.executescript("create table t (a); insert into t values (3), (1), (2);")
    db.create_function("stop", 1, lambda value: pause() or value * (number + 1))
    db.create_collation("c", lambda a, b: pause() or (a < b) - (a > b))
    db.create_aggregate("total_of", 1, _Sum)
    db.set_progress_handler(lambda: pause() or 0, 20)
    return [
        db.execute("select stop(a) from t order by stop(a)").fetchall(),
        db.execute("select total_of(a) from t").fetchall(),
        db.execute("select cast(a as text) s from t order by s collate c").fetchall(),
    ]


def exception():
    def fail(value):
        pause()
        raise LookupError("the function has failed")

    db = sqlite3.connect(":memory:")
    db.create_function("fail", 1, fail)
    db.execute("select fail(1)").fetchall()
