"""Platforms that train as well as predict: ``fit(x, y) -> Target``, so shadows come from where the target came.

The paper attacked models trained by Google Prediction API and Amazon ML (section VI-B). Both services are gone: what
carries their names here is a **stand-in**, built from what is known of them, and every report must call it one.

Whatever else trains is one, too: a function ``fit(x, y, *, seed) -> predict`` (``of_fit``).

``train`` is one call for all of them: a pool, who trains on what, and seeds; Targets come back. A model depends on its
own training set and seed, never on what else is trained.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax import user_code
from mia_jax.models import networks
from mia_jax.targets import black_box, estimators
from mia_jax.targets.frameworks.huggingface import huggingface, huggingface_predictor
from mia_jax.targets.frameworks.keras3 import keras
from mia_jax.targets.frameworks.pytorch import torch, torch_predictor
from mia_jax.targets.trainers import Platform, alone, in_turn, of_fit
from mia_jax.training import many, parallel, single
from mia_jax.types import Array, InputError, Key, Model, Params, Records, Target

__all__ = [
    "Platform",
    "amazon",
    "as_platform",
    "google",
    "huggingface",
    "huggingface_predictor",
    "keras",
    "network",
    "of_fit",
    "platform",
    "sklearn",
    "source",
    "torch",
    "torch_predictor",
    "train",
]

SEARCH_RECORDS = 3000  # of a training set, at most, for the choices that stand-ins make
FOLDS = 3


def train(
    kind: str | Platform, pool: Records, index: Array, seeds: Sequence[int], num_classes: int
) -> Iterator[Target]:
    """Train S models on one platform.

    Targets come in order, as they are trained: observe each at once and keep what was seen. That is how a run resumes
    (with the rows and seeds that are missing), since other libraries' models go to disk by pickle only. A training set
    and a seed give the same model again.

    Args:
        kind: see ``platform``; or one, which compiles its programs once.
        pool: records [N].
        index: int [S, m], the training set of each model.
        seeds: [S].
        num_classes: c. A class without training records is one that the model has never heard of.

    Raises:
        InputError: there is no such platform, or not one seed for each training set.
        TargetError: what the platform trains cannot be trained on these records.
    """
    index = np.asarray(index)
    if index.ndim != 2 or len(seeds) != len(index):
        raise InputError(f"training sets [S, m] need a seed each; they are {index.shape} and {len(seeds)} seeds")
    chosen = kind if isinstance(kind, Platform) else platform(kind, num_classes)
    return chosen.fit_many(pool, index, seeds=seeds)


def platform(kind: str, num_classes: int) -> Platform:
    """A platform by its name.

    ``nn`` and ``logistic`` are our own networks; ``google`` and ``amazon`` are stand-ins, the latter also with passes
    and L2, as in ``amazon(100,1e-4)``; ``sklearn:<import path>`` is any classifier with scikit-learn's interface;
    ``module:fit`` is what ``as_platform`` takes, in a module of the user's.

    Raises:
        InputError: there is none of this name.
    """
    if kind.startswith("sklearn:"):
        return sklearn(kind.removeprefix("sklearn:"), num_classes)
    if ":" in kind:
        return as_platform(user_code.load(kind, f"trainer={kind}"), num_classes, called=kind)
    if kind in PLATFORMS:
        return PLATFORMS[kind](num_classes)
    if amazons := re.fullmatch(r"amazon\((\d+), *(\d[\d.]*(?:e[+-]?\d+)?)\)", kind):
        return amazon(num_classes, passes=int(amazons[1]), l2=float(amazons[2]))
    raise InputError(
        f"no platform is called {kind!r}: choose {', '.join(PLATFORMS)}, amazon(<passes>,<L2>), sklearn:<import path>"
        " or module:fit"
    )


def as_platform(trainer: Any, num_classes: int, *, called: str = "") -> Platform:
    """The platform of whatever trains: a Platform, a classifier of scikit-learn's kind, or a function ``fit``.

    Args:
        trainer: as of ``sklearn`` or ``of_fit``, a platform's name, or a Platform.
        num_classes: c.
        called: what it is called in messages and reports, where it has no name of its own.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(trainer, str):
        return platform(trainer, num_classes)
    if isinstance(trainer, Platform):
        return trainer
    if hasattr(trainer, "get_params") or (isinstance(trainer, type) and hasattr(trainer, "fit")):
        return sklearn(trainer, num_classes)
    if callable(trainer) and not isinstance(trainer, type):
        return of_fit(trainer, num_classes, called=called)
    raise InputError(
        f"{called or 'the trainer'} is {type(trainer).__name__}, which trains nothing: give a function"
        " fit(x, y, *, seed) that returns predict, or a classifier of scikit-learn's kind"
    )


