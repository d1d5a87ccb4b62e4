"""Unlearning whose parts seem to be exchanged: retrained models that know records, unlearned ones that lost others,
the records that a model kept said to be those that it forgot.

Retrained model k stands beside unlearned model k, and knows none of the n records: it cannot tell which of them model k
forgot. Records differ, so each is compared with itself, by its rank among the retrained models; what is tested is that
over records and, by itself, over models. NumPy and SciPy; never imports jax.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from mia_jax.types import few_of

LEVEL_RECORDS, LEVEL_MODELS = 1e-6, 1e-3  # both must be passed, each two-sided
LEAST = 0.02  # AUC from 1/2: less changes no verdict, however sure it is
KNOWN, MUCH = 0.02, 0.5  # accuracy on the forgotten that may be lost, and of the skill on others that is
# Of how far training moves a record among the models' ranks, that retrained models are moved; beyond, they are others.
AS_KNOWN, MOST_KNOWN = 0.8, 2.0
VARIOUS = 0.5  # of a model's signals differ, where equal ones are no accident
FAR, LESS = 0.3, 0.1  # AUC from 1/2 of what no model saw; and by how much less, of what it forgot, in its halves
SURER = 0.1  # AUC from 1/2 of what no model saw, beyond what retrained models that are as good differ by
FEW, MARGIN = 3, 0.05  # records of a class on each side; accuracy above chance of labels that are none
POISONED = (
    " Or they are wrong since the training, as of poisoned records that are to be forgotten: original=, the answers"
    " before unlearning, tells."
)
EXCHANGED = "they seem to have forgotten the records that they should keep: are forget and retain exchanged"


def retrained(signals: np.ndarray, forgotten: np.ndarray) -> tuple[str, ...]:
    """What is to be said of retrained models that know which records unlearned models forgot, in a sentence.

    Args:
        signals: [R, n] of retrained models, larger where a model fits a record better.
        forgotten: bool [K, n], by unlearned model.
    """
    models = min(len(signals), len(forgotten))
    mask = np.asarray(forgotten, bool)[:models]
    if models < 3 or mask.all():
        return ()
    rank = stats.rankdata(signals[:models], axis=0)
    away = _centered(mask.astype(np.float64))
    moved = _centered(rank) * away
    spread = (away**2).sum(axis=1)
    if (spread == 0).all() or not moved.any():
        return ()
    over_records = moved.sum(axis=0)
    over_models = moved.sum(axis=1)[spread > 0] / spread[spread > 0] / models  # forgotten less others, share of ranks
    sure = over_models.mean()
    certain = _surely(over_records, LEVEL_RECORDS) and _surely(over_models, LEVEL_MODELS)
    if not certain or abs(sure) < LEAST:
        return ()
    more, less = ("forgot", "did not forget") if sure > 0 else ("did not forget", "forgot")
    mixed = [(s, m) for s, m in zip(signals, mask, strict=False) if 0 < m.sum() < len(m)]
    above = np.mean([_above(s[m], s[~m]) for s, m in mixed])
    told = max(above, 1 - above)
    if sure > 0:
        cause = (
            "they seem to be models that trained on what the unlearned ones forgot (the models before unlearning, or"
            " models that train on from those)"
        )
    else:
        cause = (
            "each seems to have been retrained without its own forgotten records alone, and on the others of the n (or"
            " `forgotten` holds the others)"
        )
    return (
        f"Retrained models are surer of the records that the unlearned model of the same number {more} than of those"
        f" that it {less} (AUC {told:.2f} on average): {cause}. What is said of efficacy is wrong then. Retrain them"
        " without any of the n records, on what all models keep.",
    )


def same(signals: dict[str, np.ndarray]) -> tuple[str, ...]:
    """What is to be said of unlearned models that answer as before, or as a retrained one, bit by bit, in a sentence.

    Args:
        signals: by name, "unlearned" [K, n], "retrained" [R, n] and perhaps "original" [K, n].
    """
    for name, called in (
        ("original", "before they unlearned"),
        ("retrained", "the retrained ones of the same numbers"),
    ):
        pairs = zip(signals["unlearned"], signals.get(name, ()), strict=False)
        alike = [k for k, (one, other) in enumerate(pairs) if _various(one) and np.array_equal(one, other)]
        if alike:
            return (
                f"Unlearned model{'s' * (len(alike) > 1)} {few_of(alike)} (counted from 0)"
                f" {'answer' if len(alike) > 1 else 'answers'} as {called}, bit by bit: nothing was"
                " unlearned, or the wrong models were asked (a checkpoint's path, one file under two names).",
            )
    for name, called in (("unlearned", "Unlearned"), ("retrained", "Retrained")):
        models = signals[name]
        if len(models) > 1 and _various(models[0]) and (models == models[0]).all():
            return (
                f"{called} models 0 to {len(models) - 1} answer alike, bit by bit: they are one model {len(models)}"
                " times (one seed, one file under several names), and what it has by chance is taken for what all such"
                " models do. Train each with a seed of its own; where training draws nothing, efficacy is not to be"
                " told by answers.",
            )
    return ()


def exchanged(gain_forgotten: np.ndarray, gain_kept: np.ndarray, forgotten: np.ndarray) -> tuple[str, ...]:
    """What is to be said where models got surer of what they should forget than of what they should keep.

    An unlearner that does nothing, or what it does to all records alike, moves both alike.

    Args:
        gain_forgotten: [K, n], signals of models after unlearning less those before.
        gain_kept: [K, m], the same of records that all models should keep.
        forgotten: bool [K, n].
    """
    count = forgotten.sum(axis=0)
    own = (gain_forgotten * forgotten).sum(axis=0)[count > 0] / count[count > 0]
    kept = gain_kept.mean(axis=0)
    told = _above(own, kept)
    each = np.array([_above(g[m], k) for g, m, k in zip(gain_forgotten, forgotten, gain_kept, strict=True)]) - 0.5
    if min(told - 0.5, each.mean()) < 5 * LEAST or not _surely(each, LEVEL_MODELS):
        return ()
    if stats.mannwhitneyu(own, kept, alternative="greater").pvalue > LEVEL_RECORDS:
        return ()
    return (
        f"Unlearning made the models surer of the records that they should forget, beside those that they should keep"
        f" (AUC {told:.2f}): {EXCHANGED}? unlearn is called as unlearn(model, retain, forget, seed=...).",
    )


def before(original: np.ndarray, forgotten: np.ndarray, retrained: np.ndarray) -> tuple[str, ...]:
    """What models before unlearning say of ``forgotten`` and of retrained models, in a sentence.

    They are surer of what trained them; retrained models are to be no surer of a record than those that never saw it.

    Args:
        original: [K, n], signals of models before they unlearned.
        forgotten: bool [K, n], by model.
        retrained: [R, n].
    """
    mask, models = np.asarray(forgotten, bool), len(original)
    rank = stats.rankdata(np.concatenate([original, retrained]), axis=0)
    gap = _memory(rank[:models], mask)
    if abs(gap) < LEAST * len(rank):
        return ()
    if gap < 0:
        return (
            "Before unlearning, models are less sure of the records that they are said to have been trained on than of"
            f" those that they never saw: {OTHERS}",
        )
    unseen, again = (rank[:models] - gap * mask).mean(axis=1), rank[models:].mean(axis=1)
    far = (again.mean() - unseen.mean()) / gap  # 0: as models that never saw the records, 1: as those that did
    if not AS_KNOWN <= far <= MOST_KNOWN or stats.ttest_ind(again, unseen, equal_var=False).pvalue > LEVEL_MODELS:
        return ()
    return (
        "Retrained models are as sure of the records as models that were trained on them, before unlearning, and not as"
        f" those that never saw them ({far:.2f} of the way): they seem to have been trained on the records that are to"
        " be forgotten, too. What is said of efficacy is wrong then. Retrain them without any of the n records.",
    )


def gained(original: np.ndarray, after: np.ndarray, forgotten: np.ndarray) -> tuple[str, ...]:
    """What is to be said of models that remember what they forgot after unlearning, and not before, in a sentence.

    Args:
        original: [K, n], signals of models before they unlearned.
        after: [K, n], the same of unlearned models.
        forgotten: bool [K, n], by model.
    """
    mask, models = np.asarray(forgotten, bool), len(original)
    rank = stats.rankdata(np.concatenate([original, after]), axis=0)
    more = _memory(rank[models:] - rank[:models], mask)
    if more < LEAST * len(rank) or _memory(rank[:models], mask) > more:
        return ()
    return (
        "After unlearning, models are surer of the records that they should have forgotten than of those that they"
        " never saw, and before it they were not, or far less: the answers before and after it seem to be exchanged"
        " (mia.unlearning(unlearned, retrained, ..., original=before)), or unlearning trained on what is to be"
        " forgotten.",
    )


OTHERS = "`forgotten` seems to hold the records that each model did not forget (~forgotten gives them)."


def other_half(after: np.ndarray, forgotten: np.ndarray, retrained: np.ndarray) -> tuple[str, ...]:
    """What is to be said of unlearned models that know what they never saw far better than retrained models do.

    Args:
        after: [K, n], signals of unlearned models.
        forgotten: bool [K, n], by model.
        retrained: [R, n].
    """
    forgot, never = _above_retrained(after, forgotten, retrained)
    if len(never) < 3 or never.mean() < FAR or (never - forgot).mean() < LESS:
        return ()
    if not _surely(never - forgot, LEVEL_MODELS):
        return ()
    return (
        f"Unlearned models are surer of the records that they never saw than retrained models are (AUC"
        f" {0.5 + never.mean():.2f}), and less sure of those that they forgot: {OTHERS[:-1]}, or retrained models are"
        " far weaker and too much was forgotten.",
    )


def of_others(
    after: np.ndarray, forgotten: np.ndarray, retrained: np.ndarray, original: np.ndarray | None = None
) -> tuple[str, ...]:
    """What is to be said of unlearned models that know what they never saw as well as what they forgot, in a sentence.

    Args:
        after: [K, n], signals of unlearned models.
        forgotten: bool [K, n], by model.
        retrained: [R, n].
        original: [K, n], before they unlearned: where these remember what ``forgotten`` says, it is right.
    """
    forgot, never = _above_retrained(after, forgotten, retrained)
    if len(never) < 3 or never.mean() < SURER or abs((forgot - never).mean()) > never.mean() / 2:
        return ()
    if not _surely(never, LEVEL_MODELS):
        return ()
    known = original is not None and _memory(stats.rankdata(original, axis=0), np.asarray(forgotten, bool)) > 0
    cause = "the retrained ones are weaker, or were trained for a shorter time. Retrain"
    if not known:
        cause = (
            "`forgotten` seems not to be that of these models (positions in a training subset, model-10 before"
            " model-2), or the retrained ones are weaker. See that row k of it is what model k forgot, and retrain"
        )
    return (
        "Unlearned models are surer than retrained ones of the records that they never saw (AUC"
        f" {0.5 + never.mean():.2f}) as of those that they forgot ({0.5 + forgot.mean():.2f}): {cause} as the models"
        " were trained: else what is said here does not hold.",
    )


def lost(
    right: dict[str, np.ndarray], forgotten: np.ndarray, before: np.ndarray | None, classes: int
) -> tuple[str, ...]:
    """What is to be said of models that know what they should have forgotten, and little else; of saved answers.

    Args:
        right: bool [K, n] and [R, n], whether "unlearned" and "retrained" models are right.
        forgotten: bool [K, n].
        before: bool [K, n], as "unlearned" before they unlearned, where it is known.
        classes: c.
    """
    if forgotten.all():
        return ()
    after, guessing = right["unlearned"], 1 / classes
    still = after[forgotten].mean()
    knew = 1.0 - KNOWN if before is None else before[forgotten].mean() - KNOWN
    others = np.array([r[~mask].mean() for r, mask in zip(after, forgotten, strict=True) if not mask.all()])
    of_retrained = right["retrained"].mean(axis=1)
    skill = of_retrained.mean() - guessing
    if still < knew or skill <= 5 * LEAST or others.mean() - guessing > MUCH * skill:
        return ()
    if len(others) < 2 or stats.ttest_ind(others, of_retrained, equal_var=False).pvalue > LEVEL_MODELS:
        return ()
    return (
        f"Unlearned models are still right on {still:.0%} of the records that they should have forgotten, and on"
        f" {others.mean():.0%} of those that they never saw, where retrained models are right on"
        f" {of_retrained.mean():.0%}: {EXCHANGED}?",
    )


def other_labels(
    right: Mapping[str, np.ndarray], forgotten: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[str, ...]:
    """What is to be said of labels that are not those of the training, as random ones that unlearning wrote.

    Retrained models saw none of the records, so they are as often right about those that a model forgot as about the
    others of the same classes. Wrong labels that were the training's, as of poisoned records, look the same to them,
    and models before unlearning are right about those.

    Args:
        right: where models are, bool [R, n] of "retrained" ones, and perhaps [K, n] of "original" ones.
        forgotten: bool [K, n], by unlearned model.
        labels: int [n].
        classes: c, of the answers.
    """
    level, chance = right["retrained"].mean(axis=0), 1 / classes
    if "original" in right and right["original"][forgotten].mean() > chance + FAR:
        return ()
    poisoned = "" if "original" in right else POISONED
    kinds, of = np.unique(labels, return_inverse=True)
    below = stats.binomtest(int(level.sum()), len(level), chance, alternative="less").pvalue
    if 2 * len(kinds) > classes and level.mean() < chance / 2 and below < LEVEL_MODELS:
        return (
            f"Retrained models are right on {level.mean():.1%} of the records, fewer than by chance: `labels` are not"
            f" those of these answers (random ones that unlearning wrote, rows or classes in another order).{poisoned}",
        )
    for k, mask in enumerate(np.asarray(forgotten, bool)):
        both = np.minimum(*(np.bincount(of[side], minlength=len(kinds)) for side in (mask, ~mask))) >= FEW
        here, there = level[mask & both[of]], level[~mask & both[of]]
        if not len(here) or here.mean() > chance + MARGIN or there.mean() - here.mean() < FAR:
            continue
        if stats.mannwhitneyu(here, there, alternative="less").pvalue * len(forgotten) < LEVEL_RECORDS:
            return (
                f"Retrained models are right on {here.mean():.0%} of the records that unlearned model {k} forgot"
                f" (counted from 0), and on {there.mean():.0%} of the others of their classes: these `labels` seem to"
                " be other than the models were trained on (random ones that unlearning wrote). Give the labels of the"
                f" training.{poisoned}",
            )
    return ()


def _various(signals: np.ndarray) -> bool:
    return len(np.unique(signals)) > VARIOUS * len(signals)


def _memory(rank: np.ndarray, mask: np.ndarray) -> float:
    """How many ranks higher records [K, n] stand in models that forgot them, bool [K, n]; 0 where it may be chance."""
    away = _centered(mask.astype(np.float64))
    moved, spread = _centered(rank) * away, (away**2).sum(axis=1)
    if len(rank) < 3 or (spread < 1e-9).any():
        return 0.0
    certain = _surely(moved.sum(axis=0), LEVEL_RECORDS) and _surely(moved.sum(axis=1) / spread, LEVEL_MODELS)
    return float(moved.sum() / spread.sum()) if certain else 0.0


def _above_retrained(after: np.ndarray, forgotten: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """[2, k]: how much surer each model that forgot some of the records is of these, and of the others, than retrained
    models are: the AUC from 1/2.
    """
    above = np.stack([(one > retrained).mean(axis=0) + (one == retrained).mean(axis=0) / 2 for one in after]) - 0.5
    mixed = [(a[m].mean(), a[~m].mean()) for a, m in zip(above, forgotten, strict=True) if 0 < m.sum() < len(m)]
    return np.array(mixed).reshape(-1, 2).T


def _centered(values: np.ndarray) -> np.ndarray:
    """[K, n] less the means of its rows and columns."""
    return values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()


def _surely(values: np.ndarray, level: float) -> bool:
    """Whether the mean of independent values is not 0."""
    spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf
    if spread == 0:
        return bool(values[0] != 0)
    t = abs(values.mean()) / spread
    return bool(2 * stats.t.sf(t, len(values) - 1) < level)


def _above(one: np.ndarray, other: np.ndarray) -> float:
    """How often a value of the first is above one of the second; ties are halves."""
    rank, count = stats.rankdata(np.concatenate([one, other])), len(one)
    return float((rank[:count].sum() - count * (count + 1) / 2) / (count * len(other)))
