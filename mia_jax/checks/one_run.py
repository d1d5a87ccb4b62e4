"""Models that are checkpoints of one training run, where several runs are asked for: each is most like its neighbors.

Of independent runs the order means nothing: what is left of each model's answers, once every record's mean over models
is taken off, goes with the next model's as little as with any other's. NumPy.
"""

import numpy as np

from mia_jax.types import Array

LEAST, RECORDS = 6, 30  # models, and records, of fewer of which the order tells nothing
APART = 0.5  # correlation with the next model, less that with the others
ORDERS, LEVEL = 2000, 1e-3  # random orders, and the share of them in which neighbors may be as alike


def doubts(signals: Array, called: str) -> tuple[str, ...]:
    """What is to be said of models of which each is most like the one before and after it, in a sentence.

    Args:
        signals: [R, n], larger where a model fits a record better.
        called: what the models are called.
    """
    signals = np.asarray(signals, np.float64)
    models, n = signals.shape
    if models < LEAST or n < RECORDS:
        return ()
    left = signals - signals.mean(axis=0)
    left -= left.mean(axis=1, keepdims=True)
    length = np.sqrt((left**2).sum(axis=1))
    if (length == 0).any():
        return ()
    together = (left / length[:, None]) @ (left / length[:, None]).T
    apart = np.abs(np.subtract.outer(np.arange(models), np.arange(models)))
    near = together[apart == 1].mean()
    if near - together[apart > 1].mean() < APART:
        return ()
    rng = np.random.default_rng(0)
    orders = [rng.permutation(models) for _ in range(ORDERS)]
    order = float((together * apart).sum())  # small where models far apart in the order are unlike
    as_much = np.mean([(together[np.ix_(one, one)] * apart).sum() <= order for one in orders])
    if as_much > LEVEL:
        return ()
    return (
        f"Each of the {called} models is most like the next (what it leaves of each record's mean correlates by"
        f" {near:.2f}, with those further on by {together[apart > 1].mean():.2f}): they seem to be checkpoints of one"
        " run, which are far more alike than runs are, and models of other runs are told from them for that alone. Give"
        " one model of each of several runs.",
    )
