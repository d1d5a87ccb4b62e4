"""Du, Li, Chen, Zhang, Yuan, Xiao, Ribeiro, Li, "Cascading and Proxy Membership Inference Attacks", NDSS 2026
(arXiv 2507.21412): CMIA, the adaptive attack of the two.

Who trained a model is not independent of who else did. An attack that is sure of some records trains the next round's
shadows as if they were known: anchors, which all of these shadows train on, or none does, so that they are nearer to
the target. In each round, with the shadows of all rounds so far:

1. Shadows of this round play the target, each judged by the others. Of the records that are no anchors, the lowest
   scores reach up to where they hold 10 members (``false_negatives``), the highest down to where they hold no
   non-member (``false_positives``); these two scores, averaged over the shadows that played, are thresholds.
2. The target's records below the lower one become non-members, the lowest first, at most 5 % of those that are left
   (``share``). If they are fewer than 30 (``least``), those above the upper one become members, if there are 5 at least
   (``least_members``). If there are none, the cascade ends.
3. The next round's shadows are trained: of the records that are no anchors each draws a half.

The last score is the base attack's with the shadows of all rounds. The base is any attack that compares a record with
itself in other models; theirs, and here by default, is LiRA.

Checked against the authors' code (github.com/zealscott/MIA, CMIA/anchor.py, shadow.py and utils/cmia_utils.py; its
settings for CIFAR and MNIST are the defaults), for the text of the paper could not be had: that its equations agree
with it, and how many rounds it takes, is unchecked (?). Departures:

* Theirs trains further models, one a round, to play the target. Here shadows of the round do, with the partner left
  out, by sums from which they are subtracted: no training is spent on it.
* Each round's shadows are complementary halves of the records that are no anchors, in pairs; theirs are halves such
  that each record is in half of the models.
* The first round's shadows are those of the audit.
* Where no error is allowed on the side of non-members, and the lowest score is a member's, there is no threshold; their
  loop then gives the highest score.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import jax
import numpy as np

from mia_jax.attacks import bavaria, leave_one_out, lira
from mia_jax.attacks.entries import Option, python_only
from mia_jax.attacks.leave_one_out import Steps
from mia_jax.attacks.thresholds import best_threshold, beyond
from mia_jax.plans import membership
from mia_jax.types import Array, Attack, InputError, Key, Seen

BASES: dict[str, Callable[[], Steps]] = {
    "lira": lira.steps,
    "lira_fixed": lambda: lira.steps(fixed=True),
    "bavaria": bavaria.steps,
}
NEEDS = frozenset({"in", "out", "trainer"})
OPTIONS = (
    Option("retrain", source="retrain"),
    Option("base", str, "lira", "the attack that cmia cascades", flag="cascade_base", choices=tuple(BASES)),
    Option("rounds", int, 2, "rounds of cmia; the first has the audit's shadows", flag="cascade_rounds", low=1),
    Option(
        "shadows", int, 16, "shadows that each further round trains, for each target", flag="cascade_shadows", low=2
    ),
    Option(
        "false_negatives",
        int,
        10,
        "members among the records that a round of cmia takes for non-members, of a shadow that plays the target",
        flag="cascade_false_negatives",
        low=0,
    ),
    Option(
        "false_positives",
        int,
        0,
        "non-members among those that it takes for members",
        flag="cascade_false_positives",
        low=0,
    ),
    *python_only("share", "least", "least_members", "players"),
)


class Retrain(Protocol):
    """What trains a round's shadows and observes them."""

    def __call__(self, key: Key, member: np.ndarray, observe: Callable[..., Seen], /) -> tuple[np.ndarray, Seen]:
        """Train models on rows of the records that are asked about.

        Args:
            key: of the training.
            member: bool [R, n], who trains each of them.
            observe: of the attack; what is seen is of all n records.

        Returns:
            Which of the models there are, int [R'], and what is seen of them, leaves [R', n, ...].
        """
        ...


class Settings(NamedTuple):
    """How a cascade goes on: arguments of ``cmia``."""

    rounds: int
    shadows: int
    false_negatives: int
    false_positives: int
    share: float
    least: int
    least_members: int
    players: int


