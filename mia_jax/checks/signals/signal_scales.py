"""How widely, and how evenly, models' numbers are spread: units, functions of the error, numbers that were scaled.

Compared on records that are new to each model. NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import naming
from mia_jax.types import Array

MODELS, RECORDS = 4, 100  # by which a note is made
NOTED, WORTH, ODD = 1e-3, 1.25, 3.0  # level of the target's; times as wide at least; times of a single shadow
SPREADS = 6.0  # median deviations of the shadows among each other, that an odd one lies beyond
SHIFTED = 0.5  # interquartile ranges between models' medians that are worth a word
DOUBLE = 1.5  # times as wide, of two groups: a note
BENT = 1.7  # times as uneven on both sides of the median: another function of the error
GROUPS, KIND = 6, 3  # shadows of which two kinds can be told, and those of each kind
SAME = 1e-4  # spreads that means, and shares that spreads, differ by where each model's numbers were scaled
MANY_RECORDS, FEWER = 100, 0.25  # records, and the share of them that differ, if all numbers are rounded
VARIOUS, FEW_VALUES = 0.95, 0.6  # share of a model's numbers that differ, and of one that is rounded
ALL_ONE = 0.01  # of all that numbers vary by, within a record: models that hardly differ have one mean and spread
LEAST = 50  # records by which that is told
MOVED, EACH = 0.5, 0.5  # quartile ranges that a target's median lies elsewhere by, and its share that all do
ELSEWHERE = 1e-5  # level of that
NEARER, GOOD = 0.33, 0.5  # of the error as it is, and of y's variance: what is left where a function is undone
FAR = 2.0  # times the error of a constant that no model makes, not even on what is new to it


def of_errors(errors: Array, constant: Array, member: Array | None) -> tuple[str, ...]:
    """Why predictions may be in other units than what is predicted, in a sentence: a constant would be nearer.

    Args:
        errors: float [n], of the target: squared, or absolute.
        constant: float [n], the same errors of the one constant that is nearest to all records.
        member: bool [n], who trained the target, where that is known.
    """
    errors, constant = np.asarray(errors, np.float64), np.asarray(constant, np.float64)
    sides = [np.ones(len(errors), bool)] if member is None else [np.asarray(member, bool), ~np.asarray(member, bool)]
    centers = (np.mean, np.median)
    far = [min(c(errors[side]) / max(c(constant[side]), 1e-300) for c in centers) for side in sides if side.any()]
    if len(errors) < LEAST or min(far) < FAR:
        return ()
    whom = "members and others alike" if len(sides) > 1 else "the records"
    times = errors.mean() / max(constant.mean(), 1e-300)
    return (
        f"The target's errors are {times:.3g} times those of one constant for all records, on {whom}: what it predicts"
        " seems to be in another unit than y, as of a model that was trained on a scaled y or its logarithm, or in"
        " another order; give predictions in the unit of y (scaler.inverse_transform) of target and shadows.",
    )


def of_functions(prediction: Array, y: Array, member: Array | None) -> tuple[str, ...]:
    """Why predictions may be a function of y and not y, in a sentence: undone, they are far nearer.

    Args:
        prediction, y: float [n].
        member: bool [n], who trained the target, where that is known: those that it knows best.
    """
    p, y = np.asarray(prediction, np.float64), np.asarray(y, np.float64)
    if member is not None:
        p, y = p[np.asarray(member, bool)], y[np.asarray(member, bool)]
    if len(y) < LEAST or not y.std() > 0:
        return ()
    error = float(np.mean((p - y) ** 2))
    with np.errstate(over="ignore"):
        undone = {
            "its logarithm, log(1 + y); undo it by np.expm1": np.expm1(p),
            "its logarithm; undo it by np.exp": np.exp(p),
            "its logarithm to the base 10; undo it by 10**p": 10.0**p,
            "its square root; undo it by p**2": p * p,
            "y scaled to mean 0 and deviation 1; undo it by scaler.inverse_transform": p * y.std() + y.mean(),
            "y scaled to 0..1; undo it by scaler.inverse_transform": p * np.ptp(y) + y.min(),
        }
        left = {words: float(np.mean((q - y) ** 2)) for words, q in undone.items()}
    best = min(left, key=lambda words: left[words])
    if not left[best] < min(NEARER * error, GOOD * float(y.var())):
        return ()
    return (
        f"Predictions rise with y and are not in its unit: they seem to be {best}, in target and shadows (the target's"
        f" mean squared error {'on its members ' if member is not None else ''}is {error:.3g}, and {left[best]:.3g}"
        " then).",
    )


def doubts(shadows: Array, trained: Array) -> tuple[str, ...]:
    """Why shadows' numbers may be of two kinds, in a sentence: another unit, or another function, in some of them.

    Args:
        shadows: float [S, n].
        trained: bool [S, n], who trained them.
    """
    new = [row[~of] for row, of in zip(np.asarray(shadows, np.float64), np.asarray(trained, bool), strict=True)]
    which = [k for k, one in enumerate(new) if len(one) >= RECORDS]
    told = np.array([np.percentile(new[k], (5, 25, 50, 75, 95)) for k in which]).reshape(-1, 5)
    low, high, wide = told[:, 2] - told[:, 0], told[:, 4] - told[:, 2], told[:, 3] - told[:, 1]
    if len(which) < GROUPS or min(low.min(), high.min(), wide.min()) <= 0:
        return ()
    center = told[:, 2] / np.median(wide)
    if (higher := _group(center, SHIFTED)) is not None:
        by = float(center[higher].mean() - np.delete(center, higher).mean())
        return (
            f"The shadows' numbers are of two kinds: those of {naming.shadows(np.array(which)[higher])}"
            f" are larger by {by:.2g} times the range of their middle half, on records new to each: another function of"
            " the error, a constant that some leave out, or far better models. Save the same number of all models.",
        )
    ways = {
        "are spread {:.2g} times as widely as the others'": (np.log(wide), ODD),
        "are distributed otherwise than the others' (the lower half is {:.2g} times as wide, beside the upper one)": (
            np.log(low / high),
            BENT,
        ),
    }
    for words, (each, worth) in ways.items():
        if (wider := _group(each, np.log(worth))) is not None:
            times = float(np.exp(each[wider].mean() - np.delete(each, wider).mean()))
            return (
                f"The shadows' numbers are of two kinds: those of {naming.shadows(np.array(which)[wider])}"
                f" {words.format(times)}, on records new to each: they seem to be of another unit, or another"
                " function of the error, as its square is. Save the same number of all models.",
            )
    return ()


def moved(models: Array, trained: Array, member: Array | None = None) -> tuple[str, ...]:
    """Why the target's numbers may lie elsewhere than the shadows', in a sentence; () where they do not.

    A better or a worse model has numbers that are spread otherwise, too; a mean that was taken off, or a constant that
    was left out, moves all of them alike.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target; where it is not known all records are compared.
    """
    models, trained = np.asarray(models, np.float64), np.asarray(trained, bool)
    who = np.zeros(models.shape, bool) if member is None else np.vstack([member, trained]).astype(bool)
    new = [row[~of] for row, of in zip(models, who, strict=True)]
    which = [k for k in range(1, len(new)) if len(new[k]) >= RECORDS]
    if len(which) < MODELS or len(new[0]) < RECORDS:
        return ()
    told = np.array([np.percentile(new[k], (10, 25, 50, 75, 90)) for k in (0, *which)])
    wide = float(np.median(told[1:, 3] - told[1:, 1]))
    apart, middle = told[0] - np.median(told[1:], axis=0), told[:, 2]
    bar = stats.t.isf(ELSEWHERE / 2, len(which) - 1) * middle[1:].std(ddof=1) * np.sqrt(1 + 1 / len(which))
    far, least = abs(apart[2]), MOVED * wide * (1 if member is not None else 2)
    alike = (apart * np.sign(apart[2])).min() > EACH * far
    if wide <= 0 or far < max(least, min(bar, SPREADS * wide)) or not alike:
        return ()
    if far < 1.5 * np.abs(middle[1:] - np.median(middle[1:])).max():
        return ()
    if (told[0] * np.median(told[1:], axis=0) > 0).all():
        times = told[0] / np.median(told[1:], axis=0)
        if np.log(times).std() / abs(np.log(times).mean()) < apart.std() / far:  # a factor fits better
            return (
                f"The target's numbers are all about {np.median(times):.3g} times the shadows': they seem to be of"
                " another unit (a loss in bits is 1.44 times that in nats), or the target to be another kind of model."
                " Save the same number of all models.",
            )
    return (
        f"The target's numbers are {'larger' if apart[2] > 0 else 'smaller'} than the shadows', all by about"
        f" {far:.3g} ({far / wide:.2g} times what half of the shadows' are spread by): a mean seems to be taken off, or"
        " a constant left out, in one of them, or the target to be another kind of model. Save the same number of all"
        " models.",
    )


def _group(each: np.ndarray, worth: float) -> np.ndarray | None:
    """int: which of numbers [S] are the larger of two groups, farther apart than either is wide; None: it is one."""
    order = np.argsort(each, kind="stable")
    value, count = each[order], len(each)
    bar = 1.5 + 36 / (count - 3) ** 2  # of normal or log-normal numbers 1 in 200 files is so, and few by ``worth``
    for cut in range(KIND, count - KIND + 1):
        gap, wide = value[cut] - value[cut - 1], max(value[cut - 1] - value[0], value[-1] - value[cut])
        if gap > max(bar * wide, worth):
            return np.sort(order[cut:])
    return None


def notes(target: Array, shadows: Array, shadow_member: Array, member: Array | None = None) -> tuple[str, ...]:
    """What is to be said of models whose numbers are spread otherwise than the others', in sentences.

    Args:
        target: float [n], larger where the target fits the record better.
        shadows: float [S, n].
        shadow_member: bool [S, n].
        member: bool [n], where it is known.
    """
    models = np.vstack([np.asarray(target, np.float64), np.asarray(shadows, np.float64)])
    if said := _scaled_each(models):
        return (said,)
    trained = np.asarray(shadow_member, bool)
    mine = np.zeros(models.shape[1], bool) if member is None else np.asarray(member, bool)
    new = [row[~of] for row, of in zip(models, np.vstack([mine, trained]), strict=True)]
    wide = np.array([np.subtract(*np.percentile(one, (75, 25))) if len(one) >= RECORDS else 0.0 for one in new])
    which = np.flatnonzero(wide[1:] > 0)
    if len(which) < MODELS:
        return ()
    each, said = np.log(wide[1:][which]), []
    apart = np.abs(each - np.median(each))
    odd = which[apart > max(np.log(ODD), SPREADS * 1.4826 * float(np.median(apart)))]
    if len(odd):
        times = np.exp(np.log(wide[1:][odd[0]]) - np.median(each))
        said.append(
            f"The numbers of {naming.shadows(odd)} are spread {_times(times)} as the others' (of"
            " records new to each): another unit, as before a scaler is undone, or another kind of model."
        )
        each = each[apart <= np.log(ODD)]
    elif len(each) >= GROUPS and (wider := _group(each, np.log(DOUBLE))) is not None:
        times = np.exp(each[wider].mean() - np.delete(each, wider).mean())
        said.append(
            f"The shadows' numbers are of two kinds: those of {naming.shadows(which[wider])} are spread"
            f" {_times(times)} as the others', on records new to each. Save the same number of all models."
        )
    beyond = np.log(wide[0]) - each.mean() if wide[0] > 0 and member is not None and len(each) >= MODELS else 0.0
    bar = stats.t.isf(NOTED / 2, len(each) - 1) * each.std(ddof=1) * np.sqrt(1 + 1 / len(each)) if beyond else 0.0
    if abs(beyond) > max(bar, np.log(WORTH)):
        said.append(
            f"The target's numbers are spread {_times(np.exp(beyond))} as the shadows' (on records new to each), which"
            " differ less among each other: another unit (bits and nats, a sum and a mean), or a target that was"
            " trained otherwise. Save the same number of all models."
        )
    if not said and member is not None:
        said += [*(_shifted(new, which) if len(new[0]) >= RECORDS else []), *_rounded(models)]
    return tuple(said)


def _shifted(new: list[np.ndarray], which: np.ndarray) -> list[str]:
    """What is to be said of a target whose numbers are all larger, or smaller, than the shadows', on new records."""
    center = np.array([np.median(new[k]) for k in (0, *(1 + which))])
    wide = float(np.median([np.subtract(*np.percentile(new[k], (75, 25))) for k in 1 + which]))
    off = (center[0] - center[1:].mean()) / wide
    bar = stats.t.isf(NOTED / 2, len(which) - 1) * center[1:].std(ddof=1) / wide * np.sqrt(1 + 1 / len(which))
    if abs(off) < max(bar, SHIFTED):
        return []
    return [
        f"The target's numbers are {'larger' if off > 0 else 'smaller'} than the shadows' by {abs(off):.2g} times the"
        " range of their middle half (on records new to each): a constant that one of them leaves out, or a far"
        f" {'better' if off > 0 else 'worse'} model. Save the same number of all models."
    ]


