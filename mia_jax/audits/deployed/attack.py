"""The attacks of an audit whose target somebody else has trained: shadows looked at as the target is, or in full.

Shadows are asked about three kinds of records: their own training and test records, which teach the attacks that learn
from rows; a sample of the pool that all of them are asked about, on which they play the target (``calibration``); and
the records in question, which none of them was trained on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import signals
from mia_jax.attacks import ATTACKS, sources
from mia_jax.audits import stages
from mia_jax.audits.deployed import answer_formats, calibration
from mia_jax.audits.deployed.calibration import AS_LABELS, AS_TARGET, Rehearsal
from mia_jax.audits.stages import Look, Models, stage_key
from mia_jax.progress import Progress
from mia_jax.statistics import temperatures
from mia_jax.targets import defenses, observation
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.targets.observation import Observer
from mia_jax.types import Answers, Attack, Key, Plan, Records, Target

Worn = Mapping[str, tuple[AnswerDefense, ...]]  # how shadows may answer -> what they wear then


class Asked(NamedTuple):
    """Somebody's model, and the records in question as it is asked about them."""

    target: Target
    records: Records  # [n]


class Attacked(NamedTuple):
    scores: dict[str, np.ndarray]  # attack -> float64 [n]
    about: dict[str, dict[str, Any]]  # attack -> how the shadows answered by which it judged, for results.json
    no_boundary: dict[str, str]  # attack -> why it has no boundary
    plain: dict[str, np.ndarray]  # what is plain to see of the target, ``observation.summary``
    accuracy: tuple[np.ndarray, np.ndarray]  # of the shadows [S], on their training and on their test records
    temperature: tuple[np.ndarray, np.ndarray]  # ``temperatures.losses``: the target's [r, g], the shadows' [S, r', g]
    member: np.ndarray  # bool [S, r'], who of the shadows trained on which of those records


def worn(
    answers: Answers, chosen: Sequence[AnswerDefense], labeled: float | None = None
) -> dict[str, tuple[AnswerDefense, ...]]:
    """What shadows wear: what the user chose; otherwise what the target's answers show, or nothing as well.

    Args:
        answers: the format of the target's answers.
        chosen: ``--defenses``.
        labeled: ``answer_formats.labeled`` of them.
    """
    return {AS_TARGET: tuple(chosen)} if chosen else answer_formats.ways(defenses.from_answers(answers), labeled)


def told(worn: Worn, chosen: str) -> dict[str, Any]:
    """The block of results.json: what shadows wear to answer as the target; ``chosen`` is --defenses."""
    names = [defense.name for defense in worn[AS_TARGET]]
    return {"defences": names, "from": "--defenses" if chosen else "the target's answers"}


