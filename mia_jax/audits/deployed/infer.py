"""From saved predictions to membership scores: one call, no model, no query."""

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, build, checked, leave_one_out, named, wants_all
from mia_jax.attacks.common import reporting
from mia_jax.attacks.entries import ANSWERS
from mia_jax.audits.deployed import answer_formats, calibration, given_answers, negative_control, remarks
from mia_jax.audits.deployed.answer_formats import Formats
from mia_jax.audits.deployed.calibration import Calibration, Choice
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.checks.membership import memorization
from mia_jax.data import row_order
from mia_jax.plans import membership
from mia_jax.progress import Progress, patient, silent
from mia_jax.targets import answer_format, defenses
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.types import Answers, Array, Attack, InputError, Key

ONE_SIDED = "the shadow models trained on all of the records in question, or on none"


class AnswersWarning(UserWarning):
    """Shadows that were left out, or answers that seem not to belong together."""


def infer(
    attack: str | Attack,
    *,
    labels: Array | None = None,
    target: Array | None = None,
    shadows: Array | None = None,
    shadow_member: Array,
    signal: Array | None = None,
    shadow_signal: Array | None = None,
    population: Mapping[str, Array] | tuple[Array, Array, Array] | None = None,
    member: Array | None = None,
    key: Key | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = patient,
) -> np.ndarray:
    """Score records for membership in the target's training set, from answers that were saved.

    These are probabilities, with the records' classes; or, where a model predicts no class, one number per record.

    What ``shadow_member`` alone would give away is not used (``mia_jax.plans.membership``): a shadow that may be the
    target's complement is left out, and where each record is in a fixed number of models, each gets as many on either
    side. A Python warning, ``AnswersWarning``, says so; so it does where labels, target and shadows seem not to belong
    together (labels shifted, rows or columns in another order), and where shadows train on another share than the
    target.

    Args:
        attack: a name in ``mia_jax.attacks.ATTACKS``, or an Attack.
        labels: [n], the true classes, numbered from 0 as the columns of the answers; or text whose alphabetical order
            is that of the columns, booleans, one-hot, a categorical of pandas in its own order: it is said.
        target: probabilities [n, c] that the target answered; or logits, log-probabilities, or one number for each
            record of two classes [n], which are told apart, read as such, and said.
        shadows: the same that S shadow models answered about the same records, in the same order [S, n, c] or [S, n].
        shadow_member: bool [S, n], what each shadow trained on.
        signal: float [n], in place of labels, target and shadows: one number per record, larger where the target fits
            it better, as a log-likelihood or minus a loss.
        shadow_signal: float [S, n], the same of the shadows.
        population: records of which no model is known to have trained on any, for RMIA and Attack-P: a dict with
            "labels", "target" and "shadows", or a tuple of these. None: the other records asked about.
        member: bool [n], who trained the target, where that is known. No score depends on it; a design of
            ``shadow_member`` that tells it is noticed, and shadows that do are left out.
        key: for attacks that draw random numbers (shokri's networks); by default ``jax.random.key(0)``.
        options: of the attack's factory, by name, as {"num_steps": 500} of shokri; by default its own.
        progress: told how far the attack is, as by ``mia_jax.progress.shown``; by default work of more than a minute
            tells on standard error, and ``mia_jax.progress.silent`` never does.

    What target and shadows answer is recognized from all of their rows. Where the target rounds, or tells the best
    classes or labels only, a shadow that plays the target does so too, and the others do what makes the attack better
    on such shadows (``calibration``); where the shadows are the coarser ones, the target is read as they answer.

    Returns:
        float64 [n]; larger = more likely a member, 0 = the boundary learned on the shadows. Where these trained on all
        of the records, or on none, there is no boundary, and scores only order. NaN = unscored: shokri, for a class
        without members or without non-members among the shadows.

    Raises:
        InputError: shapes, labels or memberships that do not fit; an attack that needs more than saved answers; a
            ``shadow_member`` that tells ``member``, in a way that leaving shadows out does not mend.
        TargetError, WrongAnswer: a row that is no probability distribution; whose, and which.

    >>> import numpy as np, mia_jax as mia
    >>> rng = np.random.default_rng(0)
    >>> y, trained = rng.integers(3, size=60), rng.random((9, 60)) < 0.5  # who trained each of nine models
    >>> logits = rng.normal(size=(9, 60, 3)) + 2 * np.eye(3)[y] * (1 + trained[..., None])  # models that remember
    >>> p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    >>> scores = mia.infer("rmia", labels=y, target=p[0], shadows=p[1:], shadow_member=trained[1:])
    >>> print("AUC", mia.auc(scores, trained[0]))  # doctest: +ELLIPSIS
    AUC 0.8... [0.7..., 0.9...]
    """
    if signal is not None or shadow_signal is not None:
        from mia_jax.audits.deployed import numbers  # which is made of parts of this

        given = dict(labels=labels, target=target, shadows=shadows, population=population)
        of_numbers = numbers.inferred(
            attack, signal, shadow_signal, shadow_member, member=member, key=key, options=options, beside=given
        )
        for note in of_numbers.notes:
            warnings.warn(note, AnswersWarning, stacklevel=2)
        return of_numbers.scores
    if labels is None or target is None or shadows is None:
        raise InputError(
            "infer takes labels, target and shadows: classes and probabilities; or signal and shadow_signal: one number"
            " per record"
        )
    more: dict[str, Any] = dict(population=population, member=member, key=key, options=options, progress=progress)
    found, said = of_answers(attack, labels, target, shadows, shadow_member, **more)
    for line in said:
        warnings.warn(line, AnswersWarning, stacklevel=2)
    return found.scores


