"""Shokri, Stronati, Song, Shmatikov, "Membership Inference Attacks Against Machine Learning Models", S&P 2017.

One binary classifier per class, learned on the answers that shadow models give to their own members and non-members
of that class (section V-D): a fully connected network with one hidden layer of 64 ReLU units on the answer p.

An attack network is one more network: its pool are the shadows' answers, its training set the rows of one class. So
the per-class networks are trained by the same ``fit_many`` as the shadows, ``vmap``ped across classes.

How much there is to learn depends on the target: networks that find all of it where members stand out learn nothing
but noise where they hardly do, as under DP-SGD. So the strength of their L2 is chosen on shadows that they did not see.

With more than ``WIDE`` classes, networks on whole answers would cost c x c, and have few rows to learn c weights per
unit from. There we depart from the paper: a network sees p_y and the largest of the other probabilities in descending
order (Salem et al. 2019, "ML-Leaks", sort and keep the top three), and L2 is chosen on a sample of the classes. So the
attack costs as much per class whatever the number of classes.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attacks.common import from_answers
from mia_jax.attacks.entries import BOTH, Option
from mia_jax.models import networks
from mia_jax.training import many, parallel, single
from mia_jax.types import Array, Attack, InputError, Key, Model, Records, Remember, Trainer, TrainState

LANES = 16  # networks per compiled program: they are small
BLOCK = 32  # classes whose rows are on the devices at once
WIDE = 128  # classes up to which the networks see whole answers, as the paper's
SEEN = 32  # of more classes: probabilities that they see, that of the true class first
SAMPLE = 64  # of more classes: classes that the strength of L2 is chosen on
SMALLEST_SCALE = 1e-3  # answers that hardly differ are not blown up without limit
STRENGTHS = (1e-4, 5e-4, 2e-3, 1e-2)  # of L2, to choose from
VERSION = 1  # raise it when the same rows would teach other networks: an interrupted run goes on with those it has kept
OPTIONS = (
    Option("hidden", int, 64, "ReLU units of each class's attack network", flag="attack_hidden", low=1),
    Option("num_steps", int, 2000, "training steps of each attack network", flag="attack_steps", low=1),
    Option("batch_size", int, 128, "rows per training step of the attack networks", flag="attack_batch_size", low=1),
    Option(
        "learning_rate",
        float,
        2e-2,
        "Adam's learning rate for the attack networks at first; it falls to 0",
        flag="attack_learning_rate",
        above=0,
    ),
    Option(
        "l2",
        float,
        None,
        "L2 on the attack networks' parameters: half of it times their square is added to the loss"
        " (default: chosen on held-out shadows)",
        flag="attack_l2",
        low=0,
    ),
    Option(
        "max_rows",
        int,
        8192,
        "rows per class that the attack networks learn from; sampled where there are more",
        flag="attack_rows",
        low=2,
    ),
    Option("remember", source="remember"),
)
TRIAL_STEPS = 500  # of the networks that the choice is made with: 2,000 chose another strength on 1 of 12 targets


def forget(about: Mapping[str, Any]) -> Callable[[str, Callable[[], dict]], dict]:
    """A ``Remember`` that keeps nothing: every part is done anew."""
    del about
    return lambda part, work: work()


class State(NamedTuple):
    """The attack networks of all classes, and how their inputs are standardized."""

    params: dict  # leaves [c, ...]
    center: np.ndarray  # float32 [c, inputs]: of the answers of each class
    scale: np.ndarray  # float32 [c]: their spread, one number per class
    trained: np.ndarray  # bool [c]: False for a class without members or without non-members among the shadows' rows
    l2: float  # as given or chosen


class Rows(NamedTuple):
    """What the shadows answered: their axis and that of the records are one, n."""

    log_p: np.ndarray  # [n, inputs]
    y: np.ndarray  # [n]
    member: np.ndarray  # bool [n]


def rows_by_class(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Row numbers sorted into a rectangle: int32 [c, rows of the largest class], padded with -1, in ascending order."""
    order = np.argsort(y, kind="stable")
    counts = np.bincount(y, minlength=num_classes)
    rank = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    rectangle = np.full((num_classes, max(1, counts.max(initial=0))), -1, np.int32)
    rectangle[np.sort(y, kind="stable"), rank] = order
    return rectangle


def by_row(index: np.ndarray, n: int) -> np.ndarray:
    """The inverse of ``rows_by_class``: int32 [n], the line of index [c, R] that names a row; 0 where none does."""
    y = np.zeros(n, np.int32)
    line, place = np.nonzero(index >= 0)
    y[index[line, place]] = line
    return y


def sorted_answers(log_p: Array, y: Array) -> jax.Array:
    """What networks see of many classes: log-probabilities [n, SEEN], the true class's, then the others', descending.

    Args:
        log_p: [n, c], c > SEEN.
        y: [n].
    """
    true = jnp.arange(log_p.shape[-1])[None] == jnp.asarray(y)[:, None]
    others = jax.lax.top_k(jnp.where(true, -jnp.inf, log_p), SEEN - 1)[0]
    return jnp.concatenate([jnp.take_along_axis(jnp.asarray(log_p), jnp.asarray(y)[:, None], axis=1), others], axis=1)


