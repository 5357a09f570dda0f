"""polars: a query engine in Rust, which calls functions in threads of its own."""

import warnings

import polars as pl
from hosts import pause

DISTRIBUTION = "polars"


def small():
    return pl.DataFrame({"a": [3, 1, 2]}).sort("a")["a"].to_list()


def _frame():
    n = 200_000
    return pl.DataFrame(
        {"key": [i * 7 % 13 for i in range(n)], "value": [i % 997 for i in range(n)]}
    )


def heavy():
    query = (
        _frame()
        .lazy()
        .with_columns((pl.col("value") * 2).alias("twice"))
        .filter(pl.col("key") != 5)
        .group_by("key")
        .agg(pl.col("twice").sum(), pl.col("value").median().alias("median"))
        .sort("key")
    )
    deep = pl.lit(0)
    for number in range(200):
        deep = deep + number
    joined = _frame().head(500).join(_frame().head(500), on="key")
    return [query.collect().rows(), pl.select(deep).item(), joined["value"].sum()]


def callback(number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a function of Python's is slow
        return (
            pl.LazyFrame({"a": [1, 2, 3]})
            .select(pl.col("a").map_elements(lambda v: pause() or v * number, pl.Int64))
            .collect()["a"]
            .to_list()
        )


def exception():
    _frame().lazy().select("missing").collect()
