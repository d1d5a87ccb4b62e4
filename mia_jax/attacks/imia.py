"""Du, Chen, Xiao, Ribeiro, Li, "Imitative Membership Inference Attack", USENIX Security 2026 (arXiv 2509.06796): IMIA,
non-adaptive.

A few networks imitate the target, all of them without the candidates (OUT), on the adversary's own records: first they
learn the records' labels, then the target's answers besides,

    (1 - alpha) cross-entropy + alpha mean over classes of (log p_imitator - log p_target)^2,   alpha = 1/2

Each has a twin (IN) that leaves it where the imitation begins and learns pivots instead, by cross-entropy: the half of
each class's records that the target is surest of, which stand for its members. With phi the scaled logit, mu_out the
mean over the imitators of what they answer about the candidate, and mu_in over the twins and the pivots of its class,

    (phi - mu_out)^2 - (phi - mu_in)^2   where mu_in >= mu_out, else 0

Checked against the authors' code (github.com/zealscott/IMIA, util_imitation.py and attacks/imianonadaptive.py) and
summaries that give the paper's loss and its phi; its text could not be had (?). Departures:

* Summaries have the largest of the other classes' probabilities in phi; the code has their sum, as ``lira``, and so
  here.
* The squares are of log-probabilities, as the summary says of the paper: the code takes the target's logits, which a
  black box does not tell.
* Centers are means, theirs medians. All classes weigh the same in the squares, as in their settings for CIFAR-10 and
  MNIST (margin_weight 1).
* They keep the epoch that is best on held-out records; here the last.
* The adversary's own records are the population: halves of it, drawn at random, as theirs.

The adaptive attack is ``imia_adaptive``: its imitators train on the candidates themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attacks import imitation
from mia_jax.attacks.entries import python_only
from mia_jax.attacks.imitation import Imitator
from mia_jax.types import Array, Attack, Key, Model, Records, TrainState

OPTIONS = (*imitation.OPTIONS, *python_only("warmup", "pivot_epochs", "alpha"))


def imia(
    num_classes: int,
    *,
    population: Records,
    model: Model,
    count: int = 10,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    num_epochs: int = 100,
    warmup: int = 50,
    pivot_epochs: int = 20,
    alpha: float = 0.5,
) -> Attack:
    """IMIA: whether the target answers rather as its imitators do of pivots, or as they do of the record.

    Args:
        num_classes: c.
        population: records [N] that trained no model, which the target is asked about.
        model: of the imitators; as a rule the shadows' own.
        count: imitators, 2 at least; each has a twin.
        optimizer, batch_size, num_epochs: of the imitators; by default Adam with 1e-3.
        warmup: of these epochs, those that learn labels alone.
        pivot_epochs: of the twins, after the warm-up.
        alpha: the weight of the target's answers, after the warm-up.

    Returns:
        An Attack. It sees "phi" [n], the imitators' "imitated" [n, count], and the twins' mean on pivots of the
        record's class, "pivots" [n].

    Raises:
        InputError: as ``imitation.check``.
    """
    imitation.check("imia", population, count, num_epochs)
    imitator = Imitator(model, optimizer or optax.adam(1e-3), batch_size)
    warmup = min(warmup, num_epochs - 1)
    pivots = int((np.bincount(np.asarray(population.y), minlength=num_classes) + 1).sum() // 2)  # at most

    def imitate(key: Key, population: Records, log_p: Array, candidates: Records) -> dict[str, Array]:
        learning, both = (imitator.trainer(loss, population.y, log_p) for loss in (labels, imitating(alpha)))
        pool, y = imitation.by_row(population), jnp.asarray(population.y)
        chosen = pivot_rows(log_p, y, pivots)
        known = Records(pool.x[chosen], y[chosen])

        def one(key: Key) -> tuple[Array, Array]:
            key_rows, key_train, key_pivots = jax.random.split(key, 3)
            rows = imitation.half(key_rows, len(y))
            warm = imitation.epochs(learning, learning.init(key_train, pool.x[:1]), pool, rows, warmup)
            out = imitation.epochs(both, warm, pool, rows, num_epochs - warmup)
            twin: TrainState = learning.init(key_pivots, pool.x[:1])._replace(params=warm.params)
            twin = imitation.epochs(learning, twin, pool, chosen, pivot_epochs)
            return imitator.phi(out.params, candidates), imitator.phi(twin.params, known)

        imitated, inside = jax.vmap(one)(jax.random.split(key, count))
        by_class = class_means(inside.mean(axis=0), known.y, chosen >= 0, num_classes)
        return {"imitated": imitated.T, "pivots": by_class[jnp.asarray(candidates.y)]}

    return imitation.attack(population, imitate, score)


def labels(logits: Array, log_p: Array, y: Array) -> jax.Array:
    """Cross-entropy [b] of the records' own labels: an ``imitation.Loss``."""
    del log_p
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def imitating(alpha: float) -> imitation.Loss:
    """The loss of labels, and with the weight ``alpha`` of how far log-probabilities are from the target's."""

    def both(logits: Array, log_p: Array, y: Array) -> jax.Array:
        squares = jnp.mean((jax.nn.log_softmax(logits) - log_p) ** 2, axis=-1)
        return (1 - alpha) * labels(logits, log_p, y) + alpha * squares

    return both


def pivot_rows(log_p: Array, y: Array, count: int) -> jax.Array:
    """Rows of the half of each class's records that the target is surest of, rounded up; then -1.

    Args:
        log_p: the target's answers [N, c].
        y: int [N].
        count: rows that are returned, as many at least as there are pivots.
    """
    y = jnp.asarray(y)
    loss = -jnp.take_along_axis(jnp.asarray(log_p), y[:, None], axis=1)[:, 0]
    order = jnp.lexsort((loss, y))
    number = jnp.bincount(y, length=log_p.shape[1])
    place = jnp.arange(len(y)) - (jnp.cumsum(number) - number)[y[order]]  # among those of its class
    rank = jnp.zeros(len(y), int).at[order].set(place)
    return jnp.nonzero(2 * rank < number[y], size=count, fill_value=-1)[0].astype(jnp.int32)


def class_means(values: Array, y: Array, there: Array, num_classes: int) -> jax.Array:
    """Means of values [k] by class, [c]; over all classes, for one without any. ``there`` [k]: those that count."""
    weight = there.astype(values.dtype)
    total = jax.ops.segment_sum(values * weight, y, num_classes)
    number = jax.ops.segment_sum(weight, y, num_classes)
    return jnp.where(number > 0, total / jnp.maximum(number, 1), total.sum() / jnp.maximum(number.sum(), 1))


def score(seen: dict[str, np.ndarray]) -> np.ndarray:
    """How much nearer phi is to the pivots' than to the imitators', [n]; 0 where the pivots' is the smaller.

    Args:
        seen: "phi" [n], of the target; "imitated" [n, count]; "pivots" [n].
    """
    phi, inside = (np.asarray(seen[name], np.float64) for name in ("phi", "pivots"))
    return nearer(phi, seen["imitated"].astype(np.float64).mean(axis=1), inside)


def nearer(phi: np.ndarray, outside: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(phi - outside)^2 - (phi - inside)^2 of float64 [n]; 0 where ``inside`` is the smaller, or NaN."""
    return np.where(inside >= outside, (phi - outside) ** 2 - (phi - inside) ** 2, 0.0)
