"""Hayes, Shumailov, Triantafillou, Khalifa, Papernot, "Inexact Unlearning Needs More Careful Evaluations to Avoid a
False Sense of Privacy", SaTML 2025 (arXiv 2403.01218): U-LiRA; and, in two games, Naderloui, Yan, Wang, Fu, Wang, Liu,
Hong, "Rectifying Privacy and Efficacy Measurements in Machine Unlearning", USENIX Security 2025 (RULI, 2506.13009).

The scaled logit phi of a record is Gaussian over models that trained on it and unlearned it (U), and over models that
were retrained without it (R), each with a mean and a variance of the record's own:

    score = log N(phi; mu_U, s_U^2) - log N(phi; mu_R, s_R^2);   above 0: it was trained on, and unlearned

* **Efficacy** (U-LiRA; RULI's name): was this answer given by an unlearned model, or by one retrained without the
  record? A perfect unlearner is right half of the time: its models are retrained ones.
* **Privacy** (RULI's game): of the unlearned model's records, which were forgotten and which had it never seen? There R
  is replaced by N: unlearned models that never saw the record. It is LiRA, with "forgotten" for "member".

Departures, each for its reason:

* In the game of efficacy judged models, and the retrained ones beside them, are no shadows of each other: then they are
  exchangeable where unlearning is perfect, and independent given the shadows. Each left out in turn, they are not:
  with 64 models that differ among each other the interval of the AUC held 1/2 in 64 of 100 simulated audits.
* ``fixed``: one variance a side from residuals, as LiRA has it, for few models. RULI's code has kernel densities of
  bandwidth 1 in place of Gaussians.

Neither paper could be read here beyond its abstract: formulas are from RULI's code and from what others say of U-LiRA
(?), whether U-LiRA's R are retrained models or such as never saw the record and unlearned others, too (?).
"""

from typing import NamedTuple

import numpy as np

from mia_jax.attacks import leave_one_out, lira
from mia_jax.types import InputError


class Scores(NamedTuple):
    """Scores of T judged models, larger = trained on and unlearned; NaN where nothing is to be guessed."""

    score: np.ndarray  # float64 [T, q]
    unlearned: np.ndarray  # bool [T, q], the truth


def privacy(phi: np.ndarray, forgotten: np.ndarray, targets: int, *, fixed: bool) -> Scores:
    """Each of the first models in turn: which of its records has it forgotten, and which never seen?

    Args:
        phi: [K, n], scaled logits of unlearned models, or any signal that is larger where a model fits a record better.
        forgotten: bool [K, n], records that a model was trained on and forgot; the others it never saw.
        targets: T.
        fixed: one variance for all records.

    Returns:
        Scores [T, n].

    Raises:
        InputError: every model forgot all of the records, or none.
    """
    seen = {"phi": np.asarray(phi, np.float64)}
    score = leave_one_out.shadow_scores(lira.steps(fixed=fixed), seen, forgotten, models=range(targets))[:targets]
    if np.isnan(score).any():
        if (np.asarray(forgotten) == forgotten[0]).all():
            raise InputError(
                f"all {len(phi)} models forgot the same records, so what was forgotten is not told from what is hard:"
                " give 6 models or more that forget others, in pairs that forget complementary halves"
            )
        raise InputError(
            f"{len(phi)} unlearned models are too few: when one is judged, of its record no other is left that forgot"
            " it, or none that never saw it; give 6 or more, in pairs that forget complementary halves"
        )
    return Scores(score, forgotten[:targets])


def efficacy(phi: np.ndarray, forgotten: np.ndarray, retrained: np.ndarray, targets: int, *, fixed: bool) -> Scores:
    """Each of the first models beside a retrained one: which of the two answered so about a forgotten record?

    The models after the first T are the shadows of all of them.

    Args:
        phi: [K, n], as of ``privacy``.
        forgotten: bool [K, n].
        retrained: [R, n], the same signal of models that never saw any of the n records.
        targets: T; model k is judged beside retrained model k.
        fixed: one variance a side for all records.

    Returns:
        Scores [T, 2 n]: of the forgotten records, what the unlearned model answered, then what the retrained one did.

    Raises:
        InputError: a record that a judged model forgot was forgotten by none of the shadows.
    """
    phi, retrained = np.asarray(phi, np.float64), np.asarray(retrained, np.float64)
    of_shadows, others = phi[targets:], retrained[targets:]
    never = np.zeros(others.shape, bool)
    of_unlearned = leave_one_out.without(leave_one_out.aggregate(of_shadows, forgotten[targets:]), ())[0]
    of_retrained = leave_one_out.without(leave_one_out.aggregate(others, never), ())[1]
    if (of_unlearned.count[forgotten[:targets].any(axis=0)] == 0).any():
        raise InputError(
            f"{len(of_shadows)} shadows: there are records that a judged model forgot and no shadow did; give more"
            " unlearned models, in pairs that forget complementary halves, or judge fewer; if they do, see whether"
            " forgotten is that of these models"
        )
    variance = []
    sides = of_unlearned, of_retrained
    for side, known in zip(sides, lira.fallback_variances(*sides), strict=True):
        variance.append(known if fixed else lira.variance_per_record(side, known))
    gaussians = lira.Gaussians(of_unlearned.mean, variance[0], of_retrained.mean, variance[1])
    both = [
        np.stack([lira.log_likelihood_ratio(gaussians, {"phi": row}) for row in values[:targets]])
        for values in (phi, retrained)
    ]
    mine = forgotten[:targets]
    score = np.where(np.tile(mine, 2), np.concatenate(both, axis=1), np.nan)
    return Scores(score, np.repeat([[True, False]], phi.shape[1], axis=1).repeat(targets, axis=0))
