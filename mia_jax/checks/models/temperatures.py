"""How sure a target is beside its shadows: the temperature at which each model's answers fit the labels best.

A model is calibrated after its training by dividing its logits by one number, its temperature (Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017, section 4.2). A target that was, beside shadows that were not, has
other scores for the same memory, and attacks that compare the two are weaker for it. NumPy.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mia_jax.checks import naming
from mia_jax.types import Array

STEPS = tuple(2.0**k for k in np.arange(-4, 4.25, 0.5).tolist())  # temperatures that are tried
ENTRIES, ROWS, SHADOWS = 2**17, 2048, 16  # numbers of a model's answers, its rows, and shadows, at most, that tell it
FACTOR, OF_FEW = 1.2, 1.5  # between two temperatures, that is worth a word; and beside fewer shadows than
MANY = 5
LEFT, AMONG = 0.4, 1.5  # of the difference, what a temperature may leave; and how much more than shadows' may differ
BLOCKS, FEW, UNEVEN = 4, 30, 0.75  # parts of the rows; records that tell a part's; doublings from part to part
SPREAD, RESAMPLES = 4.0, 50  # standard deviations that are no accident; bootstraps, by which the target's is known


def some(rows: int, classes: int) -> slice:
    """Which of so many rows tell the temperature."""
    return slice(None, None, -(-rows // max(64, min(ROWS, ENTRIES // classes))))


def losses(log_p: Array, y: Array) -> np.ndarray:
    """-log softmax(log_p / t)_y at each temperature t: float [r, len(STEPS)] of log-probabilities [r, c], y [r].

    In nats; ``signals.tempered_losses`` is the same inside ``jit``.
    """
    log_p, y = np.asarray(log_p, np.float64), np.asarray(y)
    told = []
    for t in STEPS:
        z = log_p / t
        z -= z.max(axis=1, keepdims=True)
        told.append(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y])
    return np.stack(told, axis=1)


def fitted(loss: np.ndarray, member: np.ndarray | None = None) -> float:
    """The base-2 logarithm of the temperature of the least mean loss, from ``losses`` [r, g] of one model.

    Args:
        member: bool [r], who trained it; members and others then count as much, however many they are.
    """
    if member is None or member.all() or not member.any():
        mean = loss.mean(axis=0)
    else:
        mean = (loss[member].mean(axis=0) + loss[~member].mean(axis=0)) / 2
    steps, best = np.log2(STEPS), int(np.argmin(mean))
    if best in (0, len(STEPS) - 1):
        return float(steps[best])
    below, here, above = mean[best - 1 : best + 2]
    bend = below - 2 * here + above
    return float(steps[best] + (steps[1] - steps[0]) * (0.5 * (below - above) / bend if bend > 0 else 0.0))


def factor(loss: np.ndarray, member: np.ndarray | None, shadows: Array) -> float | None:
    """By what the shadows' logits would have to be divided to be as sure as the target's; None: by nothing to speak of.

    Args:
        loss: ``losses`` [r, g] of the target.
        member: as of ``fitted``.
        shadows: ``fitted`` of each shadow [S].
    """
    target, shadows = fitted(loss, member), np.asarray(shadows, np.float64)
    ends = np.log2(STEPS[0]), np.log2(STEPS[-1])
    if target in ends or np.isin(ends, shadows).any():  # answers that fit the labels at no temperature, or at any
        return None
    rng, again = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(loss), len(loss))
        again.append(fitted(loss[rows], None if member is None else member[rows]))
    own, theirs = np.std(again), shadows.std(ddof=1) if len(shadows) > 1 else 0.0
    apart, worth = float(np.median(shadows)) - target, np.log2(FACTOR if len(shadows) >= MANY else OF_FEW)
    return 2.0**apart if abs(apart) > max(worth, SPREAD * np.hypot(own, theirs)) else None


class Model(NamedTuple):
    """What one model's temperature is told by."""

    loss: np.ndarray  # ``losses`` [r, g]
    member: np.ndarray | None  # bool [r], who trained it


def explained(target: Model, shadows: Sequence[Model], part: Array, same_records: bool) -> bool:
    """Whether a temperature is all that makes the target as sure as it is beside its shadows.

    It is not where losses differ as much once each model has its own best temperature (a temperature leaves these as
    they were), or where the target's temperature is another in other parts of the records: rows that slipped, a class
    that was never learned and wrong units make a model more, or less, sure on some records only.

    Args:
        target: of the records in question.
        shadows: of the same records, or of their own.
        part: int [r, k], k ways to divide the target's records.
        same_records: shadows were asked about the target's records.
    """
    return _as_shadows(target, shadows) and all(_same_everywhere(target, shadows, way, same_records) for way in part.T)


def blocks_of_rows(rows: int) -> np.ndarray:
    """int [r]: a few blocks of rows in their order, which a slip of a batch shows in."""
    return np.arange(rows) * BLOCKS // max(1, rows)


def _as_shadows(target: Model, shadows: Sequence[Model]) -> bool:
    """Whether the losses at each model's best temperature are spread as the shadows' are."""
    gaps = [_gap(target, shadows, own) for own in (False, True)]
    usual = 0.0
    if len(shadows) > 1:
        usual = AMONG * max(_gap(one, [*shadows[:k], *shadows[k + 1 :]], True) for k, one in enumerate(shadows))
    accident = 1.63 * np.sqrt(1 / len(target.loss) + 1 / sum(len(one.loss) for one in shadows))  # 1 % of KS tests
    return gaps[1] <= max(accident, usual, gaps[0] * LEFT)


