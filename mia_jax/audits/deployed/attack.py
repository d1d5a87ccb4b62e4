"""The attacks of an audit whose target somebody else has trained: shadows observed as the target is, or in full.

Shadows are asked about three kinds of records: their own training and test records, which teach the attacks that learn
from rows; a sample of the pool that all of them are asked about, on which they play the target (``calibration``); and
the records in question, which none of them was trained on.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import signals
from mia_jax.attacks import ATTACKS, changed_options, sources
from mia_jax.audits import stages
from mia_jax.audits.deployed import answer_formats, calibration, negative_control
from mia_jax.audits.deployed.calibration import AS_LABELS, AS_TARGET, Calibration, Choice
from mia_jax.audits.types import Models, Observation, Observers
from mia_jax.checks.models import temperatures
from mia_jax.progress import Advance
from mia_jax.targets import defenses, observation
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.targets.observation import Observer
from mia_jax.types import Answers, Attack, Key, Plan, Records, Seen, State, Target

Ways = Mapping[str, tuple[AnswerDefense, ...]]  # how shadows may answer -> the defenses that make them do so


class Asked(NamedTuple):
    """Somebody's model, and the records in question, on none of which a shadow was trained."""

    target: Target
    records: Records  # [n], as shadows are asked about them
    sent: Records  # [n], the same, as the target is asked about them


class Observed(NamedTuple):
    """What attacks see. r records of the shadows' pool are those on which each shadow can be the target."""

    shadows: dict[str, dict[str, Seen]]  # attack -> how they answer -> [S, 2m, ...]; per example: [S, r + n, ...]
    member: np.ndarray  # bool [S, 2m]: of each, its own training and test records
    trained: np.ndarray  # bool [S, r]
    summary: dict[str, Any]  # of the shadows, ``observation.summary`` [S, 2m]; and "tempered"
    target: dict[str, Seen]  # attack -> leaves [n, ...]; and "summary"
    as_labels: dict[str, Seen]  # of the target's labels alone, where it answers with nearly nothing else
    right: np.ndarray | None  # bool [S, n], on which records in question shadows are, where they were asked about them
    # Attack -> how shadows answer -> what is seen of them on the records in question, leaves [S, n, ...], of attacks
    # that learn from rows of any records, where a negative control was asked for.
    asked: dict[str, dict[str, Seen]]


class Attacked(NamedTuple):
    """What the attacks made of the target."""

    scores: dict[str, np.ndarray]  # attack -> float64 [n]
    about: dict[str, dict[str, Any]]  # attack -> how the shadows answered by which it judged, for results.json
    no_boundary: dict[str, str]  # attack -> why it has no boundary
    control: dict[str, np.ndarray | None]  # attack -> float64 [T, n], of shadows in the target's place


def ways_to_answer(
    answers: Answers, chosen: Sequence[AnswerDefense], labeled: float | None = None
) -> dict[str, tuple[AnswerDefense, ...]]:
    """How shadows may answer: as the user chose; otherwise as the target's answers show, or in full as well.

    Args:
        answers: the format of the target's answers.
        chosen: by the user.
        labeled: ``answer_formats.labeled`` of them.
    """
    return {AS_TARGET: tuple(chosen)} if chosen else answer_formats.ways(defenses.from_answers(answers), labeled)


def answers_block(ways: Ways, chosen: str) -> dict[str, Any]:
    """The block of results.json: what makes shadows answer as the target; ``chosen`` by the user, or empty."""
    names = [defense.name for defense in ways[AS_TARGET]]
    return {"defences": names, "from": "defenses" if chosen else "the target's answers"}


def observe(
    key: Key,
    attacks: Mapping[str, Attack],
    settings: Mapping[str, Any],
    shadow: Models,
    pool: Records,
    plan: Plan,
    asked: Asked,
    ways: Ways,
    *,
    control: bool = False,
) -> Observed:
    """What attacks see of shadows and target.

    Args:
        key: of the observers.
        attacks: by name; they need nothing but plain answers.
        settings: of their options, by flag: what is seen is named by them.
        shadow: the shadows [S].
        pool: what they are trained on [N].
        plan: rows of the pool.
        asked: the target, and the records in question.
        ways: how shadows may answer.
        control: all shadows are asked about the records in question, for a negative control.
    """
    m, count = plan.train.shape[1], len(plan.train)
    mine = np.concatenate([plan.train, plan.test[:, :m]], axis=1)
    rows, trained = calibration.rows(plan)
    per_example = {name: attack for name, attack in attacks.items() if attack.per_example}
    others = {name: attack for name, attack in attacks.items() if name not in per_example}
    wanted = [Observation(_observers(key, others, settings, ways), pool, mine)]
    if per_example:
        x, y = (np.concatenate([np.asarray(a)[rows], np.asarray(b)]) for a, b in zip(pool, asked.records, strict=True))
        everywhere = np.broadcast_to(np.arange(len(y)), (count, len(y)))
        wanted.append(Observation(_observers(key, per_example, settings, ways), Records(x, y), everywhere))
    if control and others:
        same = Records(*map(np.asarray, asked.records))
        everywhere = np.broadcast_to(np.arange(len(same.y)), (count, len(same.y)))
        wanted.append(Observation(_observers(key, others, settings, ways), same, everywhere))
    seen = shadow.observe(*wanted)

    def parted(some: Mapping[str, Attack], one: Mapping[str, Seen]) -> dict[str, dict[str, Seen]]:
        return {name: {answer: one[f"{name}:{answer}"] for answer in ways} for name in some}

    by_attack = parted(others, seen[0]) | (parted(per_example, seen[1]) if per_example else {})
    there = parted(others, seen[-1]) if control and others else {}
    observers = {name: attack.observe for name, attack in attacks.items()}
    own = observation.observe(key, observers | {"summary": _summary}, asked.target, asked.sent)
    as_labels = {}
    if AS_LABELS in ways:  # of whatever the target tells beside its labels nothing
        labels = stages.defended(asked.target, (defenses.label_only(),))
        as_labels = observation.observe(key, observers, labels, asked.sent)
    member = np.broadcast_to(np.arange(mine.shape[1]) < m, mine.shape)
    right = np.asarray(seen[1]["summary"]["correct"])[:, len(rows) :] if per_example else None
    return Observed(by_attack, member, trained, seen[0]["summary"], own, as_labels, right, there)


