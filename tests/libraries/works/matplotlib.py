"""matplotlib: Agg, the fonts and the vector formats."""

import hashlib
import io

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

DISTRIBUTION = "matplotlib"
matplotlib.rcParams["svg.hashsalt"] = "copool"


def _drawn(kind, n):
    figure, axes = plt.subplots(2, 2)
    x = np.linspace(0, 10, n)
    axes[0, 0].plot(x, np.sin(x), label="$\\frac{a}{b}$")
    axes[0, 0].legend()
    axes[0, 1].scatter(x, np.cos(x), c=x)
    axes[1, 0].contourf(np.outer(np.sin(x), np.cos(x)))
    axes[1, 1].hist(np.sin(x), bins=20)
    output = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    figure.savefig(output, format=kind, metadata=metadata)
    plt.close(figure)
    return hashlib.sha256(output.getvalue()).hexdigest()


def small():
    return _drawn("png", 10)


def heavy():
    return [_drawn(kind, 300) for kind in ("png", "svg", "pdf")]


def exception():
    plt.figure().text(0, 0, "$\\frac{a}$").figure.savefig(io.BytesIO())
