"""Unlearning whose parts seem to be exchanged: retrained models that know records, unlearned ones that lost others.

Retrained model k stands beside unlearned model k, and knows none of the n records: it cannot tell which of them model k
forgot. Records differ, so each is compared with itself, by its rank among the retrained models; what is tested is that
over records and, by itself, over models. NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import stats

LEVEL_RECORDS, LEVEL_MODELS = 1e-6, 1e-3  # both must be passed, each two-sided
LEAST = 0.02  # AUC from 1/2: less changes no verdict, however sure it is
KNOWN, MUCH = 0.02, 0.5  # accuracy on the forgotten that may be lost, and of the skill on others that is
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