def attack(
    key: Key,
    attacks: Mapping[str, Attack],
    parts: Mapping[str, int],
    observed: Observed,
    advance: Advance,
    *,
    control: bool = False,
) -> Attacked:
    """Every attack on the target.

    Args:
        key: of the fits.
        attacks: by name; one that has parts tells itself how far it is.
        parts: of the work of each, in the order in which they are tried.
        observed: what they see.
        advance: told how far it is: of all attacks, the sum of their parts times ``fits``.
        control: score shadows in the target's place, too (``negative_control``).
    """
    count, r = observed.trained.shape
    scores, choices, controls, number = {}, {}, {}, {name: i for i, name in enumerate(attacks)}
    for name in parts:
        advance(0, name)
        attack, seen, own_key = attacks[name], observed.shadows[name], jax.random.fold_in(key, number[name])
        proxies = None
        if attack.per_example:
            known = Calibration(jax.tree.map(lambda leaf: leaf[:, :r], seen), observed.trained, dict.fromkeys(seen))
            choices[name] = calibration.per_example(own_key, attack, known)
            proxies = known.seen[choices[name].answer], observed.trained
            learn = jax.tree.map(lambda leaf: leaf[:, r:], seen[choices[name].answer])
            truth = np.zeros((count, jax.tree.leaves(learn)[0].shape[1]), bool)
        else:
            known = Calibration(seen, observed.member, dict.fromkeys(seen))
            choices[name] = calibration.learned(own_key, attack, known)
            learn, truth = seen[choices[name].answer], observed.member
        state = calibration.fit(own_key, attack, choices[name], learn, truth, proxies=proxies)
        read = observed.as_labels if choices[name].answer == AS_LABELS else observed.target
        scores[name] = np.asarray(attack.score(state, read[name]), np.float64)
        if control:
            controls[name] = _control(own_key, attack, name, choices[name], state, observed, learn, truth, proxies)
        if ATTACKS[name].parts is None:
            advance(fits(attack, observed, name), name)
    missing = {name: calibration.missing(one, count) for name, one in choices.items()}
    return Attacked(
        {name: scores[name] for name in attacks},
        {name: choices[name].json() for name in attacks},
        {name: reason for name, reason in missing.items() if reason},
        controls,
    )


def _control(
    key: Key,
    attack: Attack,
    name: str,
    choice: Choice,
    state: State,
    observed: Observed,
    learn: Seen,
    truth: np.ndarray,
    proxies: Any,
) -> np.ndarray | None:
    """Scores of shadows in the target's place, [T, n]; ``learn``, ``truth``, ``proxies``: what it was fitted to."""
    read = calibration.read_as(choice.answer)
    if not attack.per_example:
        seen, n = observed.asked[name], len(jax.tree.leaves(observed.target[name])[0])
        never = np.zeros((len(observed.trained), n), bool)
        return negative_control.scores(attack, state, choice, Calibration(seen, never, dict.fromkeys(seen)))
    if ATTACKS[name].parts is not None:  # long work, that would be done again for each
        return None
    r = observed.trained.shape[1]
    own = jax.tree.map(lambda leaf: leaf[:, r:], observed.shadows[name][read])
    return negative_control.refitted(key, attack, choice, learn, truth, own, proxies)


def fits(attack: Attack, observed: Observed, name: str) -> int:
    """How often an attack's work is done: more than once where it chooses how shadows answer."""
    return calibration.fits(attack, len(observed.trained), len(observed.shadows[name]))


def _observers(key: Key, attacks: Mapping[str, Attack], settings: Mapping[str, Any], ways: Ways) -> Observers:
    """Of shadows, in every way in which they may answer: "attack:way", and "summary"."""
    by_name: dict[str, Observer] = {
        f"{name}:{answer}": defended_observer(attack.observe, chosen)
        for name, attack in attacks.items()
        for answer, chosen in ways.items()
    }
    by_name["summary"] = defended_observer(_summary, ways[AS_TARGET])
    names = {answer: [defense.name for defense in chosen] for answer, chosen in ways.items()}
    description = {"attacks": sources(attacks), "worn": names, "tempered": len(temperatures.STEPS)}
    description |= changed_options(attacks, settings)
    return Observers(key, by_name, (), description)


def _summary(key: Key, target: Target, records: Records) -> dict[str, Any]:
    """``observation.summary``, and the losses of some of the records at several temperatures."""
    some = temperatures.some(len(records.y), target.answers.classes)
    log_p = target.ask(records.x)
    summary = observation.summary(key, target._replace(ask=lambda x: log_p), records)
    return {**summary, "tempered": signals.tempered_losses(log_p[some], records.y[some], temperatures.STEPS)}


def defended_observer(observe: Observer, chosen: tuple[AnswerDefense, ...]) -> Observer:
    """An observer of targets behind those of the defenses that change their answers."""

    def defended(key, target: Target, records: Records):
        needed = tuple(defense for defense in chosen if defense.changes(target.answers))
        return observe(key, stages.defended(target, needed), records)

    return defended