def source(kind: str | Platform) -> str:
    """SHA-256 of what decides how a user's code trains: its parameters, its source, the version of its library.

    Args:
        kind: the name of a platform, or one.

    Returns:
        "" for platforms of this file.

    Raises:
        InputError: as ``platform``.
    """
    if isinstance(kind, Platform):
        return "" if kind.trainer is None else user_code.describe(kind.trainer)
    if kind.startswith("sklearn:"):
        return user_code.describe(estimators.instance(kind.removeprefix("sklearn:")))
    return user_code.describe(user_code.load(kind, f"trainer={kind}")) if ":" in kind else ""


# --- our own networks ------------------------------------------------------------------------------------------------


def network(
    model: Model,
    num_classes: int,
    *,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    num_epochs: int = 100,
) -> Platform:
    """A network of ours as a platform: traced Targets, trained many at a time.

    Args:
        model: init and apply.
        num_classes: c.
        optimizer: Adam at 1e-3 by default.
        batch_size, num_epochs: records per step, and passes over the training set.
    """
    trainer = single.make_trainer(model, optax.adam(1e-3) if optimizer is None else optimizer, batch_size)

    def fit_many(pool: Records, index: Array, *, seeds: Sequence[int]) -> Iterator[Target]:
        for part, params, _ in many.fit_chunks(trainer, _keys(seeds), pool, index, num_epochs):
            for row in range(part.stop - part.start):
                yield black_box.as_target(model, _row(params, row), num_classes)

    return Platform("a network of our own", alone(fit_many), fit_many)


