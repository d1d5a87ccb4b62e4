"""Du, Chen, Xiao, Ribeiro, Li, "Imitative Membership Inference Attack", USENIX Security 2026 (arXiv 2509.06796): IMIA,
adaptive, whose adversary has the candidates themselves, and does not only ask about them.

A few networks imitate the target on halves of the candidates, so that each is OUT of half of them: as in ``imia`` they
learn labels first, then the target's answers besides. With phi the scaled logit, mu_out the mean over the imitators
that did not train on the candidate, and mu_in over plain shadows that did,

    (phi - mu_out)^2 - (phi - mu_in)^2   where mu_in >= mu_out, else 0

There are neither twins nor pivots: shadows that trained on the candidate stand in for the twins.

Checked against the authors' code (github.com/zealscott/IMIA, imitate_adaptive_imia.py and attacks/imiaadaptive.py, read
again on 2026-11-28); the paper's text could not be had (?), and summaries say nothing of this form. A re-implementation
by others has mu_in over the imitators that did train on the candidate; the authors' code has plain shadows. Departures:

* Halves are complementary, in pairs, as those of a balanced audit; theirs are drawn so that each record is in half of
  the imitators. Of an odd number of records each pair leaves out one.
* mu_in is over all shadows that did train on the candidate, theirs over the first ten. A candidate that no shadow
  trained on has the score 0.
* The squares are of log-probabilities, all classes weigh the same, the last epoch is kept: as in ``imia``. Theirs start
  to imitate after 80 of 100 epochs on CIFAR-10 and -100, after 50 on the others; here after 50.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mia_jax.attacks import imia, imitation
from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.entries import Option, python_only
from mia_jax.attacks.imitation import Imitator
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.plans import membership, splits
from mia_jax.types import Array, Attack, InputError, Key, Model, Records, Target

NEEDS = frozenset({"in", "out", "queries", "features", "trainer"})
OPTIONS = (
    Option("model", source="model"),
    *python_only("count", "optimizer", "batch_size", "num_epochs", "warmup", "alpha"),
)


class State(NamedTuple):
    """What shadows that trained on the records answer, and the boundary."""

    inside: np.ndarray  # float64 [n], mu_in; NaN where no shadow trained on the record
    boundary: float


def imia_adaptive(
    num_classes: int,
    *,
    model: Model,
    count: int = 10,
    optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 100,
    num_epochs: int = 100,
    warmup: int = 50,
    alpha: float = 0.5,
) -> Attack:
    """Adaptive IMIA: whether the target answers rather as shadows that trained on the record, or as its imitators.

    Args:
        num_classes: not used.
        model: of the imitators; as a rule the shadows' own.
        count: imitators, an even number.
        optimizer, batch_size, num_epochs: of the imitators; by default Adam with 1e-3.
        warmup: of these epochs, those that learn labels alone.
        alpha: the weight of the target's answers, after the warm-up.

    Returns:
        An Attack. It sees "phi" [n], and the mean over the imitators that did not train on the record, "outside" [n].

    Raises:
        InputError: no even number of imitators, or no epoch.
    """
    del num_classes
    if count < 2 or count % 2 or num_epochs < 1:
        raise InputError("imia_adaptive needs an even number of imitators, two at least, and at least one epoch")
    imitator = Imitator(model, optimizer or optax.adam(1e-3), batch_size)
    warmup, imitating_loss = min(warmup, num_epochs - 1), imia.imitating(alpha)

    def imitate(key: Key, records: Records, log_p: Array) -> jax.Array:
        learning, imitating = (imitator.trainer(loss, records.y, log_p) for loss in (imia.labels, imitating_loss))
        pool, (key_rows, key_train) = imitation.by_row(records), jax.random.split(key)

        def one(key: Key, rows: Array) -> Array:
            warm = imitation.epochs(learning, learning.init(key, pool.x[:1]), pool, rows, warmup)
            out = imitation.epochs(imitating, warm, pool, rows, num_epochs - warmup)
            return imitator.phi(out.params, records)

        rows = halves(key_rows, len(records.y), count)
        return out_means(jax.vmap(one)(jax.random.split(key_train, count), rows), rows)

    compiled = jax.jit(imitate)

    def observe(key: Key, target: Target, records: Records):
        log_p = target.ask(records.x)
        phi = scaled_logit(log_p, records.y)["phi"]
        if target.traced:
            return {"phi": phi, "outside": imitate(key, records, log_p)}
        return jax.tree.map(np.asarray, {"phi": phi, "outside": compiled(key, records, log_p)})

    return Attack(observe, fit, score, per_example=True, needs=NEEDS)


def halves(key: Key, total: int, count: int) -> jax.Array:
    """The rows that each imitator trains on, int32 [count, total // 2]: 2p and 2p + 1 share none.

    Raises:
        InputError: fewer than two records have no halves.
    """
    if total < 2:
        raise InputError("imia_adaptive imitates the target on halves of the records: give two records at least")
    pairs = jax.vmap(lambda k: splits.halves(k, total))(jax.random.split(key, count // 2))
    return pairs.reshape(count, total // 2)


def out_means(imitated: Array, rows: Array) -> jax.Array:
    """Means of phi [count, n] over the imitators that did not train on a record, [n]; rows [count, m]: who trained."""
    out = jax.vmap(lambda r: jnp.ones(imitated.shape[1]).at[r].set(0.0))(rows)
    return (imitated * out).sum(axis=0) / out.sum(axis=0)


def in_means(phi: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Means of phi [S, n] over the shadows that trained on a record, member bool [S, n]: float64 [n], NaN without."""
    number = member.sum(axis=0)
    total = np.where(member, np.asarray(phi, np.float64), 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def fit(key: Key, seen, member: Array, population=None) -> State:
    """mu_in of all shadows, and the boundary at which shadows are told best, each judged by those not related to it.

    Args:
        key: not used.
        seen: "phi" and "outside", [S, n].
        member: bool [S, n].
        population: not used.
    """
    del key, population
    member, phi = np.asarray(member, bool), np.asarray(seen["phi"], np.float64)
    related, scores, truth = membership.related(member), [], []
    for k in range(len(member)):
        left = ~related[k]
        if left.any():
            scores.append(_scores(phi[k], seen["outside"][k], in_means(phi[left], member[left])))
            truth.append(member[k])
    boundary = best_threshold(np.concatenate(scores), np.concatenate(truth)) if scores else np.nan
    return State(in_means(phi, member), boundary)


def score(state: State, seen) -> np.ndarray:
    """How much nearer phi is to mu_in than to mu_out, [n], less the boundary."""
    return beyond(_scores(seen["phi"], seen["outside"], state.inside), state.boundary)


def _scores(phi: Array, outside: Array, inside: np.ndarray) -> np.ndarray:
    """By the formula, [n]; 0 where ``inside`` is NaN."""
    return imia.nearer(np.asarray(phi, np.float64), np.asarray(outside, np.float64), inside)
