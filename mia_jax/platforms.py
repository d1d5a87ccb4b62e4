"""Platforms that train as well as predict: ``fit(x, y) -> Target``, so shadows come from where the target came.

The paper attacked models trained by Google Prediction API and Amazon ML (section VI-B). Both services are gone: what
carries their names here is a **stand-in**, built from what is known of them, and every report must call it one.
"""

import functools
import importlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax import models, targets, training
from mia_jax.types import Answers, Array, InputError, Key, Model, Params, Records, Target

Fit = Callable[..., Target]  # (x [m, *f], y [m] in 0..c-1, *, seed: int = 0) -> Target

SEARCH_RECORDS = 3000  # of the training set, at most, for the stand-in's choice
FOLDS = 3


def sklearn(estimator: Any, num_classes: int) -> Fit:
    """Any scikit-learn classifier as a platform.

    Args:
        estimator: an instance, which is cloned for each training run; its class; or the import path of either, as in
            ``"sklearn.ensemble.RandomForestClassifier"``.
        num_classes: c. A class without training records gets probability zero.

    Returns:
        A Fit. Its Targets answer with ``predict_proba``, or with labels where the estimator has none. Records are
        flattened; ``seed`` becomes ``random_state`` where there is one.

    Raises:
        InputError: no classifier is to be found at the import path.
    """
    estimator = _imported(estimator) if isinstance(estimator, str) else estimator
    estimator = estimator() if isinstance(estimator, type) else estimator
    if not (hasattr(estimator, "fit") and hasattr(estimator, "predict")):
        raise InputError(f"{estimator!r} has no fit and predict: give a scikit-learn classifier")

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        from sklearn.base import clone

        return _target(_fitted(clone(estimator), _flat(x), np.asarray(y), seed), num_classes, _flat(x))

    return fit


def google(num_classes: int) -> Fit:
    """A **stand-in** for Google Prediction API, which is gone: no parameter to set, and it does not say what it trains.

    The service "automatically chooses from a variety of techniques". This one chooses among logistic regression, naive
    Bayes, a random forest and a network with one hidden layer, by cross-validated accuracy on at most 3,000 of the
    training records, and trains the best on all of them. What it chose is not told. The list is ours: Google's is not
    known.

    Args:
        num_classes: c.
    """

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        x, y = _flat(x), np.asarray(y)
        some = np.random.default_rng(seed).permutation(len(y))[:SEARCH_RECORDS]
        best = max(_techniques(), key=lambda technique: _accuracy(technique, x[some], y[some], seed))
        return _target(_fitted(best, x, y, seed), num_classes, x)

    return fit


# --- Amazon ML -------------------------------------------------------------------------------------------------------

BINS = 10  # of a numeric column
RATES = (0.01, 0.03, 0.1, 0.3)


class Bins(NamedTuple):
    """How columns of flattened records become inputs: those with two values as 0 and 1, others one-hot by quantile."""

    binary: np.ndarray  # columns [fb]
    low: np.ndarray  # [fb], the smaller of the two values
    numeric: np.ndarray  # columns [fn]
    edges: np.ndarray  # [fn, BINS - 1]


def quantile_bins(x: Array) -> Bins:
    """Bins that hold equally many of the records x [m, *f] each, column by column; constant columns are left out."""
    x = _flat(x).astype(np.float32)
    low, high = x.min(axis=0), x.max(axis=0)
    two = np.all((x == low) | (x == high), axis=0)
    binary, numeric = np.flatnonzero(two & (low < high)), np.flatnonzero(~two)
    edges = np.quantile(x[:, numeric], np.arange(1, BINS) / BINS, axis=0).T.astype(np.float32)
    return Bins(binary, low[binary], numeric, edges)


def binned(bins: Bins, x: Array) -> jax.Array:
    """Inputs uint8 [b, fb + fn * BINS] of records x [b, *f]."""
    x = jnp.asarray(x).reshape(len(x), -1).astype(jnp.float32)
    bits = x[:, bins.binary] > bins.low[None]
    place = (x[:, bins.numeric, None] >= bins.edges[None]).sum(axis=-1)
    return jnp.concatenate([bits, jax.nn.one_hot(place, BINS).reshape(len(x), -1)], axis=1).astype(jnp.uint8)


