"""Bertran, Tang, Roth, Kearns, Morgenstern, Wu, "Scalable Membership Inference Attacks via Quantile Regression",
NeurIPS 2023. No shadow model: what the target's answer would be for a non-member like x is learned from population
records, which did not train it.

The statistic is the scaled logit phi of the target's answer, and a network on (x, y) learns its distribution over
non-members: either its 1 - alpha quantile q(x, y), by the pinball loss, or mean and spread of a Gaussian (the paper's
choice for larger data). Zero, the decision boundary, is a false alarm for a share alpha of the non-members: population
records that were held out set it, as in conformal prediction, for a network fits those that it learned from too well.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.entries import python_only
from mia_jax.models import networks
from mia_jax.training import single
from mia_jax.types import Array, Attack, InputError, Key, Model, Params, Records, Target, TrainState

NEEDS = frozenset({"population", "features"})
OPTIONS = python_only(
    "head", "alpha", "hidden", "learning_rate", "weight_decay", "batch_size", "num_epochs", "patience", "held_out"
)
_ROWS = 8192  # scored at once

Loss = Callable[[Array, Array], jax.Array]  # (outputs [b, h], phi [b]) -> [b]


class Standard(NamedTuple):
    """How the regression's inputs and its statistic are standardized, by the records that it learns from."""

    mean: np.ndarray  # [f] of the features
    spread: np.ndarray  # [f]
    center: float  # of phi
    scale: float

    def features(self, seen, num_classes: int) -> np.ndarray:
        """The inputs [n, f] for what was seen of n records."""
        return (_features(seen, num_classes) - self.mean) / self.spread

    def records(self, seen, num_classes: int) -> Records:
        """Inputs and statistics, as a trainer takes them: x [n, f], y [n] float32."""
        phi = (seen["phi"] - self.center) / self.scale
        return Records(jnp.asarray(self.features(seen, num_classes)), jnp.asarray(phi, jnp.float32))


class State(NamedTuple):
    """The regression, and where zero lies."""

    params: Params
    standard: Standard
    offset: float  # what held-out population records add to the quantile


def pinball(alpha: float) -> Loss:
    """The loss that the 1 - alpha quantile minimizes: (q [b, 1], phi [b]) -> [b]."""

    def loss(q: Array, phi: Array) -> jax.Array:
        above = phi - q[:, 0]
        return jnp.maximum((1 - alpha) * above, -alpha * above)

    return loss


def gaussian(head: Array, phi: Array) -> jax.Array:
    """Negative log-likelihood without its constant: (mean and log of the spread [b, 2], phi [b]) -> [b]."""
    log_spread = _log_spread(head)
    return log_spread + 0.5 * ((phi - head[:, 0]) * jnp.exp(-log_spread)) ** 2


def _log_spread(head: Array) -> jax.Array:
    return jnp.clip(head[:, 1], -4.0, 4.0)  # of phi in units of its spread: a record alone must not get a spread of 0


def quantile(
    num_classes: int,
    *,
    head: Literal["gaussian", "pinball"] = "gaussian",
    alpha: float = 0.05,
    hidden: tuple[int, ...] = (64,),
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 128,
    num_epochs: int = 100,
    patience: int = 10,
    held_out: float = 0.25,
) -> Attack:
    """How far phi lies above what is learned of non-members like the record, by quantile regression.

    Args:
        num_classes: c.
        head: "gaussian": score (phi - mu) / s - offset; "pinball": score phi - q - offset.
        alpha: false alarms wanted at zero; of "pinball", also the quantile that is learned.
        hidden: ReLU units of the network on the flattened record and the one-hot class, columns standardized.
        learning_rate, weight_decay, batch_size: of AdamW.
        num_epochs: at most; it stops after ``patience`` epochs in which the loss on held-out records did not fall, and
            takes the best epoch's network.
        held_out: share of the population records that choose the epoch and set zero.

    Returns:
        An Attack. It sees ``phi`` [n], ``x`` [n, *f] in its own dtype and ``y``: of shadows, nothing is used.

    Raises:
        InputError: alpha or held_out outside (0, 1); on fit, without at least 8 population records.
    """
    if not 0 < alpha < 1 or not 0 < held_out < 1:
        raise InputError(f"alpha = {alpha} and held_out = {held_out} must be within (0, 1)")
    loss = {"gaussian": gaussian, "pinball": pinball(alpha)}[head]
    model = networks.mlp({"gaussian": 2, "pinball": 1}[head], hidden=hidden, activation=jax.nn.relu)
    optimizer = optax.adamw(learning_rate, weight_decay=weight_decay)
    regress = _regression(model, optimizer, loss, batch_size, num_epochs, patience)
    apply = jax.jit(model.apply)

    def observe(key: Key, target: Target, records: Records):
        del key
        return {**scaled_logit(target.ask(records.x), records.y), "x": records.x, "y": records.y}

    def above(params: Params, standard: Standard, seen) -> np.ndarray:
        """How high phi [n] stands among non-members like the record, before the offset."""
        x = standard.features(seen, num_classes)
        parts = [np.asarray(apply(params, x[i : i + _ROWS])) for i in range(0, len(x), _ROWS)]
        out, phi = np.concatenate(parts), np.asarray(seen["phi"], np.float64)
        distance = (phi - standard.center) / standard.scale - out[:, 0]
        return (
            distance / np.exp(np.asarray(_log_spread(out), np.float64))
            if head == "gaussian"
            else distance * standard.scale
        )

    def fit(key: Key, seen, member: Array, population=None) -> State:
        del seen, member
        key_order, key_train = jax.random.split(key)
        rest, train = _split(key_order, _of_target(population), held_out)
        standard = _standardizing(train, num_classes)
        params = regress(key_train, standard.records(train, num_classes), standard.records(rest, num_classes))
        return State(params, standard, _conformal_quantile(above(params, standard, rest), alpha))

    def score(state: State, seen) -> np.ndarray:
        return above(state.params, state.standard, seen) - state.offset

    return Attack(observe, fit, score, needs=NEEDS)


