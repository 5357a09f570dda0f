"""scikit-learn: trees, solvers and neighbours in Cython, with OpenMP's threads."""

import numpy as np
from hosts import pause
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVC

DISTRIBUTION = "scikit-learn"


def _data(n=600):
    return make_classification(n, n_features=12, n_informative=6, random_state=3)


def small():
    x, y = _data(60)
    return Ridge().fit(x, y).coef_.round(6)


def heavy():
    x, y = _data()
    models = (
        RandomForestClassifier(30, random_state=1),
        HistGradientBoostingClassifier(max_iter=20, random_state=1),
        LogisticRegression(max_iter=500),
        SVC(),
    )
    found = [model.fit(x, y).predict(x).tolist() for model in models]
    return [found, models[0].feature_importances_]


def callback(number):
    """A kernel and a metric in Python; the metric is called from Cython."""
    x, y = _data(60)
    kernel = SVC(kernel=lambda a, b: pause() or a @ b.T + number)
    near = KNeighborsRegressor(
        2, metric=lambda a, b: pause() or np.abs(a - b).sum() * (number + 1)
    )
    x = x[:12]
    return [kernel.fit(x, y[:12]).predict(x).tolist(), near.fit(x, y[:12]).predict(x)]


def exception():
    x, y = _data(60)
    Ridge().fit(x, y[:7])