def num_parts(num_classes: int, *, l2: float | None = None, **others: Any) -> int:
    """How many parts the work of ``fit`` has, with these options of ``shokri``."""
    del others
    chosen_on = 0 if l2 is not None else num_classes if num_classes <= WIDE else SAMPLE
    return math.ceil(num_classes / BLOCK) + math.ceil(chosen_on / BLOCK)


def held_out(rng: np.random.Generator, num_shadows: int, n: int) -> np.ndarray:
    """bool [S, n]: a fifth of the shadows, at least one; of a single shadow a fifth of its records."""
    held = np.zeros((num_shadows, n), bool)
    if num_shadows > 1:
        held[-max(1, num_shadows // 5) :] = True
    else:
        held[:, rng.permutation(n)[: n // 5]] = True
    return held


# --- the attack networks ---------------------------------------------------------------------------------------------


def _features(log_p: Array) -> np.ndarray:
    return np.exp(np.asarray(log_p, np.float32))


def _standardized(p: np.ndarray, y: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return (p - center[y]) / scale[y, None]


def _diverged(state: State, y: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """The classes whose networks learned something and tell no number."""
    return np.unique(y[state.trained[y] & ~np.isfinite(log_odds)])


def _trainer(model: Model, learning_rate: float, batch_size: int) -> Trainer:
    """Adam, whose ``init`` takes (key, strength of L2, steps) in the key's place: both are numbers in the optimizer's
    state, so every strength and number of steps runs the same compiled program."""

    def descent(l2, steps):
        # Steps, not passes: few shadows have few rows. Those that complete the last pass find a rate of 0.
        def rate(t):
            return learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(t / steps, 1.0)))

        return optax.chain(optax.add_decayed_weights(l2), optax.adam(rate))

    trainer = single.make_trainer(model, optax.inject_hyperparams(descent)(l2=0.0, steps=1.0), batch_size)

    def init(start: Any, x: Array) -> TrainState:
        key, l2, steps = start
        state = trainer.init(key, x)
        return state._replace(opt_state=optax.tree.set(state.opt_state, l2=l2, steps=steps))

    return trainer._replace(init=init)


class AttackNetworks:
    """The networks of all classes: how they learn, and what they answer."""

    def __init__(self, hidden: int, learning_rate: float, batch_size: int):
        model = networks.mlp(2, hidden=(hidden,), activation=jax.nn.relu)
        self.batch_size = batch_size
        self.answers = parallel.spread(functools.partial(single.predict, model))
        self.trainer = _trainer(model, learning_rate, batch_size)

    def learn(
        self, key: Key, rows: Rows, index: np.ndarray, strengths: Sequence[float], steps: int, kept
    ) -> list[State]:
        """One network per class and strength of L2; index int32 [c, R]: the rows of each class, -1 is none."""
        classes = len(index)
        center, scale = np.zeros((classes, rows.log_p.shape[1]), np.float32), np.ones(classes, np.float32)
        trained = np.zeros(classes, bool)
        whole = np.full((classes, math.ceil(index.shape[1] / self.batch_size) * self.batch_size), -1, np.int32)
        for c in range(classes):
            own = index[c, index[c] >= 0]
            if len(own):
                p = _features(rows.log_p[own])
                center[c], scale[c] = p.mean(0), max(p.std(0).max(), SMALLEST_SCALE)
                trained[c] = len(np.unique(rows.member[own])) == 2
                whole[c] = np.resize(own, whole.shape[1])  # in a small class, rows come more often
        num_epochs = math.ceil(steps * self.batch_size / whole.shape[1])
        keys = jax.vmap(lambda c: jax.random.fold_in(key, c))(jnp.arange(classes))

        def block(first: int) -> dict:
            """Parameters [classes of a block, ...] by strength."""
            some = whole[first : first + BLOCK]
            padded = np.pad(some, ((0, -len(some) % min(BLOCK, classes)), (0, 0)), constant_values=-1)
            flat = padded.reshape(-1)
            x = _standardized(_features(rows.log_p[flat]), rows.y[flat], center, scale)
            pool = Records(x, rows.member[flat].astype(np.int32))
            own = np.where(padded >= 0, np.arange(padded.size).reshape(padded.shape), -1)[: len(some)]
            learned = {}
            for strength in strengths:
                numbers = (np.full(len(some), number, np.float32) for number in (strength, steps))
                start: Any = (keys[first : first + BLOCK], *numbers)
                learned[str(strength)], _ = many.fit_many(self.trainer, start, pool, own, num_epochs, lanes=LANES)
            return learned

        named = f"{steps} steps, L2 {', '.join(map(str, strengths))}, {BLOCK} classes from"
        blocks = [kept(f"{named} {c}", functools.partial(block, c)) for c in range(0, classes, BLOCK)]
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
        return [State(joined[str(l2)], center, scale, trained, l2) for l2 in strengths]

    def choose(self, key: Key, rows: Rows, index: np.ndarray, held: np.ndarray, num_steps: int, kept) -> float:
        """The strength of L2 that teaches most about the rows that are held [n]."""
        rows = rows._replace(y=by_row(index, len(rows.y)))  # index may be of some classes only: they are renumbered
        seen, unseen = np.where(held[index], -1, index), index[(index >= 0) & held[index]]

        def loss(state: State) -> float:
            log_odds = self.log_odds(state, rows.log_p[unseen], rows.y[unseen])
            if len(_diverged(state, rows.y[unseen], log_odds)):
                return np.inf
            wrong = np.where(rows.member[unseen], -log_odds, log_odds)
            return np.logaddexp(0, wrong[~np.isnan(wrong)]).sum()  # NaN: a class of which nothing was learned

        return min(self.learn(key, rows, seen, STRENGTHS, min(TRIAL_STEPS, num_steps), kept), key=loss).l2

    def log_odds(self, state: State, log_p: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of "in", float32 [n], by answers [n, inputs] of classes y [n]; NaN for a class that taught nothing."""
        p = _standardized(_features(log_p), y, state.center, state.scale)
        index = rows_by_class(y, len(state.trained))  # [c, R]
        scores = np.full(len(y), np.nan, np.float32)
        for first in range(0, len(index), BLOCK):  # R is that of the largest class
            block = slice(first, first + BLOCK)
            logits = self.answers(jax.tree.map(lambda p, block=block: p[block], state.params), p[index[block]])
            log_odds = np.asarray(logits[..., 1] - logits[..., 0])
            filled = (index[block] >= 0) & state.trained[block, None]
            scores[index[block][filled]] = log_odds[filled]
        return scores


# --- the attack -----------------------------------------------------------------------------------------------------


def shokri(
    num_classes: int,
    *,
    hidden: int = 64,
    learning_rate: float = 2e-2,
    batch_size: int = 128,
    num_steps: int = 2000,
    l2: float | None = None,
    max_rows: int = 8192,
    remember: Remember = forget,
) -> Attack:
    """Shadow models, and a network per class that tells their members from others (section V).

    Args:
        num_classes: c.
        hidden: ReLU units of each attack network (the paper's 64).
        learning_rate, batch_size, num_steps: of Adam, whose rate falls to 0 along half a cosine. Ours: the paper does
            not say how it trained its attack networks.
        l2: l2 / 2 * sum(theta^2) is added to the loss: without it, classes of few rows are learned by heart. None: the
            one of ``STRENGTHS`` with which networks have the least log loss on what they were not trained on
            (``held_out``); all of it teaches the attack then.
        max_rows: rows per class, sampled where there are more, so that the largest class and the number of shadows do
            not decide the memory.
        remember: where parts of the work are kept; it has ``num_parts``.

    Returns:
        An Attack whose score is the log-odds of "in" that the network of the record's class gives. A record of a class
        without members or non-members among the shadows' rows scores NaN: it is reported, not guessed. Scoring raises
        InputError where networks diverged.
    """
    wide = num_classes > WIDE
    leaf = "sorted_log_p" if wide else "log_p"  # of what is seen
    attack_networks = AttackNetworks(hidden, learning_rate, batch_size)

    def read(log_p, y):
        return {leaf: sorted_answers(log_p, y) if wide else log_p, "y": y}

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del population
        key_rows, key_train, key_trial = jax.random.split(key, 3)
        rng = np.random.Generator(np.random.Philox(key=np.asarray(jax.random.key_data(key_rows), np.uint64)))
        log_p, y, member = (np.asarray(each) for each in (seen[leaf], seen["y"], member))
        options = dict(hidden=hidden, learning_rate=learning_rate, batch_size=batch_size, max_rows=max_rows)
        words = np.asarray(jax.random.key_data(key))
        kept = remember(dict(attack="shokri", version=VERSION, key=words, log_p=log_p, y=y, member=member, **options))
        rows = Rows(log_p.reshape(-1, log_p.shape[-1]), y.reshape(-1), member.reshape(-1).astype(bool))
        shuffled = rng.permutation(len(rows.y))  # so that the first rows of a class are a sample of them
        index = rows_by_class(rows.y[shuffled], num_classes)[:, :max_rows]
        index = np.where(index >= 0, shuffled[index], -1)
        strength = l2
        if strength is None:
            held = held_out(rng, *member.shape).reshape(-1)
            some = np.sort(rng.permutation(num_classes)[:SAMPLE]) if wide else slice(None)
            strength = attack_networks.choose(key_trial, rows, index[some], held, num_steps, kept)
        return attack_networks.learn(key_train, rows, index, (strength,), num_steps, kept)[0]

    def score(state: State, seen) -> np.ndarray:
        y = np.asarray(seen["y"])
        log_odds = attack_networks.log_odds(state, seen[leaf], y)
        if len(lost := _diverged(state, y, log_odds)):
            names = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
            raise InputError(
                f"the attack network{'s' * (len(lost) > 1)} of class {names} diverged: lower attack_learning_rate"
                f" ({learning_rate:g})" + (f" or attack_l2 ({l2:g})" if l2 else "")
            )
        return log_odds

    return from_answers(read, fit, score, needs=BOTH)
