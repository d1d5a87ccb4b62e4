"""Whether models remember the records that they are said to have trained on, and whether they are different models.

A ``shadow_member`` or ``member`` that is inverted, or whose rows or columns are in another order, changes every score
and stops nothing. It shows where models are less sure of their said members than of others, or where one shadow's
answers fit another's row. What makes a record hard for all is no memory: each record's mean over the shadows is taken
off, and each class's. NumPy and SciPy; never imports jax.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from mia_jax.checks import naming, samples
from mia_jax.types import Array, few_of

LEVEL = 1e-5  # of each test, over all shadows together
SAMPLE = 16384  # records that are looked at, of more
VALUES = 20  # different probabilities within (0, 1) without which two models may well answer the same


class Remembered(NamedTuple):
    """How answers go with memberships: z is a correlation in standard errors, 0 where it may be chance of few records.

    All of S' shadows that trained on some of the records and not on others.
    """

    which: np.ndarray  # int [S'], these shadows
    own: np.ndarray  # float [S', n] ranks of the true class's probability, without what a record or class explains
    member: np.ndarray  # float [S', n] the same of who trained whom
    raw: np.ndarray  # float [S'], said members' mean rank less that of others
    z: np.ndarray  # float [S', S'], shadow's answers against said membership
    degrees: int  # of freedom, of each z


def of_members(
    labels: Array, target: Array, shadows: Array, shadow_member: Array, member: Array | None = None
) -> tuple[str, ...]:
    """Why ``shadow_member`` or ``member`` may not be those of the answers, in sentences; () where they seem to be.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
        shadow_member: bool [S, n].
        member: bool [n], where it is known.
    """
    if same := _same(target, shadows, shadow_member):
        return same
    rows = samples.rows(len(labels), SAMPLE)
    labels, trained = np.asarray(labels)[rows], np.asarray(shadow_member, bool)[:, rows]
    sure = np.stack([np.asarray(p[rows, labels], np.float64) for p in map(np.asarray, shadows)])
    which = np.flatnonzero(trained.any(axis=1) & ~trained.all(axis=1))
    if not len(which):
        return ()
    sure, trained = sure[which], trained[which]
    if len(which) > 1 and (trained == trained[0]).all():  # nothing is left without each record's mean
        return ()
    known = _remembered(which, labels, sure, trained)
    if member is None or np.all(member) or not np.any(member):
        return _shadows_fit(known, sure, trained)
    of_target, own = np.asarray(np.asarray(target)[rows, labels], np.float64), np.asarray(member, bool)[rows]
    return (
        _exchanged(which, labels, np.vstack([of_target, sure]), np.vstack([own, trained]))
        or _shadows_fit(known, sure, trained)
        or _target_fits(known, labels, of_target, sure, trained, own)
    )


def of_service(
    sure: Array, member: Array, shadow_sure: Array, shadow_member: Array, share: float | None = None
) -> tuple[str, ...]:
    """Why a service's ``member`` may be in another order than the records, in sentences; () where it seems not to be.

    Its shadows trained on none of these records. So all of its answers must be distributed as shadows' on such a share
    of own records and new ones, and not as those of a model that trained on none of them (as in ``of_members``).

    Args:
        sure: float [n], the service's probability of the label.
        member: bool [n].
        shadow_sure: float [S, k], of each shadow's own training and test records.
        shadow_member: bool [S, k].
        share: of members in the whole file, of which some others are set aside for shadows; None: in these records.
    """
    sure, member = np.asarray(sure, np.float64), np.asarray(member, bool)
    each, trained = np.asarray(shadow_sure, np.float64), np.asarray(shadow_member, bool)
    sides = (member.sum(), (~member).sum(), trained.sum(), (~trained).sum())
    if min(sides) < 50 or len(np.unique(sure)) < VALUES:
        return ()
    inside, never = _logits(each[trained]), _logits(each[~trained])
    own = _logits(sure)
    surer = _surer(sure[member], sure[~member])
    if surer > 2.5 or surer < -_bar(1) or _surer(each[trained], each[~trained]) < 2 * _bar(1):
        return ()
    share = float(member.mean()) if share is None else share
    stretched = (never - never.mean()) / max(never.std(), 1e-9) * own.std() + own.mean()
    as_mixture = share * _below(inside, own) + (1 - share) * _below(never, own)
    mixture, other, same = (
        stats.kstest(at, "uniform") for at in (as_mixture, _below(stretched, own), _below(never, own))
    )
    if (
        max(other.pvalue, same.pvalue) > LEVEL / 10
        or mixture.pvalue < 1e-4
        or mixture.statistic > 0.65 * other.statistic
    ):
        return ()
    return (
        "The target is no surer of its said members than of others, and of all records it is as sure as a model that"
        f" trained on {share:.0%} of them, by the shadows: member seems to be in another order than the records.",
    )


def unrelated_rows(labels: Array, shadows: Array, shadow_member: Array) -> tuple[str, ...]:
    """What is to be said of shadows whose answers do not depend on their rows, where others' do, in a sentence.

    A shadow whose z is as large as the others' has less than 2.5 once in 100,000 (its z is spread by 1). Of labels
    int [n], probabilities [S, n, c] and bool [S, n].
    """
    rows = samples.rows(len(labels), SAMPLE)
    labels, trained = np.asarray(labels)[rows], np.asarray(shadow_member, bool)[:, rows]
    which = np.flatnonzero(trained.any(axis=1) & ~trained.all(axis=1))
    if len(which) < 4 or len(np.unique(trained[which], axis=0)) < len(which):
        return ()
    sure = np.stack([np.asarray(shadows[k])[rows, labels] for k in which])
    own = np.diag(_remembered(which, labels, np.asarray(sure, np.float64), trained[which]).z)
    usual = np.median(np.sort(own)[len(own) // 2 :])
    odd = own < 2.5
    if usual < 2.5 - stats.norm.ppf(LEVEL) or not odd.any():
        return ()
    steps = np.sort(own[(own >= own[odd].max()) & (own <= usual)])  # others of their kind may have a little more
    if len(steps) > 1:
        odd = own <= steps[int(np.argmax(np.diff(steps)))]
    them = "it" if odd.sum() == 1 else "them"
    return (
        f"The answers of {naming.shadows(which[odd])} do not depend on what shadow_member says trained {them}, or"
        " hardly, and those of the others do: see whether the rows are those of the models (another seed, another"
        " split), and whether these were trained as the others.",
    )


# --- the same model twice --------------------------------------------------------------------------------------------


def twins(shadows: Array) -> np.ndarray:
    """int [S]: the first shadow that answers the same, bit by bit, as this one; itself where it is the first.

    Answers of a few different values, such as labels, may well be the same of different models.
    """
    first = np.arange(len(shadows))
    seen: dict[bytes, list[int]] = {}
    for k, answers in enumerate(shadows):
        some = np.asarray(answers)
        some = np.ascontiguousarray(some[:: max(1, len(some) // 64)])
        for other in seen.setdefault(some.tobytes(), []):
            if _identical(answers, shadows[other]):
                first[k] = other
                break
        else:
            seen[some.tobytes()].append(k)
    return first


def _identical(a: Array, b: Array) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return bool(np.array_equal(a, b) and len(np.unique(a[(a > 0) & (a < 1)])) >= VALUES)


def _same(target: Array, shadows: Array, shadow_member: Array) -> tuple[str, ...]:
    """Doubts of shadows that are one model though others are said to have trained them, or that are the target."""
    found, first, member = [], twins(shadows), np.asarray(shadow_member, bool)
    for k in np.unique(first):
        group = np.flatnonzero(first == k)
        if (member[group] != member[k]).any():
            found.append(
                f"Shadows {few_of(group)} (counted from 0) give bit-identical answers, though other records are said to"
                " have trained them: one model was asked several times (was it reloaded?), or fit ignores its rows."
            )
    if len(own := [k for k, answers in enumerate(shadows) if _identical(answers, target)]):
        found.append(
            f"{naming.shadows(own).capitalize()} {'gives' if len(own) == 1 else 'give'} the target's own answers, bit"
            " by bit: the target was saved for a shadow, or the wrong model was asked."
        )
    return tuple(found)


# --- what is compared ------------------------------------------------------------------------------------------------


def _remembered(which: np.ndarray, labels: np.ndarray, sure: np.ndarray, trained: np.ndarray) -> Remembered:
    ranks = _ranks(sure)
    raw = np.array([r[m].mean() - r[~m].mean() for r, m in zip(ranks, trained, strict=True)])
    own, member = (_without_class(_without_record(a), labels) for a in (ranks, trained.astype(np.float64)))
    degrees = _degrees(labels)
    return Remembered(which, own, member, raw, _z(own, member, degrees), degrees)


def _ranks(sure: np.ndarray) -> np.ndarray:
    """Of each row, -1 to 1."""
    return np.stack([2 * stats.rankdata(row) / (len(row) + 1) - 1 for row in sure])


def _without_record(rows: np.ndarray) -> np.ndarray:
    return rows - rows.mean(axis=0) if len(rows) > 1 else rows


def _without_class(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Without each class's mean, where classes have enough records."""
    if not _by_class(labels):
        return rows - rows.mean(axis=1, keepdims=True)
    size = np.maximum(np.bincount(labels), 1)
    return np.stack([row - (np.bincount(labels, row) / size)[labels] for row in rows])