# --- the steps of fit ------------------------------------------------------------------------------------------------


def _of_target(population) -> dict[str, np.ndarray]:
    """What the target answered about the population, leaves [m, ...]. Raises InputError for fewer than 8 records."""
    if population is None or np.shape(population["phi"])[1] < 8:
        raise InputError(
            "quantile learns from population records that did not train the target: pass at least 8 of them"
        )
    return {name: np.asarray(leaf)[0] for name, leaf in population.items()}  # row 0: the target's answers


def _split(key: Key, answers: dict[str, np.ndarray], held_out: float) -> list[dict[str, np.ndarray]]:
    """[held out, to learn from], two of the records at least in each."""
    n = len(answers["phi"])
    order = np.asarray(jax.random.permutation(key, n))
    aside = min(max(2, round(held_out * n)), n - 2)
    return [{name: leaf[rows] for name, leaf in answers.items()} for rows in np.split(order, [aside])]


def _features(seen, num_classes: int) -> np.ndarray:
    """The flattened record and its one-hot class, float32 [n, f]."""
    x, y = np.asarray(seen["x"]), np.asarray(seen["y"])
    one_hot = (y[:, None] == np.arange(num_classes)).astype(np.float32)
    return np.concatenate([x.reshape(len(x), -1).astype(np.float32), one_hot], axis=1)


def _standardizing(train, num_classes: int) -> Standard:
    """The scale of the records to learn from; a column or a statistic that is the same everywhere stays as it is."""
    x, phi = _features(train, num_classes), np.asarray(train["phi"], np.float64)
    spread, scale = x.std(axis=0), float(phi.std())
    return Standard(x.mean(axis=0), np.where(spread > 0, spread, 1.0), phi.mean(), scale or 1.0)


def _regression(
    model: Model, optimizer: optax.GradientTransformation, loss: Loss, batch_size: int, num_epochs: int, patience: int
) -> Callable[[Key, Records, Records], Params]:
    """What trains the network: (key, records to learn from, held-out records that choose the epoch) -> parameters."""
    trainer = single.make_trainer(model, optimizer, batch_size, loss=loss)
    epoch = jax.jit(trainer.epoch)

    @jax.jit
    def mean_loss(params: Params, records: Records) -> jax.Array:
        return loss(model.apply(params, records.x), records.y).mean()

    def regress(key: Key, train: Records, judge: Records) -> Params:
        index = jnp.arange(len(train.y))
        epochs = _epochs(trainer.init(key, train.x[:1]), lambda network: epoch(network, train, index)[0], num_epochs)
        return jax.tree.map(np.asarray, _lowest(epochs, lambda params: float(mean_loss(params, judge)), patience))

    return regress


def _epochs(network: TrainState, epoch: Callable[[TrainState], TrainState], count: int) -> Iterator[Params]:
    """The parameters at first and after each epoch."""
    yield network.params
    for _ in range(count):
        network = epoch(network)
        yield network.params


def _lowest(epochs: Iterator[Params], loss: Callable[[Params], float], patience: int) -> Params:
    """The parameters with the lowest loss; it ends after ``patience`` epochs in which it did not fall."""
    best = next(epochs)
    lowest, since = loss(best), 0
    for params in epochs:
        now = loss(params)
        best, lowest, since = (params, now, 0) if now < lowest else (best, lowest, since + 1)
        if since >= patience:
            break
    return best


def _conformal_quantile(held_out: np.ndarray, alpha: float) -> float:
    """What a new non-member exceeds with chance ``alpha`` at most, by those held out [m] (split conformal)."""
    rank = min(int(np.ceil((1 - alpha) * (len(held_out) + 1))), len(held_out))
    return float(np.sort(held_out)[rank - 1])