class Shadows(NamedTuple):
    """The shadows of all rounds so far."""

    seen: dict[str, np.ndarray]  # leaves [S, n]
    member: np.ndarray  # bool [S, n]
    related: np.ndarray  # bool [S, S]: who is left out with whom

    def joined(self, seen: Seen, member: np.ndarray, related: np.ndarray) -> "Shadows":
        """With those of one more round, which are related to none of before.

        Args:
            seen: of them, leaves [R, n].
            member: bool [R, n].
            related: bool [R, R].
        """
        both = {name: np.concatenate([leaf, np.asarray(seen[name])]) for name, leaf in self.seen.items()}
        old, new = len(self.member), len(member)
        block = np.zeros((old + new, old + new), bool)
        block[:old, :old], block[old:, old:] = self.related, related
        return Shadows(both, np.concatenate([self.member, member]), block)


class State(NamedTuple):
    """The first round: the base attack's own state, its shadows, and the key of those to be trained."""

    key: Key
    base: leave_one_out.State
    shadows: Shadows


def cmia(
    num_classes: int,
    *,
    retrain: Retrain,
    base: str = "lira",
    rounds: int = 2,
    shadows: int = 16,
    false_negatives: int = 10,
    false_positives: int = 0,
    share: float = 0.05,
    least: int = 30,
    least_members: int = 5,
    players: int = 4,
) -> Attack:
    """CMIA: an attack whose sure calls condition the training of further shadows.

    Args:
        num_classes: not used.
        retrain: what trains shadows and observes them.
        base: "lira", "lira_fixed" or "bavaria".
        rounds: of which the first has the shadows that it is given.
        shadows: trained in each further round, in pairs.
        false_negatives, false_positives: members and non-members that a shadow's list of the other kind may hold.
        share: of the records that are no anchors, at most so many become non-members in a round.
        least, least_members: a round that finds fewer non-members, or members, finds none.
        players: shadows of a round that play the target for thresholds.

    Returns:
        An Attack. Zero is where the last round's players are told best, or without such the base attack's boundary.

    Raises:
        InputError: another base.
    """
    del num_classes
    if base not in BASES:
        raise InputError(f'base is one of {", ".join(BASES)}, not "{base}"')
    steps = BASES[base]()
    plain = leave_one_out.attack(steps)
    settings = Settings(rounds, shadows, false_negatives, false_positives, share, least, least_members, players)

    def more(key: Key, member: np.ndarray) -> tuple[np.ndarray, Seen]:
        return retrain(key, member, plain.observe)

    def fit(key: Key, seen: Seen, member: Array, population: Seen | None = None) -> State:
        member = np.asarray(member, bool)
        leaves = {name: np.asarray(leaf) for name, leaf in seen.items()}
        first = Shadows(leaves, member, membership.related(member))
        return State(key, plain.fit(key, seen, member, population), first)

    def score(state: State, seen: Seen) -> np.ndarray:
        *_, last = cascade(steps, more, state, seen, settings)
        if last.number == 0:
            return np.asarray(plain.score(state.base, seen))
        free = last.anchor < 0
        played = [(s[free], last.shadows.member[k][free]) for k, s in play(steps, last.shadows, last.first, players)]
        if not played:
            return beyond(last.score, state.base.boundary)
        own, truth = (np.concatenate(parts) for parts in zip(*played, strict=True))
        return beyond(last.score, best_threshold(own, truth))

    return Attack(plain.observe, fit, score, plain.read, per_example=True, needs=NEEDS)


# (key, member [R, n]) -> which of the models there are, and what is seen of them: a Retrain, told who observes
More = Callable[[Key, np.ndarray], tuple[np.ndarray, Seen]]


class Round(NamedTuple):
    """What is known after a round."""

    number: int  # from 0
    score: np.ndarray  # [n], of the target, by the shadows of all rounds so far; without a boundary
    anchor: np.ndarray  # int [n], of the records when this round's shadows were trained: 1 member, 0 not, -1 not known
    shadows: Shadows
    first: int  # of this round's among them


