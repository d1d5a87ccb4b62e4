"""The same attacks on models that never saw the records: shadows in the target's place.

Whatever tells the user's members from others in a model that none of them trained is no memory of them, but a
difference between the two groups. So a negative control asks, of every attack, for the AUC of the user's ``member`` on
such models. It costs no model and no question: shadows have answered, and each is judged as the target is, by the
others where the attack compares a record with itself in other models.
"""

from typing import Any

import jax
import numpy as np

from mia_jax.audits.deployed import calibration
from mia_jax.audits.deployed.calibration import Calibration, Choice
from mia_jax.statistics import metrics, over_targets
from mia_jax.types import Attack, Key, Seen, State

MODELS = 4  # shadows that play, at most
LEAST = 30  # members, and others, that a shadow must not have seen


def players(num_shadows: int, most: int = MODELS) -> list[int]:
    """The shadows that play the target, evenly spaced."""
    return sorted({int(k) for k in np.linspace(0, num_shadows - 1, min(most, num_shadows))})


def scores(attack: Attack, state: State, choice: Choice, known: Calibration, most: int = MODELS) -> np.ndarray | None:
    """Scores of shadows that were asked about the records in question, [T, n]; NaN where one trained on the record.

    Args:
        attack: any.
        state: of its fit to all of them; of attacks that learn from rows of any records.
        choice: how the shadows answer.
        known: what is seen of them, who trained them.
        most: shadows that play.
    """
    trained = known.member
    if attack.per_example:
        if attack.shadow_scores is None or len(trained) < 2:
            return None
        as_target = calibration.as_target(known, choice.answer)
        every = attack.shadow_scores(known.seen[choice.answer], trained, known.population[choice.answer], as_target)
        every = np.where(trained, np.nan, every)
    else:
        own = known.seen[calibration.read_as(choice.answer)]
        play = players(len(trained), most)
        each = [np.asarray(attack.score(state, _of(own, k)), np.float64) for k in play]
        every = np.where(trained[play], np.nan, np.stack(each))
    every = every[~np.isnan(every).all(axis=1)]
    return every[players(len(every), most)] if len(every) else None


def refitted(
    key: Key, attack: Attack, choice: Choice, learn: Seen, truth: np.ndarray, own: Seen, proxies: Any = None
) -> np.ndarray | None:
    """Scores [T, n] of shadows of which none trained on the records, each judged by the others.

    Args:
        key: of the fits.
        attack: compares a record with itself in other models.
        choice: how the shadows answer.
        learn: what is seen of them, leaves [S, n, ...].
        truth: bool [S, n], all false.
        own: what is seen of them as they answer in the target's place, leaves as of ``learn``.
        proxies: as of ``Attack.proxies``.
    """
    if len(truth) < 2:
        return None
    out = []
    for k in players(len(truth)):
        others = np.arange(len(truth)) != k
        left, near = jax.tree.map(lambda leaf, others=others: np.asarray(leaf)[others], (learn, proxies))
        state = calibration.fit(key, attack, choice, left, truth[others], proxies=near)
        out.append(np.asarray(attack.score(state, _of(own, k)), np.float64))
    return np.stack(out)


def measure(score: np.ndarray | None, member: np.ndarray) -> dict[str, Any]:
    """The AUC of the user's members on models that never saw the records, a mean over these; or why there is none.

    Args:
        score: [T, n], NaN where a model saw the record; None: there is none.
        member: bool [n], who trained the target.
    """
    if score is None:
        return metrics.Measure(None, reason="no shadow model could take the target's place").json()
    judged = ~np.isnan(score)
    enough = [k for k, there in enumerate(judged) if min((there & member).sum(), (there & ~member).sum()) >= LEAST]
    if not enough:
        reason = f"no shadow model left out {LEAST} members and {LEAST} others"
        return metrics.Measure(None, reason=reason).json()
    score = score[enough]
    return over_targets.auc(score, np.broadcast_to(member, score.shape)).json()


def _of(seen: Seen, k: int) -> Seen:
    return jax.tree.map(lambda leaf: leaf[k], seen)