def _keys(seeds: Sequence[int]) -> Key:
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def _row(params: Params, row: int) -> Params:
    """The parameters of one network, of leaves [k, ...]."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[row]), params)


# --- scikit-learn ----------------------------------------------------------------------------------------------------


def sklearn(estimator: Any, num_classes: int) -> Platform:
    """Any classifier with scikit-learn's interface as a platform.

    Args:
        estimator: an instance, which is cloned for each training run; its class; or the import path of either, as in
            ``"sklearn.ensemble.RandomForestClassifier"``, or ``"mine.forest"`` for an instance in ./mine.py.
        num_classes: c. A class without training records gets probability zero.

    Returns:
        A Platform. Its Targets answer with ``predict_proba``, or with labels where the estimator has none. Records are
        flattened; the seed becomes ``random_state`` where there is one.

    Raises:
        InputError: no classifier is to be found at the import path.
    """
    estimator = estimators.instance(estimator)

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        from sklearn.base import clone

        return estimators.fit_target(clone(estimator), estimators.flat(x), np.asarray(y), seed, num_classes)

    kind = type(estimator)
    return Platform(f"{kind.__name__} of {kind.__module__.partition('.')[0]}", fit, in_turn(fit), estimator)


# --- Google Prediction API -------------------------------------------------------------------------------------------


def google(num_classes: int) -> Platform:
    """A **stand-in** for Google Prediction API, which is gone: no parameter to set, and it does not say what it trains.

    The service "automatically chooses from a variety of techniques". This one chooses among logistic regression, naive
    Bayes, a random forest and a network with one hidden layer, by cross-validated accuracy on at most 3,000 of the
    training records, and trains the best on all of them. What it chose is not said. The list is ours: Google's is not
    known.

    Args:
        num_classes: c.
    """

    def fit(x: Array, y: Array, *, seed: int = 0) -> Target:
        x, y = estimators.flat(x), np.asarray(y)
        some = np.random.default_rng(seed).permutation(len(y))[:SEARCH_RECORDS]
        best = max(_techniques(), key=lambda technique: _accuracy(technique, x[some], y[some], seed))
        return estimators.fit_target(best, x, y, seed, num_classes)

    return Platform("Google Prediction API (stand-in)", fit, in_turn(fit))


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
            model = estimators.fitted(clone(technique), x[fold != k], y[fold != k], seed)
            right += np.sum(model.predict(x[fold == k]) == y[fold == k])
    return right / len(y)


# --- Amazon ML -------------------------------------------------------------------------------------------------------

BINS = 10  # of a numeric column
RATES = (0.01, 0.03, 0.1, 0.3)
AT_ONCE = 4  # models on each device
INPUT_BYTES = 2**28  # of inputs of the models that are trained at once


class Columns(NamedTuple):
    """What kind each column of flattened records is, as a schema would tell; constant ones are left out."""

    binary: np.ndarray  # columns [fb] with two values
    low: np.ndarray  # [fb], the smaller of them
    numeric: np.ndarray  # columns [fn] with more


def columns_of(x: Array) -> Columns:
    """The kinds of the columns of records x [n, *f]."""
    x = estimators.flat(x)
    low, high = x.min(axis=0), x.max(axis=0)
    two = np.array([np.all((column == a) | (column == b)) for column, a, b in zip(x.T, low, high, strict=True)])
    binary, numeric = np.flatnonzero(two & (low < high)), np.flatnonzero(~two)
    return Columns(binary, low[binary].astype(np.float32), numeric)


def quantile_edges(columns: Columns, x: Array) -> np.ndarray:
    """Edges [fn, BINS - 1] of bins that hold equally many of the records x [m, *f] each."""
    x = estimators.flat(x)[:, columns.numeric].astype(np.float32)
    return np.quantile(x, np.arange(1, BINS) / BINS, axis=0).T.astype(np.float32)


def binned(columns: Columns, edges: Array, x: Array) -> jax.Array:
    """Inputs uint8 [b, fb + fn * BINS] of records x [b, *f]: bits as 0 and 1, numbers one-hot by quantile."""
    x = jnp.asarray(x).reshape(len(x), -1).astype(jnp.float32)
    bits = x[:, columns.binary] > columns.low[None]
    place = (x[:, columns.numeric, None] >= edges[None]).sum(axis=-1)
    return jnp.concatenate([bits, jax.nn.one_hot(place, BINS).reshape(len(x), -1)], axis=1).astype(jnp.uint8)


def amazon(num_classes: int, *, passes: int = 10, l2: float = 1e-6) -> Platform:
    """A **stand-in** for Amazon ML, which is gone.

    Multinomial logistic regression by online SGD: one record a step, a constant learning rate that the platform chooses
    itself, on a fifth of (at most 3,000 of) the training records; L2; numeric columns are quantile-binned and one-hot.
    The number of bins and the candidates of the rate are ours.

    Args:
        num_classes: c.
        passes, l2: what its user could set; the paper has (10, 1e-6), the default, and (100, 1e-4).

    Returns:
        A Platform whose models are trained many at a time, and may be asked inside ``jit``. Each model has bins and a
        rate of its own; which columns are bits is read off the whole pool.
    """
    model = networks.logistic(num_classes)
    recipe = _Recipe(model, l2)
    losses = parallel.spread(functools.partial(_losses_of_rates, recipe), in_axes=(0, 0, 0, None))
    train = parallel.spread(functools.partial(_trained_on_all, recipe, passes))

    def fit_some(columns: Columns, x: np.ndarray, y: np.ndarray, seeds: Sequence[int]) -> Iterator[Target]:
        """Models of records x [k, m, *f] and y [k, m]."""
        edges = np.stack([quantile_edges(columns, own) for own in x])
        inputs = np.stack([np.asarray(binned(columns, *own)) for own in zip(edges, x, strict=True)])
        rows = np.stack([np.random.default_rng(seed).permutation(y.shape[1])[:SEARCH_RECORDS] for seed in seeds])
        by_rate = np.asarray(losses(inputs, y, rows, jnp.array(RATES)))
        rate = np.array(RATES, np.float32)[np.argmin(np.nan_to_num(by_rate, nan=np.inf), axis=1)]
        params = jax.tree.map(np.asarray, train(_keys(seeds), inputs, y, rate))
        for row in range(len(x)):
            apply = functools.partial(_apply_binned, model, columns, jnp.asarray(edges[row]))
            yield black_box.as_target(Model(model.init, apply), _row(params, row), num_classes)

    def fit_many(pool: Records, index: Array, *, seeds: Sequence[int]) -> Iterator[Target]:
        x, y, index = np.asarray(pool.x), np.asarray(pool.y, np.int32), np.asarray(index)
        columns = columns_of(x)
        width = len(columns.binary) + BINS * len(columns.numeric)
        fit = INPUT_BYTES // max(1, index.shape[1] * width)
        step = max(1, min(fit, AT_ONCE * jax.local_device_count()))
        for start in range(0, len(index), step):
            rows = index[start : start + step]
            yield from fit_some(columns, x[rows], y[rows], seeds[start : start + step])

    return Platform(f"Amazon ML (stand-in; {passes} passes, L2 {l2:g})", alone(fit_many), fit_many)


class _Recipe(NamedTuple):
    """Online SGD of a model, one record a step, with decay of the weights."""

    model: Model
    l2: float

    def train(self, passes: int, rate: jax.Array, key: Key, pool: Records, index: jax.Array) -> Params:
        """The parameters after so many passes over the records of an index [m] at a learning rate []."""
        optimizer = optax.chain(optax.add_decayed_weights(self.l2), optax.sgd(rate))
        sgd = single.make_trainer(self.model, optimizer, 1)
        state = sgd.init(key, pool.x[:1])
        return jax.lax.scan(lambda state, _: (sgd.epoch(state, pool, index)[0], None), state, length=passes)[0].params


def _losses_of_rates(recipe: _Recipe, x: jax.Array, y: jax.Array, rows: jax.Array, rates: jax.Array) -> jax.Array:
    """For each of the rates [r], the loss on held-out records after one pass over the others; rows [m] of x and y."""
    held_out, rest = jnp.split(rows, [max(1, len(rows) // 5)])

    def one(rate):
        logits = recipe.model.apply(recipe.train(1, rate, jax.random.key(0), Records(x, y), rest), x[held_out])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[held_out]).mean()

    return jax.vmap(one)(rates)


def _trained_on_all(recipe: _Recipe, passes: int, key: Key, x: jax.Array, y: jax.Array, rate: jax.Array) -> Params:
    return recipe.train(passes, rate, key, Records(x, y), jnp.arange(len(y)))


def _apply_binned(
    model: Model, columns: Columns, edges: jax.Array, params: Params, x: Array, *, key: Key | None = None
) -> jax.Array:
    return model.apply(params, binned(columns, edges, x), key=key)


PLATFORMS = {  # name -> factory: (num_classes) -> Platform
    "nn": lambda num_classes: network(networks.mlp(num_classes), num_classes),
    "logistic": lambda num_classes: network(networks.logistic(num_classes), num_classes),
    "amazon": amazon,
    "google": google,
}
