"""Records that are said to have trained a model, and did not: held out inside ``fit``.

Early stopping, a validation set and a loader that drops its last batch keep records from the training that somebody
gave for it. Where all models do so, they look like models that remember less. But some of their members are remembered
plainly, and the others not at all: half of what was held out is answered below the median of models that are known not
to have it. Of models that remember all of their members a little, or some of them more, such answers are rare.
NumPy and SciPy.
"""

from typing import Any

import numpy as np
from scipy import special, stats

from mia_jax.checks import samples
from mia_jax.checks.models import unlike_settings
from mia_jax.types import Array, few_of

MODELS, JUDGED, SAMPLE = 64, 16, 4096  # models, those that are judged by the others, and records
OTHERS = 3  # models with a record, and without it, beside the one that is judged
PLAIN = 3.0  # spreads between models with a record and without it, above which it is remembered plainly
SURE = 0.05  # probabilities beyond 1 less this are not told apart, nor those below it: they are of no size there
LEAST, SHARE = 100, 0.1  # plain records, and their share of all that are judged
LOW, SOME = 10, 0.015  # of them, answers below the median of models without the record
UNSURE = 0.3, 0.8  # mean probability of models without a record, between which training on it shows
MOVED = 3.0  # standard errors by which training moves such a record, the median
UNMOVED = 0.33  # of those that it moves by less than half of that: moved the wrong way
AUTOMATIC = 10_000  # records above which early_stopping="auto" of scikit-learn stops early
HARDER = 0.33  # standard deviations, by which records of a part may be harder than the others
FEWEST = 6  # models by which rows that none of them knows are told
AS_NEW = 0.35  # of the answers nearer to those of models without the record: below their median; one half of new ones


def notes(sure: Array, member: Array) -> tuple[str, ...]:
    """What is to be said of members that are answered as new records, in a sentence.

    Args:
        sure: probabilities of the true class [K, n].
        member: bool [K, n], who is said to have trained each model.
    """
    sure, member = _some(sure, member)
    scores = special.logit(np.clip(sure, SURE, 1 - SURE))
    new = np.where(member, np.nan, scores)
    enough = (~member).sum(axis=0) >= OTHERS
    outside, spread = middle(new, enough)
    floor = np.nanmedian(spread) if enough.any() else 0.0
    asked, plain, nearer, below = 0, 0, 0, []
    for k in range(min(len(scores), JUDGED)):
        others = np.where(member, scores, np.nan)
        others[k] = np.nan
        there = member[k] & enough & ((member.sum(axis=0) - member[k]) >= OTHERS)
        inside, width = middle(others, there)
        apart = inside - outside
        told = there & (apart > PLAIN * np.maximum(np.maximum(width, spread), floor))
        asked, plain = asked + int(there.sum()), plain + int(told.sum())
        nearer += int((scores[k, told] < (outside + apart / 2)[told]).sum())
        below.append(int((scores[k, told] < outside[told]).sum()))
    low = sum(below)
    if plain < max(LEAST, SHARE * asked) or low < max(LOW, SOME * plain) or low < AS_NEW * nearer:
        return ()
    if np.mean(np.array(below) > 0) < 0.5:  # of one model among others, of which other checks say more
        return ()
    return (
        f"About {2 * low / plain:.0%} of the records that are said to have trained a model are answered as records that"
        " are new to it, where other models that they trained know them plainly: they seem to be held out inside fit"
        " (early stopping, a validation set), left out by a loader, or marked as members by mistake. As marked, attacks"
        " find less than there is: mark what trained each model, or let it train on all of that.",
    )


def unmoved(sure: Array, member: Array) -> tuple[str, ...]:
    """What is to be said of records that all models trained on, or none, beside such as tell, in a sentence.

    Of records that models without them are not sure of, those that trained all models alike are answered no otherwise
    by models that are said to have trained on them: less surely in half of the cases, and the others hardly ever.

    Args:
        sure: probabilities of the true class [K, n].
        member: bool [K, n], who is said to have trained each model.
    """
    sure, member = _some(sure, member)
    there = np.minimum(member.sum(axis=0), (~member).sum(axis=0)) > OTHERS
    sure, member = sure[:, there], member[:, there]
    count = member.sum(axis=0), (~member).sum(axis=0)
    without = np.where(member, 0.0, sure).sum(axis=0) / np.maximum(count[1], 1)
    between = (without > UNSURE[0]) & (without < UNSURE[1])
    if between.sum() < LEAST:
        return ()
    scores = special.logit(np.clip(sure[:, between], SURE, 1 - SURE))
    inside, outside = (np.where(side, scores, np.nan) for side in (member[:, between], ~member[:, between]))
    spread = (np.nanvar(inside, axis=0, ddof=1) + np.nanvar(outside, axis=0, ddof=1)) / 2
    error = np.sqrt(spread * (1 / count[0] + 1 / count[1])[between])
    gain = (np.nanmean(inside, axis=0) - np.nanmean(outside, axis=0)) / np.maximum(error, 1e-9)
    low = int((gain < 0).sum())
    usual = float(np.median(gain[gain > 0])) if (gain > 0).any() else 0.0  # of those that are moved
    if usual < MOVED or low < max(LOW, 0.03 * len(gain)) or low < UNMOVED * (gain < usual / 2).sum():
        return ()
    return (
        f"Of the records that models are not sure of, about {2 * low / len(gain):.0%} are answered alike by models that"
        " are said to have trained on them and by the others, and the rest are not: they seem to have trained all"
        " models, whatever the memberships say (a core set that every training adds), or none (filtered out, left out"
        " by a loader). As marked, attacks find less than there is: mark what trained each model.",
    )


