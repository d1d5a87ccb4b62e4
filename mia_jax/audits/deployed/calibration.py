"""How shadows answer, and where an attack's boundary lies: both are chosen on shadows that play the target.

A service may round, or tell the best classes only. A shadow that plays the target answers as the target does, for that
is what an attacker sees of the target; the others, by which it is judged, may do so too, or answer in full. What does
better on shadows is what the attack then does to the target. The target's own members decide nothing. Where the
target answers nearly always with a label alone, a third way is to read labels only, of target and shadows.

Attacks that compare a record with itself in other models find their boundary on records that some shadows were trained
on; records in question of which none was trained on any say nothing of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mia_jax.attacks.thresholds import best_threshold
from mia_jax.statistics import metrics
from mia_jax.types import Array, Attack, Key, Plan, Seen

AS_TARGET, IN_FULL = "as the target", "in full"  # how shadows answer
AS_LABELS = "as labels"  # they, and the target too, of whose answers no more than the label is read
ROWS = 4096  # of the shadows' own records, at most, on which they play the target
NO_BOUNDARY = "no boundary: "  # how such a reason begins


class Calibration(NamedTuple):
    """What is seen of shadows, on records of which it is known whom they trained."""

    seen: Mapping[str, Seen]  # AS_TARGET and perhaps IN_FULL and AS_LABELS -> leaves [S, r, ...]
    member: np.ndarray  # bool [S, r]
    population: Mapping[str, Seen | None]  # the same -> leaves [1 + S, p, ...], the target's first


class Choice(NamedTuple):
    """What was chosen for an attack."""

    answer: str  # AS_TARGET, IN_FULL or AS_LABELS: how the shadows answer by which the target is judged
    measured: dict[str, float]  # by each, over shadows that are the target; empty where there was no choice
    measure: str  # what that is: "auc" or "balanced_accuracy"
    boundary: float | None = None  # of a per-example attack; None: it finds its own

    def json(self) -> dict[str, Any]:
        """As results.json has it."""
        return {"answer": self.answer, **({"measure": self.measure, **self.measured} if self.measured else {})}


def rows(plan: Plan, most: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Records of the shadows' pool on which they can play the target, and who trained on which.

    Args:
        plan: rows of the pool.
        most: how many, about; of each model as many training as test records.

    Returns:
        rows int [r], ascending, and member bool [S, r].
    """
    train, test = np.asarray(plan.train), np.asarray(plan.test)
    each = max(1, most // (2 * len(train)))
    some = np.unique(np.concatenate([train[:, :each], test[:, :each]], axis=None))
    return some, np.stack([np.isin(some, own) for own in train])


def fits(attack: Attack, num_shadows: int, ways: int) -> int:
    """How often the work of ``attack.fit`` is done where there are so many ways in which shadows may answer."""
    return 1 if attack.per_example or num_shadows < 2 or ways < 2 else 1 + ways


def read_as(answer: str) -> str:
    """How answers of the target, and of shadows in its place, are read beside shadows that answer so."""
    return AS_LABELS if answer == AS_LABELS else AS_TARGET


def as_target(known: Calibration, answer: str) -> tuple[Seen, Seen | None]:
    """What is seen of shadows, and of the population, while one is the target and the others ``answer`` so."""
    return known.seen[read_as(answer)], _of_shadows(known.population[read_as(answer)])


def per_example(key: Key, attack: Attack, known: Calibration) -> Choice:
    """For an attack that compares a record with itself in other models: each shadow is the target in turn.

    The boundary is NaN where nothing could play: too few shadows, or records that are all on one side.
    """
    del key
    member = known.member
    if attack.shadow_scores is None or member.all() or not member.any():
        return Choice(AS_TARGET, {}, "auc", np.nan)
    scores = {
        answer: attack.shadow_scores(seen, member, known.population[answer], as_target(known, answer))
        for answer, seen in known.seen.items()
    }
    there = {answer: ~np.isnan(score) for answer, score in scores.items()}
    if not all(judged.any() for judged in there.values()):
        return Choice(AS_TARGET, {}, "auc", np.nan)
    areas = {answer: _mean(_auc, score, member) for answer, score in scores.items()}
    best = _best(areas)
    boundary = best_threshold(scores[best][there[best]], member[there[best]])
    return Choice(best, areas if len(areas) > 1 else {}, "auc", boundary)


def learned(key: Key, attack: Attack, known: Calibration) -> Choice:
    """For an attack that learns from rows of any records: a fifth of the shadows are the target, the others teach."""
    shadows, member = len(known.member), known.member
    left_out = max(1, shadows // 5)
    if len(known.seen) < 2 or shadows < 2 or member.all() or not member.any():
        return Choice(AS_TARGET, {}, "balanced_accuracy")
    teach = slice(0, shadows - left_out)
    right = {}
    for answer, seen in known.seen.items():
        population = known.population[answer]
        population = population and {name: leaf[: 1 + shadows - left_out] for name, leaf in population.items()}
        state = attack.fit(key, {name: leaf[teach] for name, leaf in seen.items()}, member[teach], population)
        own = known.seen[read_as(answer)]
        scores = [
            np.asarray(attack.score(state, {name: leaf[k] for name, leaf in own.items()}))
            for k in range(shadows - left_out, shadows)
        ]
        right[answer] = _mean(_balanced, np.stack(scores), member[shadows - left_out :])
    return Choice(_best(right), right, "balanced_accuracy")


def fit(key: Key, attack: Attack, choice: Choice, seen: Seen, member: Array, population=None, proxies=None):
    """The attack's state, with the boundary that was found where it cannot find its own.

    Args:
        key: of the fit.
        attack: any.
        choice: how shadows answer, and the boundary.
        seen: of the shadows, leaves [S, n, ...].
        member: bool [S, n].
        population: as of ``FitFn``.
        proxies: as of ``Attack.proxies``, for an attack that takes them.
    """
    more = {} if choice.boundary is None or attack.shadow_scores is None else {"boundary": choice.boundary}
    if attack.proxies and proxies is not None:
        more["proxies"] = proxies
    return attack.fit(key, seen, member, population, **more)


def missing(choice: Choice, num_shadows: int) -> str | None:
    """Why an attack has no boundary; None where it has one."""
    if choice.boundary is None or not np.isnan(choice.boundary):
        return None
    if num_shadows < 2:
        return f"{NO_BOUNDARY}one shadow model cannot play the target against others; give more"
    return f"{NO_BOUNDARY}no shadow model is known to have trained on records that it was asked about"


def _of_shadows(population: Seen | None) -> Seen | None:
    return None if population is None else {name: np.asarray(leaf)[1:] for name, leaf in population.items()}


def _best(measured: Mapping[str, float]) -> str:
    return max(measured, key=lambda answer: (measured[answer], answer == AS_TARGET))


def _mean(measure: Callable[..., float | None], scores: np.ndarray, member: np.ndarray) -> float:
    """Over the models that have been the target: of scores [S, r]."""
    values = []
    for score, mine in zip(scores, member, strict=True):
        there = ~np.isnan(score)
        if (mine & there).any() and (~mine & there).any():
            value = measure(score[there], mine[there])
            assert value is not None  # there are records of both kinds
            values.append(value)
    return float(np.mean(values)) if values else 0.5


def _auc(score: np.ndarray, member: np.ndarray) -> float | None:
    return metrics.auc(score, member).value


def _balanced(score: np.ndarray, member: np.ndarray) -> float | None:
    return metrics.balanced_accuracy(metrics.call(score, member)).value