def _by_class(labels: np.ndarray) -> bool:
    return len(labels) >= 5 * len(np.unique(labels))


def _degrees(labels: np.ndarray) -> int:
    return len(labels) - (len(np.unique(labels)) if _by_class(labels) else 1)


def _z(a: np.ndarray, b: np.ndarray, degrees: int) -> np.ndarray:
    """Correlations of rows [A, n] and [B, n] in standard errors, shrunk where skewness alone makes large ones likely.

    Few wrong answers of few members are such a case; the term is the first one of Cornish and Fisher's expansion.
    """

    def scaled(rows: np.ndarray) -> np.ndarray:
        spread = np.sqrt((rows**2).mean(axis=1, keepdims=True))
        return np.divide(rows, spread, out=np.zeros_like(rows), where=spread > 1e-9)

    a, b = scaled(a), scaled(b)
    n = a.shape[1]
    z = a @ b.T / n * np.sqrt(max(degrees, 0))
    skewness = np.outer((a**3).mean(axis=1), (b**3).mean(axis=1)) / np.sqrt(n)
    less = np.where(skewness * z > 0, np.abs(skewness) * np.maximum(z**2 - 1, 0) / 6, 0.0)
    return np.sign(z) * np.maximum(np.abs(z) - less, 0.0)


def _bar(tests: int) -> float:
    return float(stats.norm.isf(LEVEL / tests))


