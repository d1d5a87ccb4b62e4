"""Scores on a scale on which every record has the same false-positive rate, before they are pooled.

Jälkö, Pradhan, Räisä and Honkela, "On Reliability of Efficient Membership Inference Vulnerability Evaluation", 2026
(arXiv 2605.25819): one threshold for all records has another false-positive rate at each of them, so the TPR at an FPR
over all is no mean of the records' own, and unsuited to audit differential privacy. They calibrate the records' rates
afterwards, under Gaussian assumptions. Their formula could not be read (?); here a score becomes its distance from the
mean of what the same record scores on targets that it did not train, in their standard deviations: if those are normal,
each record has the same rate at every threshold.

Their second point, a bias of finite populations, is met by giving a record as many other targets where it is a member
as where it is none: without the target itself, and without one drawn at random where there would be one more. NumPy
only; never imports jax.
"""

import numpy as np

from mia_jax.types import Array

LEAST = 16  # targets from which a record's mean and spread are told


def calibrated(score: Array, member: Array, *, seed: int = 0) -> np.ndarray | None:
    """Scores in standard deviations of each record's own on targets that it did not train, float64 [T, n].

    The variance is half a record's own and half that of all records, as few targets do not tell it well.

    Args:
        score: [T, n]; NaN where a record was not judged.
        member: bool [T, n].
        seed: of the targets that are left out.

    Returns:
        NaN where a record has fewer than two such targets; None with fewer than ``LEAST`` targets.
    """
    score, member = np.atleast_2d(np.asarray(score, np.float64)), np.atleast_2d(np.asarray(member, bool))
    if len(score) < LEAST:
        return None
    out = ~member & ~np.isnan(score)
    count, values = out.sum(axis=0), np.where(out, score, 0.0)
    mean = values.sum(axis=0) / np.maximum(count, 1)
    squares = np.where(out, (score - mean) ** 2, 0.0).sum(axis=0)
    pooled = squares.sum() / max(1, (np.maximum(count, 1) - 1).sum())
    rng, made = np.random.default_rng(seed), np.full(score.shape, np.nan)
    for t, own in enumerate(score):
        drawn = np.where(out, rng.random(score.shape), -1.0).argmax(axis=0)  # of each record, an OUT target at random
        left = np.where(out[t], t, drawn)
        kept = out.copy()
        kept[left, np.arange(len(own))] = False
        n = kept.sum(axis=0)
        middle = np.where(kept, score, 0.0).sum(axis=0) / np.maximum(n, 1)
        spread = np.where(kept, (score - middle) ** 2, 0.0).sum(axis=0) / np.maximum(n - 1, 1)
        made[t] = np.where(n >= 2, (own - middle) / np.sqrt(np.maximum((spread + pooled) / 2, 1e-12)), np.nan)
    return made