def cascade(steps: Steps, more: More, state: State, seen: Seen, settings: Settings) -> Iterator[Round]:
    """Every round, one after the other, until no record becomes an anchor.

    Args:
        steps: of the base attack.
        more: what trains and observes further shadows.
        state: the first round.
        seen: of the target, leaves [n].
        settings: how it goes on.
    """
    shadows, first = state.shadows, 0
    anchor = np.full(shadows.member.shape[1], -1)
    for number in range(settings.rounds):
        fitted = steps.fit(steps.aggregate(shadows.seen, shadows.member, None), ())
        score = np.asarray(steps.score(fitted, seen, None), np.float64)
        yield Round(number, score, anchor, shadows, first)
        if number + 1 == settings.rounds:
            return
        free, played = anchor < 0, play(steps, shadows, first, settings.players)
        limits = np.array([thresholds(s[free], shadows.member[k][free], settings) for k, s in played])
        found = anchors(score, anchor, *map(_mean, limits.T), settings) if len(limits) else {}
        if not found:
            return
        anchor = anchor.copy()
        anchor[list(found)] = list(found.values())
        key = jax.random.fold_in(state.key, number + 1)
        member = draw(key, anchor, settings.shadows)
        kept, of_round = more(key, member)
        if not len(kept):
            return
        pair, first = np.asarray(kept) // 2, len(shadows.member)
        shadows = shadows.joined(of_round, member[kept], pair[:, None] == pair)


def play(steps: Steps, shadows: Shadows, first: int, players: int) -> list[tuple[int, np.ndarray]]:
    """Some of the shadows from the ``first`` on, each with its scores [n] as the target, judged by the others."""
    known, played = steps.aggregate(shadows.seen, shadows.member, None), []
    for k in range(first, min(first + players, len(shadows.member))):
        left = shadows.member[~shadows.related[k]]
        if not len(left) or not left.any() or left.all():
            continue
        fitted = steps.fit(known, tuple(np.flatnonzero(shadows.related[k])))
        played.append((k, np.asarray(steps.score(fitted, leave_one_out.row(shadows.seen, k), None), np.float64)))
    return played


def thresholds(score: np.ndarray, member: np.ndarray, settings: Settings) -> tuple[float, float]:
    """The scores [n] up to which, and from which, a shadow's records are told within the errors allowed; NaN: none."""
    up = np.argsort(score, kind="stable")
    low = np.flatnonzero(np.cumsum(member[up]) <= settings.false_negatives)
    high = np.flatnonzero(np.cumsum(~member[up[::-1]]) <= settings.false_positives)
    return score[up[low[-1]]] if len(low) else np.nan, score[up[::-1][high[-1]]] if len(high) else np.nan


def _mean(values: np.ndarray) -> float:
    """Of those that are there; NaN if none is."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan


def anchors(score: np.ndarray, anchor: np.ndarray, low: float, high: float, settings: Settings) -> dict[int, int]:
    """Records that become anchors -> 0, non-members, or 1, members; empty where too few are told.

    Args:
        score: of the target's records [n].
        anchor: int [n], -1 for those that are none yet.
        low, high: thresholds, or NaN.
        settings: who becomes one.
    """
    free = np.flatnonzero(anchor < 0)
    order = free[np.argsort(score[free], kind="stable")]
    outside = order[score[order] <= low][: int(len(free) * settings.share)]
    if len(outside) >= max(1, settings.least):
        return dict.fromkeys(outside.tolist(), 0)
    inside = order[score[order] >= high]
    return dict.fromkeys(inside.tolist(), 1) if len(inside) >= max(1, settings.least_members) else {}


def draw(key: Key, anchor: np.ndarray, count: int) -> np.ndarray:
    """Who trains each of a round's shadows, bool [count, n]: the members among the anchors, and a half of the others.

    Models 2p and 2p + 1 have complementary halves; an odd record is left out of both.
    """
    free = np.flatnonzero(anchor < 0)
    half = len(free) // 2
    member = np.broadcast_to(anchor == 1, (count, len(anchor))).copy()
    for k in range(count):
        order = free[np.asarray(jax.random.permutation(jax.random.fold_in(key, k // 2), len(free)))]
        member[k, order[:half] if k % 2 == 0 else order[half : 2 * half]] = True
    return member