# --- shadows ---------------------------------------------------------------------------------------------------------


def _shadows_fit(known: Remembered, sure: np.ndarray, trained: np.ndarray) -> tuple[str, ...]:
    """Rows that are inverted, or that fit other shadows."""
    z, count = known.z, len(known.which)
    own = np.diag(z)
    inverted = (own < -_bar(count)) & (known.raw < 0)
    bar = _bar(count**2)
    fits, rows = optimize.linear_sum_assignment(z, maximize=True)
    best = z[fits, rows]
    moved = (rows != fits) & (best > bar) & (best - own > 1.5 * bar) & (best > 2 * own)
    if moved.sum() > inverted.sum():
        named = ", ".join(
            f"shadow {known.which[k]}'s answers fit row {known.which[rows[k]]}" for k in np.flatnonzero(moved)[:4]
        )
        return (
            f"The rows of shadow_member seem to be in another order than the shadows: {named}"
            f"{', ...' if moved.sum() > 4 else ''} (counted from 0).",
        )
    if not inverted.any():
        return ()
    on, off = (
        np.mean([p[m == side].mean() for p, m in zip(sure[inverted], trained[inverted], strict=True)])
        for side in (True, False)
    )
    whose = "all shadows" if inverted.all() else naming.shadows(known.which[inverted])
    return (
        f"The answers of {whose} are surer of records that by shadow_member did not train them (mean probability of the"
        f" true class {off:.2f}) than of those that did ({on:.2f}): shadow_member seems to be inverted, or its rows to"
        " be exchanged, or answers about members to be in another order (a loader that shuffles), or out of fold, or to"
        " have been logged in its training, with dropout or augmentation, where others were asked about after it.",
    )


# --- the target ------------------------------------------------------------------------------------------------------


def _exchanged(which: np.ndarray, labels: np.ndarray, sure: np.ndarray, trained: np.ndarray) -> tuple[str, ...]:
    """Whether the target's answers go with a shadow's row, that shadow's with ``member``, and neither with its own.

    Of float [1 + S', n], the target first, and bool [1 + S', n], ``member`` first.
    """
    z = _remembered(np.concatenate([[-1], which]), labels, sure, trained).z
    both, own, bar = np.minimum(z[0, 1:], z[1:, 0]), np.maximum(z[0, 0], np.diag(z)[1:]), _bar(2 * len(which))
    k = int(np.argmax(both))
    if both[k] < bar or own[k] > min(both[k] / 2, both[k] - bar / 2):
        return ()
    return (
        f"The target's answers fit row {which[k]} of shadow_member, those of {naming.shadows(which[k : k + 1])} with"
        f" member, and neither its own: the files of the target and of shadow {which[k]} seem to be exchanged."
        " Exchange their answers, or give each the members of its own training.",
    )


