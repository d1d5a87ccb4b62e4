"""A list of records that may be told as members: of those on it, a tenth are not, at most and on average.

Zhao, Qian, Chen and Huai, "Membership Inference Attacks with False Discovery Rate Control", ICCV 2025 (arXiv
2508.07066), wrap an attack so that the share of non-members among those it accuses is bounded. Their adjusted decision
could not be read in full (?); what is here is the standard form of the same guarantee: **conformal p-values** of scores
and the procedure of Benjamini and Hochberg (1995). The p-value of a record with score s, by n non-members of the target
that calibrate, is (1 + #{non-members' scores >= s}) / (n + 1). P-values that share their calibration depend on each
other, but positively (PRDS), so the procedure keeps its level: Bates, Candès, Lei, Romano and Sesia, "Testing for
outliers with conformal p-values", Annals of Statistics 2023, Theorems 2 and 6 (?: numbers of the theorems).

**What must hold** is that the non-members that are tested and those that calibrate are alike: here one random draw
divides them, so it does, whatever the split between members and non-members was, whichever the attack, and however few
shadows there are. A fifth of the non-members choose the attack, for the best of several on the same scores would break
the guarantee. It says that those on the list are no records like the non-members; that training made the difference is
for a random split, or the negative control, to say. NumPy only; never imports jax.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax.statistics import low_fpr, metrics
from mia_jax.types import Array

RATE = 0.1  # false discoveries
LEAST = 20  # non-members that calibrate
CHOICE, CALIBRATION = 0.2, 0.4  # shares of the non-members; the others are tested beside the members
SHOWN = 50  # records that are named
LOOK = 0.01  # false-positive rate at which attacks are compared, or one false alarm where there are fewer


class Split(NamedTuple):
    """What the records are for, bool [n] each; members are tested."""

    choice: np.ndarray
    calibration: np.ndarray
    tested: np.ndarray


def p_values(score: Array, calibration: Array) -> np.ndarray:
    """Conformal p-values (1 + #{calibration >= score}) / (n + 1), float64 as ``score``.

    Args:
        score: of the records that are tested.
        calibration: [n], of non-members.

    >>> p_values([0.5, 9.0], [0.0, 1.0, 2.0]).tolist()
    [0.75, 0.25]
    """
    others = np.sort(np.asarray(calibration, np.float64))
    above = len(others) - np.searchsorted(others, np.asarray(score, np.float64), side="left")
    return (1.0 + above) / (len(others) + 1.0)


def discoveries(p: Array, rate: float = RATE) -> np.ndarray:
    """Which hypotheses Benjamini and Hochberg (1995) reject, bool [n]: the false among them are ``rate`` at most.

    Args:
        p: [n], p-values.
        rate: of false discoveries, expected.

    >>> discoveries([0.01, 0.04, 0.5, 0.03]).tolist()
    [True, True, False, True]
    """
    p = np.asarray(p, np.float64)
    order = np.sort(p)
    below = np.flatnonzero(order <= rate * np.arange(1, len(p) + 1) / max(len(p), 1))
    return p <= order[below[-1]] if len(below) else np.zeros(len(p), bool)


def split(rng: np.random.Generator, member: np.ndarray) -> Split:
    """Divide the non-members at random: who chooses the attack, who calibrates, who is tested beside the members.

    Args:
        rng: what draws.
        member: bool [n].
    """
    rows = rng.permutation(np.flatnonzero(~member))
    first, second = round(CHOICE * len(rows)), round((CHOICE + CALIBRATION) * len(rows))
    parts = np.zeros((3, len(member)), bool)
    for part, some in zip(parts, (rows[:first], rows[first:second], rows[second:]), strict=True):
        part[some] = True
    return Split(parts[0], parts[1], parts[2] | member)


def choose(scores: Mapping[str, np.ndarray], member: np.ndarray, choice: np.ndarray) -> str:
    """The attack that finds most members at 1 % false alarms among the non-members that choose (or at one alarm).

    Args:
        scores: attack -> [T, n], finite.
        member: bool [T, n].
        choice: bool [T, n], the non-members that choose.
    """

    def found(score: np.ndarray) -> float:
        each = []
        for s, m, c in zip(score, member, choice, strict=True):
            t = metrics.tally(s[m | c], m[m | c])
            rate = max(LOOK, 1 / (c.sum() + 1))
            each.append(low_fpr.plain(low_fpr.above(t.members, t.non_members), rate))
        return float(np.mean(each))

    return max(scores, key=lambda name: found(scores[name]))


class Found(NamedTuple):
    """The list of each target."""

    attack: str  # whose scores it is made of
    p: np.ndarray  # float64 [T, n]; NaN of records that were not tested
    listed: np.ndarray  # bool [T, n]
    tested: np.ndarray  # bool [T, n]
    calibration: int  # non-members that calibrate, of the target with the fewest


def find(scores: Mapping[str, Array], member: Array, *, seed: int = 0, rate: float = RATE) -> Found | None:
    """The records that may be told as members of each target.

    Args:
        scores: attack -> [T, n] or [n]; those that did not judge all records (NaN) are left out.
        member: bool [T, n] or [n].
        seed: of the draw that divides the non-members.
        rate: of false discoveries.

    Returns:
        None where no attack judged all records, or fewer than ``LEAST`` non-members would calibrate.
    """
    member = np.atleast_2d(np.asarray(member, bool))
    whole = {name: np.atleast_2d(np.asarray(score, np.float64)) for name, score in scores.items()}
    whole = {name: score for name, score in whole.items() if not np.isnan(score).any() and score.shape == member.shape}
    rng = np.random.default_rng(seed)
    parts = [split(rng, m) for m in member]
    if not whole or min(part.calibration.sum() for part in parts) < LEAST or not member.any(axis=1).all():
        return None
    name = choose(whole, member, np.stack([part.choice for part in parts]))
    p, listed = np.full(member.shape, np.nan), np.zeros(member.shape, bool)
    for t, part in enumerate(parts):
        score = whole[name][t]
        p[t, part.tested] = p_values(score[part.tested], score[part.calibration])
        listed[t, part.tested] = discoveries(p[t, part.tested], rate)
    least = min(int(part.calibration.sum()) for part in parts)
    return Found(name, p, listed, np.stack([part.tested for part in parts]), least)


def block(scores: Mapping[str, np.ndarray], *, seed: int = 0) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What results.json says, "discoveries", and further columns of scores.npz; both empty where there is no list.

    Args:
        scores: columns of scores.npz, [n], or [T, n] of several targets: "score" and "score_..." are attacks'.
        seed: of the draw that divides the non-members.
    """
    member = scores.get("member")
    attacks = {name: score for name, score in scores.items() if name == "score" or name.startswith("score_")}
    found = None if member is None else find(attacks, member, seed=seed)
    if member is None or found is None:
        return {}, {}
    inside = np.atleast_2d(np.asarray(member, bool))
    right, wrong = found.listed & inside, found.listed & ~inside
    told, trained = right.sum(axis=0), inside.sum(axis=0)
    # First those that most of the targets that they trained tell, of these those of most targets; then by p-value.
    share, least = told / np.maximum(trained, 1), np.where(inside, found.p, 2.0).min(axis=0)
    order = [int(i) for i in np.lexsort((least, -told, -share)) if told[i]][:SHOWN]
    index = scores["index"] if "index" in scores else np.arange(inside.shape[1])
    said = {
        "rate": RATE,
        "attack": "shokri" if found.attack == "score" else found.attack.removeprefix("score_"),
        "members": float(right.sum(axis=1).mean()),
        "non_members": float(wrong.sum(axis=1).mean()),
        "share_of_members": float(right.sum() / inside.sum()),
        "tested": float(found.tested.sum(axis=1).mean()),
        "tested_non_members": float((found.tested & ~inside).sum(axis=1).mean()),
        "calibration": float(found.calibration),
        "records": [{"index": int(index[i]), "told": int(told[i]), "trained": int(trained[i])} for i in order],
    }
    columns = {"p_value": found.p, "told": np.where(found.tested, found.listed, np.nan)}
    return said, {name: value.reshape(member.shape).astype(np.float32) for name, value in columns.items()}