def attack(
    root: Key,
    build: Callable[[Callable[[str], None]], Mapping[str, Attack]],
    parts: Mapping[str, int],
    shadow: Models,
    pool: Records,
    plan: Plan,
    records: Records,
    asked: Asked,
    worn: Worn,
    progress: Progress,
) -> Attacked:
    """Every attack on the target.

    Args:
        root: of the run.
        build: makes the attacks, which need nothing but plain answers, given whom to tell the name of one when a
            part of its work is done.
        parts: of the work of each, in the order in which they are tried.
        shadow: the shadows [S].
        pool: what they are trained on [N].
        plan: rows of the pool.
        records: in question [n], as shadows are asked about them; none was trained on one.
        asked: the target, and the same records.
        worn: how shadows may answer.
        progress: shows how far it is.
    """
    attacks = build(lambda name: advance(1, name))
    key_observe, key_fit = jax.random.split(stage_key(root, "attack"))
    m, count = plan.train.shape[1], len(plan.train)
    mine = np.concatenate([plan.train, plan.test[:, :m]], axis=1)
    member = np.broadcast_to(np.arange(mine.shape[1]) < m, mine.shape)
    looked = _look(key_observe, {n: a for n, a in attacks.items() if not a.per_example}, worn, shadow, pool, mine)
    summary = looked.pop("summary")
    correct, some = summary["correct"], temperatures.some(mine.shape[1], asked.target.answers.classes)
    rows, trained = calibration.rows(plan)
    if per_example := {name: attack for name, attack in attacks.items() if attack.per_example}:
        x, y = (np.concatenate([np.asarray(a)[rows], np.asarray(b)]) for a, b in zip(pool, records, strict=True))
        everywhere = np.broadcast_to(np.arange(len(y)), (count, len(y)))
        looked |= _look(key_observe, per_example, worn, shadow, Records(x, y), everywhere)
    observers = {name: attack.observe for name, attack in attacks.items()} | {"summary": _summary}
    own = observation.observe(key_observe, observers, *asked)
    as_labels = _read_as_labels(key_observe, attacks, asked) if AS_LABELS in worn else {}
    scores, settled, number = {}, {}, {name: i for i, name in enumerate(attacks)}
    times = {name: calibration.fits(attack, count, len(worn)) for name, attack in attacks.items()}
    with progress("attacks", sum(n * times[name] for name, n in parts.items())) as advance:
        for name in parts:
            advance(0, name)
            attack, seen, key = attacks[name], looked.pop(name), jax.random.fold_in(key_fit, number[name])
            if attack.per_example:
                known = Rehearsal(jax.tree.map(lambda leaf: leaf[:, : len(rows)], seen), trained, dict.fromkeys(worn))
                settled[name] = calibration.per_example(key, attack, known)
                learn = jax.tree.map(lambda leaf: leaf[:, len(rows) :], seen[settled[name].answer])
                truth = np.zeros((count, len(records.y)), bool)
            else:
                settled[name] = calibration.learned(key, attack, Rehearsal(seen, member, dict.fromkeys(worn)))
                learn, truth = seen[settled[name].answer], member
            state = calibration.fit(key, attack, settled[name], learn, truth)
            read = as_labels if settled[name].answer == AS_LABELS else own
            scores[name] = np.asarray(attack.score(state, read[name]), np.float64)
            if ATTACKS[name].parts is None:
                advance(times[name], name)
    missing = {name: calibration.missing(one, count) for name, one in settled.items()}
    plain = {name: np.asarray(value) for name, value in own["summary"].items()}
    tempered = plain.pop("tempered")
    return Attacked(
        {name: scores[name] for name in attacks},
        {name: settled[name].json() for name in attacks},
        {name: reason for name, reason in missing.items() if reason},
        plain,
        (correct[:, :m].mean(axis=1), correct[:, m:].mean(axis=1)),
        (tempered, summary["tempered"]),
        member[:, some],
    )


def _look(key: Key, attacks: Mapping[str, Attack], worn: Worn, shadow: Models, pool: Records, index: np.ndarray):
    """What attacks see of the shadows, in one look: attack -> how they answer -> leaves [S, r, ...]; and "summary"."""
    observers: dict[str, Observer] = {
        f"{name}:{answer}": _wearing(attack.observe, dress)
        for name, attack in attacks.items()
        for answer, dress in worn.items()
    }
    observers["summary"] = _wearing(_summary, worn[AS_TARGET])
    description = {
        "attacks": sources(attacks),
        "worn": {a: [defense.name for defense in d] for a, d in worn.items()},
        "tempered": len(temperatures.STEPS),
    }
    seen = shadow.look(Look(key, observers, (), description), pool, index)
    return {
        "summary": seen["summary"],
        **{name: {answer: seen[f"{name}:{answer}"] for answer in worn} for name in attacks},
    }


def _summary(key: Key, target: Target, records: Records) -> dict[str, Any]:
    """``observation.summary``, and the losses of some of the records at several temperatures."""
    some = temperatures.some(len(records.y), target.answers.classes)
    log_p = target.ask(records.x)
    told = observation.summary(key, target._replace(ask=lambda x: log_p), records)
    return {**told, "tempered": signals.tempered_losses(log_p[some], records.y[some], temperatures.STEPS)}


def _read_as_labels(key: Key, attacks: Mapping[str, Attack], asked: Asked):
    """What the attacks see of the target's labels, of whatever it tells beside them nothing."""
    target = stages.wear(asked.target, (defenses.label_only(),))
    return observation.observe(key, {name: attack.observe for name, attack in attacks.items()}, target, asked.records)


def _wearing(observe: Observer, dress: tuple[AnswerDefense, ...]) -> Observer:
    def wearing(key, target: Target, records: Records):
        needed = tuple(defense for defense in dress if defense.changes(target.answers))
        return observe(key, stages.wear(target, needed), records)

    return wearing