class Scored(NamedTuple):
    """Scores, and how they were obtained."""

    scores: np.ndarray  # float64 [n]
    notes: tuple[str, ...]  # of the shadows, in sentences
    choice: Choice  # how these answered
    no_boundary: str | None  # why 0 is no boundary, where it is none
    kept: np.ndarray  # int [S'], the shadows that were used
    formats: Formats
    control: np.ndarray | None = None  # float64 [T, n], of shadows in the target's place, where it was asked for
    without_boundary: np.ndarray | None = None  # float64 [n], of the target as ``control``: where players are named


def of_answers(
    attack: str | Attack,
    labels: Array,
    target: Array,
    shadows: Array,
    shadow_member: Array,
    *,
    population=None,
    member: Array | None = None,
    **more: Any,
) -> tuple[Scored, list[str]]:
    """``infer`` of answers [n, c] and [S, n, c] as they are given, and what it warns of, in sentences.

    Args:
        attack, labels, target, shadows, shadow_member, population, member: as of ``infer``.
        more: as of ``scored``.
    """
    given_answers.refuse_masked(
        labels=labels, target=target, shadows=shadows, shadow_member=shadow_member, member=member, population=population
    )
    row_order.refuse_answers(target, "target", {"labels": labels})
    row_order.refuse_answers(shadows, "shadows", {"labels": labels, "target": target})
    row_order.refuse_shadow_member(shadow_member, {"labels": labels, "target": target})
    row_order.refuse_values(member, "member", {"labels": labels})
    target, shadows, population = given_answers.in_order(labels, target, shadows, population)
    given_answers.refuse_turned(labels, target)
    asked, population, note = given_answers.as_probabilities(Answered(labels, target, shadows), population)
    asked, population, of_labels = given_answers.numbered(asked, population)
    found = scored(attack, asked, shadow_member, population=population, member=member, **more)
    trained, truth = np.asarray(shadow_member, bool), None if member is None else np.asarray(member, bool)
    said = remarks.of_saved(asked, trained, truth, found.formats, found.kept)
    return found, [*filter(None, (note, of_labels, *found.notes, *said.doubts, *said.notes))]