def _target_fits(
    known: Remembered,
    labels: np.ndarray,
    of_target: np.ndarray,
    sure: np.ndarray,
    trained: np.ndarray,
    member: np.ndarray,
) -> tuple[str, ...]:
    """Whether the target's said members are those that it remembers, and the shadows theirs."""
    rank, ranks = _ranks(of_target[None])[0], _ranks(sure)
    z = _without_hardness(rank, ranks, trained, member, labels)
    each, count = np.diag(known.z), len(known.which)
    together = each.sum() / np.sqrt(2 * count)  # of complementary halves two are one
    raw = rank[member].mean() - rank[~member].mean()
    if z < -max(_bar(1), each.mean() / 2) and raw < 0 and together > _bar(1):
        return (
            "The target is less sure of its said members than of the others (mean probability of the true class"
            f" {of_target[member].mean():.2f} and {of_target[~member].mean():.2f}), and shadows are surer of theirs:"
            " member seems to be inverted, or answers about members to be of models that held them out (out of fold).",
        )
    if z > _bar(1) + 2 and raw > 0 and together < 3 and each.mean() < z / 5:
        return (
            "The target is surer of its members than of others, and the shadows' answers do not depend on"
            " shadow_member: its columns seem to be in another order than the records, or fit to train on other rows"
            " than it is given, or the shadows do not imitate the target.",
        )
    if z < 2.5 and z < each.mean() / 4 and together > 2 * _bar(1):
        return _trained_on_others(labels, of_target, sure, trained, member)
    return ()


def _without_hardness(
    rank: np.ndarray, ranks: np.ndarray, trained: np.ndarray, member: np.ndarray, labels: np.ndarray
) -> float:
    """How a target's ranks go with ``member``, in standard errors, among records that are as hard for shadows that did
    not train on them: members may well be drawn among those that are harder than others.
    """
    count = (~trained).sum(axis=0)
    rows = count > 0
    if rows.sum() < 10:
        return 0.0
    labels = labels[rows]
    hard = (ranks * ~trained).sum(axis=0)[rows] / count[rows]
    both = _without_class(np.stack([rank[rows], member[rows].astype(np.float64)]), labels).T
    explained = _without_class(np.stack([hard, hard**2]), labels).T
    both = both - explained @ np.linalg.lstsq(explained, both, rcond=None)[0]
    return float(_z(both[:, :1].T, both[:, 1:].T, _degrees(labels) - 2)[0, 0])


def _trained_on_others(
    labels: np.ndarray, of_target: np.ndarray, sure: np.ndarray, trained: np.ndarray, member: np.ndarray
) -> tuple[str, ...]:
    """A target that remembers none of its said members, yet as many of all records as they are.

    Records are easy or hard by one half of the shadows. In each group the target's answers must be distributed as those
    of a model, of the other half, that trained on such a share of the group: and not as those of a model that did not,
    however much better, or surer of everything, it may be (shifted and stretched to the same mean and spread).
    """
    if len(sure) < 4 or len(np.unique(of_target)) < VALUES:
        return ()
    logits, own = _logits(sure), _logits(of_target)
    sorting, judging = slice(1, None, 2), slice(0, None, 2)
    count = (~trained[sorting]).sum(axis=0)
    there = count > 0
    easy = np.where(~trained[sorting], logits[sorting], 0).sum(axis=0) / np.maximum(count, 1)
    if there.sum() < 100:
        return ()
    group = np.digitize(easy, np.quantile(easy[there], [0.25, 0.5, 0.75]))
    as_mixture, as_other = [], []
    for k in range(4):
        rows = there & (group == k)
        values, inside = logits[judging][:, rows], trained[judging][:, rows]
        if rows.sum() < 20 or inside.sum() < 20 or (~inside).sum() < 20:
            return ()
        ours, never = own[rows], values[~inside]
        share = member[rows].mean()
        as_mixture.append(share * _below(values[inside], ours) + (1 - share) * _below(never, ours))
        stretched = (never - never.mean()) / max(never.std(), 1e-9) * ours.std() + ours.mean()
        as_other.append(_below(stretched, ours))
    mixture, other = (stats.kstest(np.concatenate(each), "uniform") for each in (as_mixture, as_other))
    if other.pvalue > LEVEL / 10 or mixture.pvalue < 1e-4 or mixture.statistic > other.statistic / 2:
        return ()
    return (
        "The target is no surer of its said members than of others, and of all records it is as sure as a model that"
        f" trained on {member.mean():.0%} of them, by the shadows: member seems to be in another order than the"
        " records.",
    )


def _logits(p: np.ndarray) -> np.ndarray:
    return np.log(np.clip(p, 1e-7, 1 - 1e-7) / np.clip(1 - p, 1e-7, 1))


def _surer(a: np.ndarray, b: np.ndarray) -> float:
    """How much larger a is than b, in standard errors of Mann and Whitney's statistic."""
    return float((_below(b, a).mean() - 0.5) / np.sqrt((1 / len(a) + 1 / len(b)) / 12))


def _below(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The share of ``values`` below each of ``at``; of those that are equal, half."""
    values = np.sort(values)
    return (np.searchsorted(values, at, "left") + np.searchsorted(values, at, "right")) / (2 * len(values))