def amazon_many(num_classes: int, *, passes: int = 10, l2: float = 1e-6) -> Callable[..., list[Target]]:
    """A **stand-in** for Amazon ML, which is gone; many models at once, vmapped.

    Multinomial logistic regression by online SGD: one record a step, a constant learning rate that the platform chooses
    itself, L2; numeric columns are quantile-binned and one-hot. Number of bins and candidates of the rate are ours.

    Args:
        num_classes: c.
        passes, l2: what its user could set; the paper has (10, 1e-6), the default, and (100, 1e-4).

    Returns:
        ``fit(pool, index [S, m], *, seeds [S]) -> S Targets``, which may be asked inside ``jit``. The bins and the rate
        are learned on the records that ``index`` names, so give no model of others' among them.
    """
    model = models.logistic(num_classes)

    def trainer(rate: float):
        return training.make_trainer(model, optax.chain(optax.add_decayed_weights(l2), optax.sgd(rate)), 1)

    @jax.jit
    def losses(rates: jax.Array, pool: Records, held: jax.Array, rest: jax.Array) -> jax.Array:
        """For each rate, the loss on held-out records after one pass over the rest."""

        def one(rate):
            sgd = trainer(rate)
            state, _ = sgd.epoch(sgd.init(jax.random.key(0), pool.x[:1]), pool, rest)
            logits = model.apply(state.params, pool.x[held])
            return optax.softmax_cross_entropy_with_integer_labels(logits, pool.y[held]).mean()

        return jax.vmap(one)(rates)

    def choose(pool: Records, rows: np.ndarray) -> float:
        fifth = max(1, len(rows) // 5)
        found = losses(jnp.array(RATES), pool, rows[:fifth], rows[fifth:])
        return RATES[int(np.argmin(np.nan_to_num(found, nan=np.inf)))]

    def fit(pool: Records, index: Array, *, seeds: Sequence[int]) -> list[Target]:
        index = np.asarray(index, np.int32)
        bins = quantile_bins(np.asarray(pool.x)[np.unique(index)])
        inputs = Records(binned(bins, pool.x), jnp.asarray(pool.y, jnp.int32))
        rate = choose(inputs, np.random.default_rng(seeds[0]).permutation(index[0])[:SEARCH_RECORDS])
        keys = jnp.stack([jax.random.key(seed) for seed in seeds])
        params, _ = training.fit_many(trainer(rate), keys, inputs, index, passes)
        each = [jax.tree.map(lambda leaf, s=s: jnp.asarray(leaf[s]), params) for s in range(len(index))]
        apply = functools.partial(_apply_binned, model, bins)
        return [targets.as_target(Model(model.init, apply), some, num_classes) for some in each]

    return fit


def _apply_binned(model: Model, bins: Bins, params: Params, x: Array, *, key: Key | None = None) -> jax.Array:
    return model.apply(params, binned(bins, x), key=key)


def amazon(num_classes: int, *, passes: int = 10, l2: float = 1e-6) -> Fit:
    """A **stand-in** for Amazon ML, one model at a time; see ``amazon_many``."""
    many = amazon_many(num_classes, passes=passes, l2=l2)

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        return many(Records(x, y), np.arange(len(y))[None], seeds=[seed])[0]

    return fit


PLATFORMS = {"google": google, "amazon": amazon}  # name -> factory: (num_classes) -> Fit; both are stand-ins


def platform(kind: str, num_classes: int) -> Fit:
    """The platform that ``--target_kind`` names: ``google`` or ``amazon`` (stand-ins), or ``sklearn:<import path>``.

    Raises:
        InputError: there is none of this name.
    """
    if kind.startswith("sklearn:"):
        return sklearn(kind.removeprefix("sklearn:"), num_classes)
    if kind not in PLATFORMS:
        raise InputError(f"no platform is called {kind!r}: choose {', '.join(PLATFORMS)} or sklearn:<import path>")
    return PLATFORMS[kind](num_classes)


def _techniques() -> list[Any]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    return [
        make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=60, tol=1e-3)),
        GaussianNB(var_smoothing=1e-2),
        RandomForestClassifier(100),
        make_pipeline(MinMaxScaler(), MLPClassifier((128,), max_iter=60)),
    ]


def _accuracy(technique: Any, x: np.ndarray, y: np.ndarray, seed: int) -> float:
    """Cross-validated accuracy. Plain folds: a class may have fewer records than there are folds."""
    from sklearn.base import clone

    fold = np.arange(len(y)) % FOLDS
    right = 0
    for k in range(FOLDS):
        if len(np.unique(y[fold != k])) > 1:
            model = _fitted(clone(technique), x[fold != k], y[fold != k], seed)
            right += np.sum(model.predict(x[fold == k]) == y[fold == k])
    return right / len(y)


def _fitted(model: Any, x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    seeds = {name: seed for name in model.get_params() if name.split("__")[-1] == "random_state"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge: passes are part of the recipe
        return model.set_params(**seeds).fit(x, y)


def _target(model: Any, num_classes: int, x: np.ndarray) -> Target:
    """The fitted model's answers over all classes, recognised on its first training records."""
    if not hasattr(model, "predict_proba"):
        return targets.from_callable(lambda x: model.predict(_flat(x)), Answers(num_classes, "labels"))
    columns = np.asarray(model.classes_, np.int64)

    def predict(x: np.ndarray) -> np.ndarray:
        p = np.zeros((len(x), num_classes))
        p[:, columns] = model.predict_proba(_flat(x))
        return p

    return targets.from_callable(predict, targets.recognise(predict(x[:64])))


def _flat(x: Array) -> np.ndarray:
    x = np.asarray(x)
    return x.reshape(len(x), -1)


def _imported(path: str) -> Any:
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise InputError(
            f"there is no {path!r} to import: give a path such as sklearn.ensemble.RandomForestClassifier"
        ) from None