def last_rows(numbers: Array, member: Array) -> tuple[str, ...]:
    """What is to be said of the last rows, or the first, where no model remembers its members, in a sentence.

    A validation split takes the last records of those that are given to ``fit``. Records that are harder or easier to
    all models than the others are no such case: what is too easy or too hard is remembered by none.

    Args:
        numbers: float [K, n], larger where a model fits the record better.
        member: bool [K, n], who is said to have trained each model.
    """
    numbers, member = _some(numbers, member)
    if len(numbers) < FEWEST:
        return ()
    ranks = stats.rankdata(numbers, axis=1) / numbers.shape[1]
    level = samples.means(ranks, ~member)[0]  # of what is new to models
    known = (samples.over_models(ranks) * samples.over_models(member.astype(np.float64))).sum(axis=0)  # correlations
    for last in (True, False):
        ordered, hard = (each[::-1] if last else each for each in (known, level))
        size = 1 + int(np.cumsum(known.mean() / 2 - ordered).argmax())  # from where on records are known
        part, rest, n = ordered[:size], ordered[size:], len(known)
        if not n / 20 <= size <= n / 2:
            continue
        error = 1 / np.sqrt((len(numbers) - 1) * size)
        if abs(part.mean()) > 2.5 * error or rest.mean() < 8 * error:
            continue
        others = np.convolve(rest, np.full(size, 1 / size), "valid")  # of as many rows elsewhere
        if others.min() > rest.mean() / 3 and abs(hard[:size].mean() - hard[size:].mean()) < HARDER * level.std():
            return (
                f"In the {'last' if last else 'first'} {size / n:.0%} of the rows no model knows those that are said"
                " to have trained it from others, and elsewhere all do: they seem to be held out inside fit (a"
                " validation split, which takes the last of what is given), or to be of a class or source that no model"
                " remembers. If held out, attacks find less than there is: leave these rows out of all arrays, or let"
                " each model train on all that it is given.",
            )
    return ()


def of_estimators(target: Any, trainer: Any, member: Array | None, n: int) -> tuple[str, ...]:
    """What is to be said of estimators whose own settings hold records out, in sentences.

    Args:
        target: what may be an estimator of scikit-learn's kind, or a method of one.
        trainer: of shadows, what may be one.
        member: bool [n], who trained the target, where that is known.
        n: records; half of them train a shadow.
    """
    m = n // 2 if member is None else int(np.sum(member))
    shares = {"the target": _share(getattr(target, "__self__", target), m), "each shadow": _share(trainer, m)}
    found = {name: share for name, share in shares.items() if share}
    if not found:
        return _of_samplers(target, trainer)
    whose, hold = " and ".join(found), "holds" if len(found) == 1 else "hold"
    return (
        *_of_samplers(target, trainer),
        f"{whose[0].upper()}{whose[1:]} {hold} out {next(iter(found.values()))} of the records that are given to fit"
        " (early_stopping): they do not train it, and are marked as members all the same, so attacks find less than"
        " among those that do. Turn it off, or mark and give to fit what trains, and hold others out.",
    )


def _of_samplers(target: Any, trainer: Any) -> tuple[str, ...]:
    """What is to be said of samplers, as of imbalanced-learn, that keep records from an estimator's training."""
    samplers, kept = {}, ""
    for name, one in {"the target": getattr(target, "__self__", target), "each shadow": trainer}.items():
        steps = () if isinstance(one, type) else unlike_settings.settings(one).values()
        for step in steps:
            if not hasattr(step, "fit_resample") or getattr(step, "_sampling_type", "") == "over-sampling":
                continue
            samplers[name] = unlike_settings.kind(step)
            if name == "the target" and (given := getattr(step, "sample_indices_", None)) is not None:
                kept = f" (the target's kept {len(np.unique(given)):,})"
    if not samplers:
        return ()
    whose, hold = " and ".join(samplers), "holds" if len(samplers) == 1 else "hold"
    return (
        f"{whose[0].upper()}{whose[1:]} {hold} a sampler ({few_of(list(dict.fromkeys(samplers.values())))}) that leaves"
        f" out some of the records that are given to fit{kept}: they do not train it, and are marked as members all the"
        " same, so attacks find less than among those that do, and a gate may hold that should not. Leave them out of"
        " x (sample_indices_ of a fitted sampler names what it kept), and of each class as large a share of the"
        " others; then shadows= is the estimator without the sampler.",
    )


def _some(sure: Array, member: Array) -> tuple[np.ndarray, np.ndarray]:
    """Of many models and records, those that are looked at: [k, m] of [K, n], both."""
    rows = samples.rows(np.shape(sure)[1], SAMPLE)
    return np.asarray(sure)[:MODELS, rows], np.asarray(member, bool)[:MODELS, rows]


def _share(estimator: Any, m: int) -> str:
    """How much an estimator holds out of m records, by its settings; "" for nothing."""
    settings = {} if isinstance(estimator, type) else unlike_settings.settings(estimator)
    for name, share in settings.items():
        start = name.removesuffix("validation_fraction")
        if start == name or share is None:
            continue
        stops = settings.get(f"{start}early_stopping", settings.get(f"{start}n_iter_no_change") is not None)
        if stops is True or (stops == "auto" and m > AUTOMATIC):
            return f"{share:.0%}" if isinstance(share, float) else f"{share:,}"
    return ""


def middle(values: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians [n] over models of float [K, n], and the spread about them (of a normal distribution); NaN elsewhere."""
    middle, spread = (np.full(values.shape[1], np.nan) for _ in range(2))
    some = values[:, there]
    middle[there] = np.nanmedian(some, axis=0)
    spread[there] = 1.4826 * np.nanmedian(np.abs(some - middle[there]), axis=0)
    return middle, spread