def scored(
    attack: str | Attack,
    asked: Answered,
    shadow_member: Array,
    *,
    population=None,
    member=None,
    key=None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    known: Formats | None = None,
    control: bool = False,
    players: int | None = None,
    more: frozenset[str] = ANSWERS,
) -> Scored:
    """``infer``, and what it has to say of the shadows instead of its warnings.

    Args:
        attack: as of ``infer``.
        asked: labels [n] and answers of target [n, c] and shadows [S, n, c].
        shadow_member: bool [S, n].
        population, member, key, options, progress: as of ``infer``.
        known: the formats of target and shadows, where they were found out before.
        control: score shadows in the target's place, too (``negative_control``).
        players: of these shadows, at most; None: a few, for the order of their scores.
        more: what the attack may need, of ``entries.NEEDS``.
    """
    classes = given_answers.classes(asked.target)
    title = attack if isinstance(attack, str) else "attack"
    attack, parts = built(attack, classes, options or {}, lambda seconds: advance(1), more)
    trained = given_answers.membership(shadow_member, asked)
    if member is not None:
        member = given_answers.truth(member, len(asked.target))
    design = membership.examine(
        trained, member, per_example=attack.per_example, twins=memorization.twins(asked.shadows)
    )
    kept, notes = design.kept, design.notes
    if member is not None and (share := membership.share_note(trained[kept], member)):
        notes = (*notes, share)
    rows = trained[kept]
    leave_one_out.refuse_without(attack.needs, rows.sum(axis=1), rows.shape[1])
    if "population" in attack.needs and population is None:
        raise InputError("this attack needs a population: answers about records that trained no model")
    asked = given_answers.checked(asked, classes, "")
    known = known or answer_formats.of_saved(np.asarray(asked.target), np.asarray(asked.shadows))
    assert attack.read is not None  # or ``built`` would have refused it
    read = jax.jit(attack.read)
    own, seen = read_all(read, asked, known)
    others = dict.fromkeys(seen)
    if population is not None:
        others = _of_population(read, given_answers.of_population(population, len(trained), classes), known, kept)
    trained, seen = trained[kept], jax.tree.map(lambda leaf: leaf[kept], seen)
    if design.fixed_counts and not attack.per_example:  # those do so themselves, with each shadow that is left out, too
        trained, seen = equal_counts(trained, seen)
    key = jax.random.key(0) if key is None else key
    both = bool(trained.any() and not trained.all())
    choice = Choice(calibration.AS_TARGET, {}, "")
    chooses = len(seen) > 1 and both
    evidence = Calibration(seen, trained, others)
    with progress(title, (parts or 1) * calibration.fits(attack, len(trained), len(seen) if both else 1)) as advance:
        if chooses:
            choice = (calibration.per_example if attack.per_example else calibration.learned)(key, attack, evidence)
        state = calibration.fit(key, attack, choice, seen[choice.answer], trained, others[choice.answer])
        scores = np.asarray(attack.score(state, own[choice.answer]), np.float64)
        if parts is None:
            advance(1)
    found = Scored(scores, notes, choice, None if both else f"{calibration.NO_BOUNDARY}{ONE_SIDED}", kept, known)
    if not control:
        return found
    beside = negative_control.scores(attack, state, choice, evidence, players or negative_control.MODELS)
    plain = scores if players is None else _without_boundary(key, attack, choice, evidence, own, scores)
    return found._replace(control=beside, without_boundary=plain)


def _without_boundary(
    key: Key, attack: Attack, choice: Choice, known: Calibration, own: Mapping[str, Any], scores: np.ndarray
) -> np.ndarray:
    """The target's scores [n] on the scale of ``negative_control.scores``, of which a boundary is no part."""
    if attack.shadow_scores is None:
        return scores
    answer, at_zero = choice.answer, choice._replace(boundary=0.0)
    state = calibration.fit(key, attack, at_zero, known.seen[answer], known.member, known.population[answer])
    return np.asarray(attack.score(state, own[answer]), np.float64)


def _of_population(read, group: Answered, known: Formats, kept: np.ndarray) -> dict[str, Any]:
    """What is seen of the population [1 + S', p]: of the target, then of the shadows that are kept; by answer."""
    of_target, of_shadows = read_all(read, group, known)

    def together(one: Array, each: Array) -> np.ndarray:
        return np.concatenate([np.asarray(one)[None], np.asarray(each)[kept]])

    return {answer: jax.tree.map(together, of_target[answer], many) for answer, many in of_shadows.items()}