def coarse(models: np.ndarray) -> tuple[str, ...]:
    """What is to be said of numbers that are rounded in all models, in a sentence; of float [K, n]."""
    n = models.shape[1]
    if len(np.unique(models[0])) <= 2 and len(values := np.unique(models)) == 2:
        return (
            f"All numbers are {values[0]:g} or {values[1]:g}, as of right and wrong: attacks see no more than that."
            " Save how well each model fits each record, as its log-likelihood.",
        )
    if n < MANY_RECORDS or (models == np.round(models)).all():  # whole numbers are counts, or right and wrong
        return ()
    different = int(np.median([len(np.unique(row)) for row in models]))
    if different > FEWER * n:
        return ()
    with np.errstate(over="ignore"):
        single = models.astype(np.float32)
    bfloat16 = bool((single == models).all() and not (single.view(np.uint32) & 0xFFFF).any())
    if not bfloat16 and not np.allclose(100 * models, np.round(100 * models), rtol=0, atol=1e-6):
        return ()
    return (
        f"All numbers are {'of bfloat16' if bfloat16 else 'rounded to two decimals'}, {different:,} different ones in a"
        f" model's {n:,} records: what models remember below such a step is lost. Compute and save them in float32.",
    )


def _rounded(models: np.ndarray) -> list[str]:
    """What is to be said of models whose numbers are rounded, where others' are not."""
    various = np.array([len(np.unique(row)) for row in models]) / models.shape[1]
    few = np.flatnonzero(various < FEW_VALUES)
    if not len(few) or np.median(various) < VARIOUS:
        return []
    return [
        f"The numbers of {naming.models(few)} have few digits, or few values, and the others' all differ: round none of"
        " them."
    ]


