"""Records that may be told as members, by who knows of no record whether it trained the target.

A list at a false discovery rate, as ``statistics.false_discoveries`` makes where members are known. Here shadows
calibrate: each plays the target, and its scores on records that it did not train on are those of non-members. The
p-value of a record is the share of these that are as large as the target's (counted with itself), and Benjamini and
Hochberg's procedure makes the list.

**What must hold** is that the target's non-members are to its shadows as records are that a shadow did not train on: a
target that was trained as the shadows were, on records drawn as theirs. A target that is surer of everything than
shadows are (more epochs, more records) makes the list too long. Models that differ as wholes do the same to single
lists, and to the mean over lists little (simulated: tests/audits/test_discoveries.py). The tails of a normal
distribution, which offline LiRA supposes, need not hold: the shadows' own tails count, so any attack will do.
"""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax.audits.deployed.infer import AnswersWarning, of_answers
from mia_jax.progress import Progress, patient
from mia_jax.statistics import false_discoveries
from mia_jax.types import Array, Attack, InputError, Key

PLAYERS = 64  # shadows that play the target, at most


class Discoveries(NamedTuple):
    """The list, and what it is made of."""

    listed: np.ndarray  # bool [n]
    p: np.ndarray  # float64 [n]
    scores: np.ndarray  # float64 [n], as of ``infer``
    rate: float  # of false discoveries, expected
    calibration: int  # scores of shadows on records that they did not train on

    def __str__(self) -> str:
        return (
            f"{int(self.listed.sum()):,} of {len(self.listed):,} records may be told as members: in expectation"
            f" {self.rate:.0%} of a list are none, at most, if the target was trained as the shadows were"
        )


def discoveries(
    attack: str | Attack,
    *,
    labels: Array,
    target: Array,
    shadows: Array,
    shadow_member: Array,
    rate: float = false_discoveries.RATE,
    population: Mapping[str, Array] | tuple[Array, Array, Array] | None = None,
    key: Key | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = patient,
) -> Discoveries:
    """The records that may be told as members of the target, without knowing any: a list at a false discovery rate.

    The target must have been trained as the shadows were, on records drawn as theirs: nothing here can check that.

    Args:
        attack: a name in ``mia_jax.attacks.ATTACKS``, or an Attack; chosen before the scores are seen.
        labels: int [n], the true classes, 0-based.
        target: what the target answered, as of ``infer`` [n, c].
        shadows: the same of S shadow models [S, n, c], two at least that are no complements of each other.
        shadow_member: bool [S, n], what each shadow trained on.
        rate: of false discoveries: the share of the list that is wrong, expected.
        population, key, options, progress: as of ``infer``.

    Returns:
        The list, bool [n], with p-values and scores.

    Raises:
        InputError: as ``infer``; a rate that is none; no shadow that can play the target.

    >>> import numpy as np, mia_jax as mia
    >>> rng = np.random.default_rng(0)
    >>> y, trained = rng.integers(3, size=300), rng.random((17, 300)) < 0.5  # who trained each of 17 models
    >>> logits = rng.normal(size=(17, 300, 3)) + 2 * np.eye(3)[y] * (1 + 3 * trained[..., None])  # that remember
    >>> p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    >>> found = mia.discoveries("lira_offline_fixed", labels=y, target=p[0], shadows=p[1:], shadow_member=trained[1:])
    >>> int(found.listed.sum()) > 50, bool(found.listed[~trained[0]].sum() < 0.1 * found.listed.sum())
    (True, True)
    """
    if not 0 < rate < 1:
        raise InputError(f"rate is the share of the list that may be wrong, between 0 and 1; it is {rate}")
    more: dict[str, Any] = dict(population=population, key=key, options=options, progress=progress)
    found, said = of_answers(attack, labels, target, shadows, shadow_member, control=True, players=PLAYERS, **more)
    for line in said:
        warnings.warn(line, AnswersWarning, stacklevel=2)
    if found.control is None:
        raise InputError(
            "no shadow model can play the target: the others trained on the same records, or on all that it did not"
            " train on, or the attack cannot leave a shadow out; give more shadows, or another attack"
        )
    known = found.control[~np.isnan(found.control)]
    if len(known) < false_discoveries.LEAST:
        raise InputError(
            f"shadows that play the target have {len(known)} scores on records that they did not train on; needed are"
            f" {false_discoveries.LEAST}: give more shadows or records"
        )
    assert found.without_boundary is not None  # as it was asked for
    scores = np.nan_to_num(found.without_boundary, nan=-np.inf)  # unscored: a member least of all
    p = false_discoveries.p_values(scores, known)
    return Discoveries(false_discoveries.discoveries(p, rate), p, found.scores, rate, len(known))