def equal_counts(trained: np.ndarray, seen: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """Of shadows [S, n] among which each record is in a fixed number of models, as many on either side for each."""
    rows = membership.draw_equal_counts(trained)
    taken = jax.tree.map(lambda leaf: np.take_along_axis(leaf, leave_one_out.over(rows, leaf), axis=0), seen)
    return np.take_along_axis(trained, rows, axis=0), taken


def built(
    attack: str | Attack,
    classes: int,
    options: Mapping[str, Any],
    part_done: Callable[[float], None],
    more: frozenset[str] = ANSWERS,
) -> tuple[Attack, int | None]:
    """The attack, which needs no ``more``, and the parts of which ``part_done`` is told, or None if it has none."""
    if not isinstance(attack, str):
        if options:
            raise InputError("options are for attacks that are named; this one has been made with its own")
        attack, name, parts = checked(attack), "this attack", None
    else:
        if attack not in ATTACKS:
            raise InputError(f'there is no attack "{attack}"; there are {", ".join(ATTACKS)}')
        name, entry = attack, ATTACKS[attack]
        _refuse(name, entry.needed() - more)
        if unknown := [option for option in options if option not in {o.name for o in entry.options}]:
            raise InputError(f"{name} has no option {unknown[0]!r}; it has {', '.join(o.name for o in entry.options)}")
        has = {option.name: option.source for option in entry.options}
        if lacking := [source for source in entry.lacks(("remember",)) if source not in map(has.get, options)]:
            raise InputError(f"{name} needs {' and '.join(lacking)}: give it as one of the options")
        parts = None if entry.parts is None else entry.parts(classes, **options)
        remember = {"remember": reporting(part_done)} if "remember" in entry.sources() else {}
        attack = entry(classes, **remember | {**options})
    _refuse(name, attack.needs - more or (frozenset() if attack.read else {"queries"}))
    return attack, parts


def lacking(name: str, beyond: Iterable[str]) -> str:
    """Why answers alone are not enough for an attack, in words."""
    return f"{name} needs {' and '.join(sorted(beyond))}, which plain answers do not give"


def _refuse(name: str, beyond: Collection[str]) -> None:
    if beyond:
        raise InputError(f"{lacking(name, beyond)}: audit the model itself")


def read_all(read, asked: Answered, known: Formats):
    """What the attack sees, by how the shadows answer: of the target, leaves [n, ...], of the shadows, [S, n, ...]."""

    def look(p: np.ndarray, answers: Answers, chosen: tuple[AnswerDefense, ...]):
        log_p = answer_format.log_probabilities(p, answers)
        return jax.tree.map(np.asarray, read(defenses.compose(chosen)(log_p) if chosen else log_p, asked.labels))

    own, seen = {}, {}
    for answer, chosen in known.ways_of_shadows.items():
        same = next((other for other in own if known.read(other) == known.read(answer)), None)
        own[answer] = look(np.asarray(asked.target), known.target, known.read(answer)) if same is None else own[same]
        each = [look(p, known.shadows, chosen) for p in asked.shadows]
        seen[answer] = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    return own, seen


# --- which attacks ---------------------------------------------------------------------------------------------------


def attack_names(
    wanted: str,
    run: Mapping[str, Any] | None = None,
    *,
    same_records: bool,
    member: np.ndarray | None = None,
    imitators: bool = False,
    more: frozenset[str] = ANSWERS,
) -> list[str]:
    """The attacks that can run from plain answers.

    Args:
        wanted: names, separated by commas; "all": whatever can run.
        run: what the run has for their options, as ``mia_jax.attacks.build`` takes it.
        same_records: shadows were asked about the very records in question.
        member: bool [S, n], who of the shadows trained on which of these; None: nobody.
        imitators: the target can be asked about further records, so attacks that imitate it can run. They cost
            queries, and "all" has none of them.
        more: what attacks may need, of ``entries.NEEDS``.

    Raises:
        InputError: one that was asked for by name cannot run, or is unknown.
    """
    names = named(wanted)
    reasons = {name: _lacking(name, run or {}, same_records, member, more) for name in ATTACKS}
    possible = [name for name, reason in reasons.items() if reason is None and not ATTACKS[name].by_name]
    by_name = [name for name, reason in reasons.items() if reason is None and ATTACKS[name].by_name]
    by_name += [name for name, entry in ATTACKS.items() if imitators and entry.imitates]
    if refused := [name for name in names if name not in (*possible, *by_name)]:
        raise InputError(f"`attacks`: {reasons[refused[0]]}; {', '.join((*possible, *by_name))} can run")
    return [*possible, *(name for name in names if name in by_name)] if wants_all(wanted) else names


def _lacking(
    name: str, run: Mapping[str, Any], same_records: bool, member: np.ndarray | None, more: frozenset[str]
) -> str | None:
    """Why an attack cannot run; None if it can."""
    entry = ATTACKS[name]
    if beyond := entry.needed() - more:
        return lacking(name, beyond)
    if "population" in entry.needed():
        return f"{name} needs a population: answers about records that trained no model"
    if missing := entry.lacks((*run, "remember")):
        return lacking(name, missing)
    if name == "majority":
        return "majority says the same of everybody, whatever the target answers"
    attack = build(name, 2, {}, run)
    both = member is not None and member.any() and not member.all()
    if attack.per_example and not same_records:
        return f"{name} needs shadows that were asked about the very records in question"
    if attack.per_example and "in" in attack.needs and not both:
        return f"{name} needs shadows that trained on some of the records in question"
    if attack.proxies and member is not None and not member.any():
        return f"{name} needs shadows that trained on some of the records in question"
    if not attack.per_example and same_records and member is not None and not both:
        return f"{name} needs shadows that trained on some of the records in question, and not on others"
    return None
