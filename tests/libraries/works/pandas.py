"""pandas: group by, merge and the CSV parser; functions that it calls from Cython."""

import io

import pandas as pd
from hosts import pause

DISTRIBUTION = "pandas"


def _frame(n):
    numbers = range(n)
    return pd.DataFrame(
        {
            "key": [f"k{i * 7 % 13}" for i in numbers],
            "value": [i * 0.5 for i in numbers],
            "when": pd.date_range("2026-01-01", periods=n, freq="h"),
        }
    )


def small():
    return _frame(50).groupby("key")["value"].sum().to_dict()


def heavy():
    frame = _frame(50_000)
    again = pd.read_csv(io.StringIO(frame.to_csv(index=False)), parse_dates=["when"])
    merged = again.merge(
        frame.drop_duplicates("key"), on="key", suffixes=("", "_first")
    )
    daily = merged.set_index("when").resample("D")["value"].agg(["mean", "std", "max"])
    pivot = merged.pivot_table(index="key", values="value", aggfunc=["sum", "median"])
    rolled = merged["value"].rolling(50).quantile(0.3).dropna()
    return [
        len(merged),
        daily.iloc[:-1].to_numpy().tolist(),
        pivot.to_numpy().tolist(),
        float(rolled.sum()),
        merged.query("value > 100 and key == 'k3'")["value"].sum().item(),
    ]


def callback(number):
    frame = _frame(40)
    applied = frame["value"].map(lambda v: pause() or v * (number + 1))
    grouped = frame.groupby("key")["value"].apply(lambda g: pause() or g.max() + number)
    rolled = (
        frame["value"].rolling(4).apply(lambda w: pause() or w.sum() + number, raw=True)
    )
    read = pd.read_csv(
        io.StringIO("a,b\n1,2\n3,4\n"),
        converters={"a": lambda text: pause() or int(text) + number},
    )
    return [
        applied.tolist(),
        grouped.to_dict(),
        rolled.dropna().tolist(),
        read.to_dict("list"),
    ]


def exception():
    def fail(value):
        pause()
        raise LookupError(f"from below map: {value}")

    _frame(5)["value"].map(fail)