def _scaled_each(models: np.ndarray) -> str | None:
    """What is to be said of models of which each one's numbers were scaled by themselves."""
    own = models - models.mean(axis=0)
    if models.shape[1] < LEAST or own.std() < ALL_ONE * models.std():
        return None
    low, high, middle = models.min(axis=1), models.max(axis=1), np.median(models, axis=1)
    quarter = np.subtract(*np.percentile(models, (75, 25), axis=1))
    mean, usual = models.mean(axis=1), SAME * float(np.median(quarter))
    if len(models) >= MODELS and usual > 0 and np.ptp(mean) < usual and np.ptp(models.std(axis=1)) > usual:
        return (
            f"All models' numbers have the same mean ({mean[0]:.3g}): each model's seems to be taken off, which hides"
            " how much better one fits all records. Save them before that."
        )
    ways = {
        "mean and the same standard deviation": (models.mean(axis=1), models.std(axis=1), models.std(axis=1)),
        "smallest and the same largest number": (low, high, high - low),
        "median and the same quartiles": (middle, quarter, quarter),
    }
    few = min(len(np.unique(row)) for row in models) < FEW_VALUES * models.shape[1]
    at_bound = max((models == bound[:, None]).sum(axis=1).max() for bound in (low, high))
    for words, (first, second, wide) in ways.items():
        if second is high and at_bound > 1:  # a bound that numbers have, as 0 is of errors
            continue
        if first is middle and few:  # of rounded numbers a percentile is one that many have
            continue
        usual = SAME * float(np.median(wide))
        if usual > 0 and np.ptp(first) < usual and np.ptp(second) < usual:
            return (
                f"All models' numbers have the same {words} ({first[0]:.3g} and {second[0]:.3g}): each model's seem to"
                " be scaled by themselves, which hides how much better one fits its members on the whole, or fits all"
                " records. Save them before they are scaled."
            )
    return None


def _times(ratio: float) -> str:
    return f"{max(ratio, 1 / ratio):,.2g} times as {'widely' if ratio > 1 else 'narrowly'}"
