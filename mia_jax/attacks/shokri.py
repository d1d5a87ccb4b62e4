"""Shokri, Stronati, Song, Shmatikov, "Membership Inference Attacks Against Machine Learning Models", S&P 2017.

One binary classifier per class, learned on the answers that shadow models give to their own members and non-members
of that class (section V-D): a fully connected network with one hidden layer of 64 ReLU units on the answer p.

An attack network is one more network: its pool are the shadows' answers, its training set the rows of one class. So
the per-class networks are trained by the same ``fit_many`` as the shadows, ``vmap``ped across classes.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax import models, training
from mia_jax.attacks.base import from_answers
from mia_jax.types import Array, Attack, Key, Records

LANES = 16  # networks per compiled program: they are small
BLOCK = 32  # classes whose rows are on the devices at once
SMALLEST_SCALE = 1e-3  # answers that hardly differ are not blown up without limit


class State(NamedTuple):
    params: dict  # leaves [c, ...]
    centre: np.ndarray  # float32 [c, c]: of the answers of each class
    scale: np.ndarray  # float32 [c]: their spread, one number per class
    trained: np.ndarray  # bool [c]: False for a class without members or without non-members among the shadows' rows


def rows_by_class(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Row numbers sorted into a rectangle: int32 [c, rows of the largest class], padded with -1, in ascending order."""
    order = np.argsort(y, kind="stable")
    counts = np.bincount(y, minlength=num_classes)
    rank = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    rectangle = np.full((num_classes, max(1, counts.max(initial=0))), -1, np.int32)
    rectangle[np.sort(y, kind="stable"), rank] = order
    return rectangle


def shokri(
    num_classes: int,
    *,
    hidden: int = 64,
    learning_rate: float = 2e-2,
    batch_size: int = 128,
    num_steps: int = 2000,
    l2: float = 3e-4,
    max_rows: int = 8192,
) -> Attack:
    """The paper's attack.

    Args:
        num_classes: c.
        hidden: ReLU units of each attack network (the paper's 64).
        learning_rate, batch_size, num_steps: of Adam, whose rate falls to 0 along half a cosine. Ours: the paper does
            not say how it trained its attack networks.
        l2: l2 / 2 * sum(theta^2) is added to the loss: without it, classes of few rows are learned by heart.
        max_rows: rows per class, sampled where there are more, so that the largest class and the number of shadows do
            not decide the memory.

    Returns:
        An Attack whose score is the log-odds of "in" that the network of the record's class gives. A record of a class
        without members or non-members among the shadows' rows scores NaN: it is reported, not guessed.
    """

    def features(log_p):
        return np.exp(np.asarray(log_p, np.float32))

    def standardised(p, y, centre, scale):
        return (p - centre[y]) / scale[y, None]

    model = models.mlp(2, hidden=(hidden,), activation=jax.nn.relu)
    # Steps, not passes: few shadows have few rows. Those that complete the last pass find a rate of 0.
    rate = optax.cosine_decay_schedule(learning_rate, num_steps)
    optimizer = optax.chain(optax.add_decayed_weights(l2), optax.adam(rate))
    trainer = training.make_trainer(model, optimizer, batch_size)

    def fit(key: Key, seen, member: Array, public=None) -> State:
        del public
        key_rows, key_train = jax.random.split(key)
        log_p, y = (np.asarray(leaf) for leaf in (seen["log_p"], seen["y"]))
        log_p, y, member = log_p.reshape(-1, num_classes), y.reshape(-1), np.asarray(member).reshape(-1)
        rng = np.random.Generator(np.random.Philox(key=np.asarray(jax.random.key_data(key_rows), np.uint64)))
        shuffled = rng.permutation(len(y))  # so that the first rows of a class are a sample of them
        index = rows_by_class(y[shuffled], num_classes)[:, :max_rows]
        index = np.where(index >= 0, shuffled[index], -1)
        trained = np.stack([np.bincount(y, member == side, minlength=num_classes) > 0 for side in (False, True)]).all(0)
        centre, scale = np.zeros((num_classes, num_classes), np.float32), np.ones(num_classes, np.float32)
        for c in range(num_classes):
            own = index[c, index[c] >= 0]
            if len(own):
                p = features(log_p[own])
                centre[c], scale[c] = p.mean(0), max(p.std(0).max(), SMALLEST_SCALE)
                index[c] = np.resize(own, len(index[c]))  # in a small class, rows come more often
        index = np.pad(index, ((0, 0), (0, -index.shape[1] % batch_size)), mode="wrap")
        num_epochs = math.ceil(num_steps * batch_size / index.shape[1])
        keys = jax.vmap(lambda c: jax.random.fold_in(key_train, c))(jnp.arange(num_classes))
        each = []
        for first in range(0, num_classes, BLOCK):
            some = index[first : first + BLOCK]
            rows = np.pad(some, ((0, -len(some) % min(BLOCK, num_classes)), (0, 0)), constant_values=-1)
            flat = rows.reshape(-1)
            x = standardised(features(log_p[flat]), y[flat], centre, scale)
            pool = Records(x, member[flat].astype(np.int32))
            own = np.where(rows >= 0, np.arange(rows.size).reshape(rows.shape), -1)[: len(some)]
            params, _ = training.fit_many(trainer, keys[first : first + BLOCK], pool, own, num_epochs, lanes=LANES)
            each.append(params)
        return State(jax.tree.map(lambda *leaves: np.concatenate(leaves), *each), centre, scale, trained)

    def score(state: State, seen) -> np.ndarray:
        y = np.asarray(seen["y"])
        p = standardised(features(seen["log_p"]), y, state.centre, state.scale)
        index = rows_by_class(y, num_classes)  # [c, R]
        log_p = training.spread(lambda params, rows: training.predict(model, params, rows))(state.params, p[index])
        log_odds = np.asarray(log_p[..., 1] - log_p[..., 0])
        scores = np.full(len(y), np.nan, np.float32)
        filled = (index >= 0) & state.trained[:, None]
        scores[index[filled]] = log_odds[filled]
        return scores

    return from_answers(lambda log_p, y: {"log_p": log_p, "y": y}, fit, score, needs=frozenset({"in", "out"}))