def _gap(one: Model, others: Sequence[Model], own: bool) -> float:
    """The two-sample Kolmogorov-Smirnov statistic of losses, of members or of others, whichever is larger."""

    def sides(model: Model) -> list[np.ndarray]:
        at = fitted(*model) if own else 0.0
        place = (at - np.log2(STEPS[0])) / (np.log2(STEPS[1]) - np.log2(STEPS[0]))
        low = min(int(place), len(STEPS) - 2)
        loss = model.loss[:, low] + (place - low) * (model.loss[:, low + 1] - model.loss[:, low])
        return [loss] if model.member is None else [loss[model.member], loss[~model.member]]

    theirs = [np.sort(np.concatenate(side)) for side in zip(*map(sides, others), strict=True)]
    gap = 0.0
    for a, b in zip(map(np.sort, sides(one)), theirs, strict=True):
        if len(a) >= FEW and len(b) >= FEW:
            every = np.concatenate([a, b])
            shares = (np.searchsorted(side, every, side="right") / len(side) for side in (a, b))
            gap = max(gap, float(np.abs(np.subtract(*shares)).max()))
    return gap


def _same_everywhere(target: Model, shadows: Sequence[Model], part: np.ndarray, same_records: bool) -> bool:
    """Whether the target's temperature, beside the shadows', is the same in each part of the records, int [r]."""

    def off(model: Model, rows: np.ndarray) -> float:
        return fitted(model.loss[rows], None if model.member is None else model.member[rows]) - fitted(*model)

    rng = np.random.default_rng(0)
    for k in np.unique(part):
        rows = np.flatnonzero(part == k)
        if len(rows) < FEW:
            continue
        own = off(target, rows)
        again = [off(target, rng.choice(rows, len(rows))) for _ in range(RESAMPLES // 2)]
        theirs = np.array([off(one, rows) for one in shadows]) if same_records else np.zeros(1)
        spread = np.hypot(np.std(again), theirs.std())
        if abs(own - np.median(theirs)) > max(UNEVEN, SPREAD * spread):
            return False
    return True


def softmax_twice(p: Array) -> bool:
    """Whether answers [n, c] are softmaxes of probabilities: of what softmax makes of 0 to 1, to the very ends.

    log p differs from such probabilities by a constant in each row, that by which they sum to 1.
    """
    p = np.asarray(p, np.float64)
    if len(p) < FEW or (p <= 0).any():
        return False
    inner = np.log(p)
    inner += (1 - inner.sum(axis=1, keepdims=True)) / p.shape[1]
    slack = 1e-2 if p.shape[1] > 2 else 1e-3  # two classes have the ends of many an honest model
    inside = inner.min() > -slack and inner.max() < 1 + slack
    return bool(inside and inner.max() > 1 - 5 * slack and inner.min() < slack and (inner > 1 - 10 * slack).sum() >= 5)


def softmax_twice_note(target: Array, shadows: Array | Sequence[Array]) -> str | None:
    """The sentence on a target, or shadows, whose answers went through a softmax twice.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
    """
    own, each = softmax_twice(target), [softmax_twice(p) for p in shadows]
    if not own and not any(each):
        return None
    odd, alike = np.flatnonzero(each) if any(each) else [], own and all(each)
    if alike:
        whose, array = "All models' answers", "target and shadows"
    elif own and not len(odd):
        whose, array = "The target's answers", "target"
    elif not own and len(odd) == len(each):
        whose, array = "The shadows' answers", "shadows"
    else:
        whose = f"The answers of {'the target and of ' * own}{naming.shadows(odd)}"
        array = f"shadows[{odd[0]}]" if len(odd) == 1 else "these"
        array += ", and of target" * own
    if _of_sigmoids(target if own else np.asarray(shadows[odd[0]])):
        kind, mended = "sigmoid", f"np.log(q / (1 - q)), for class 1, of q, its column of {array}"
    else:
        inverse = f"np.clip(z + (1 - z.sum(-1, keepdims=True)) / {np.shape(target)[1]}, 0, 1)"
        kind, mended = "softmax", f"{inverse} of z = np.log({array})"
    what = "read more than their order are misled" if alike else "compare them with the others' are weaker"
    return (
        f"{whose} look like a {kind} of probabilities, as where a {kind} is applied to what a model's own {kind} gave,"
        f" and attacks that {what}: save the probabilities, {mended}."
    )


def _of_sigmoids(p: Array) -> bool:
    """Whether answers [n, c] that are softmaxes of probabilities are of two classes, the second of which has half."""
    return np.shape(p)[1] == 2 and float(np.min(np.asarray(p)[:, 1])) > 0.49


def note(factor: float, remedy: str) -> str:
    """What is to be said of such a target; ``remedy`` is what to do, with ``{t}`` where the temperature stands."""
    sure, t = ("less", f"{factor:.2g}") if factor > 1 else ("more", f"{factor:.2g}")
    return (
        f"The target is {sure} sure of its answers than the shadows are of theirs, as if its logits were divided by"
        f" {t}: it may have been calibrated (temperature scaling), or trained otherwise than they. Attacks that compare"
        f" it with shadows are weaker for that; {remedy.format(t=t)}."
    )
