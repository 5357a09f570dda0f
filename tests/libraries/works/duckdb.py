"""duckdb: a parser and planner in C++ that recurse, and threads of its own."""

import duckdb

DISTRIBUTION = "duckdb"


def small():
    return duckdb.connect().execute("select 40 + 2, upper('a')").fetchall()


def heavy():
    db = duckdb.connect()
    db.execute("create table t as select i % 17 k, i * 0.5 v from range(200000) r(i)")
    terms = " + ".join(map(str, range(900)))
    nested = "(" * 150 + "1" + ")" * 150
    recursive = """with recursive n(i) as (select 1 union all select i + 1 from n
        where i < 300) select sum(i) from n"""
    return [
        db.execute(
            "select k, sum(v), median(v) from t group by k order by k"
        ).fetchall(),
        db.execute(f"select {terms}, {nested}").fetchall(),
        db.execute(recursive).fetchall(),
        db.execute(
            "select k, v, row_number() over (partition by k order by v desc) n "
            "from t qualify n < 3 order by all"
        ).fetchall(),
    ]


def exception():
    duckdb.connect().execute("select * from missing")
