"""What is to be said of saved answers beside the scores: doubts, by which a gate fails closed, and notes."""

from typing import NamedTuple

import numpy as np

from mia_jax.audits.deployed import answer_formats
from mia_jax.audits.deployed.answer_formats import Formats
from mia_jax.audits.deployed.given_answers import Answered
from mia_jax.checks import naming, samples, unnoticed
from mia_jax.checks.answers import cut_answers, equal_answers, padded_rows, slipped_rows, two_models
from mia_jax.checks.labels import (
    by_heart,
    class_gaps,
    consistency,
    exchanged_columns,
    no_classes,
    other_labels,
    own_class,
    unlike_columns,
)
from mia_jax.checks.membership import (
    blind_guesses,
    drawn_together,
    dropped_members,
    held_out,
    ignored_rows,
    memorization,
    own_members,
    run_ends,
    slipped_members,
    trained_on_all,
    unlike_memberships,
    untold_rows,
)
from mia_jax.checks.models import carried_over, lost_order, odd_shadows, temperatures, unlike_shadows
from mia_jax.checks.signals import filled_signals
from mia_jax.data import duplicates
from mia_jax.plans import membership
from mia_jax.targets import answer_format, defenses
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.types import Answers, Array

SAME = ", or one that no model tells apart: target and shadows answer both the same, bit by bit"


class Remarks(NamedTuple):
    """What is said, in sentences."""

    doubts: tuple[str, ...] = ()  # why labels, target and shadows may not belong together
    notes: tuple[str, ...] = ()  # copies among the records; where nothing is doubted, how answers differ


class _Given(NamedTuple):
    """What was saved, of the shadows that are used, and what several checks look at."""

    asked: Answered  # probabilities, and labels
    trained: np.ndarray  # bool [S, n], who trained the shadows
    member: np.ndarray | None  # bool [n], who trained the target, where that is known
    known: Formats
    related: np.ndarray  # bool [1 + S, 1 + S], of target and shadows; a target of no known members is related to nobody
    target: np.ndarray  # [n], the target's probabilities of the true classes
    shadows: np.ndarray  # [S, n], the shadows'
    right: np.ndarray  # bool [1 + S, n], which records target and shadows answer rightly


class _Beside(NamedTuple):
    """The target and its shadows, each in the target's place."""

    models: unlike_shadows.Beside
    level: bool  # the answers tell how sure a model is


def of_saved(
    asked: Answered,
    trained: np.ndarray,
    member: np.ndarray | None,
    known: Formats,
    kept: np.ndarray | slice = slice(None),
    *,
    alike: bool = True,
    copies: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
    trials: bool = False,
) -> Remarks:
    """What is to be said of saved answers.

    Args:
        asked: probabilities, and labels.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where that is known.
        known: the formats.
        kept: the shadows that are used.
        alike: target and shadows are meant to be alike; not where a defense of the target alone was asked for.
        copies: int [n], ``duplicates.groups`` of the records; None: the answers tell them.
        numbers: int [S], what the shadows are called; None: by their rows.
        trials: where nothing is said, make mistakes in copies to see which ones would not be noticed; takes seconds.
    """
    given = _given(Answered(asked.labels, asked.target, np.asarray(asked.shadows)[kept]), trained[kept], member, known)
    doubted, noted = _compared(given, alike)
    if trials and alike and not (doubted or noted):
        noted = _unnoticed(given)
    said = (*_copies(given.asked, member, copies), *noted)
    if alike and not doubted and (note := answer_formats.labels_note(known)):
        said = (*said, note)
    if alike and (coarse := answer_formats.coarse_doubt(known)):
        doubted = (*doubted, coarse)
    names = (np.arange(len(trained)) if numbers is None else numbers)[kept]
    return Remarks(*(tuple(naming.with_numbers(text, names) for text in texts) for texts in (doubted, said)))


def _compared(given: _Given, alike: bool) -> Remarks:
    """What comparisons of labels, models and memberships say."""
    found = _beside(given) if alike else None
    doubted = _doubts(given, found, alike)
    if doubted:
        doubted += _two_models(given)  # a cause of many
    return Remarks(doubted, () if doubted else _notes(given, found))


def _unnoticed(given: _Given) -> tuple[str, ...]:
    """The note on mistakes that ``_compared`` would say nothing of."""

    def noticed(copy: unnoticed.Given) -> bool:
        asked = Answered(np.asarray(copy.labels), copy.target, copy.shadows)
        return any(_compared(_given(asked, copy.trained, copy.member, given.known), alike=True))

    arrays = (np.asarray(array) for array in given.asked)
    return unnoticed.note(unnoticed.Given(*arrays, given.trained, given.member), given.shadows, noticed)


def _given(asked: Answered, trained: np.ndarray, member: np.ndarray | None, known: Formats) -> _Given:
    """What several checks look at; arguments as of ``of_saved``, of the shadows that are used."""
    labels = np.asarray(asked.labels)
    target, *shadows = (np.asarray(p)[np.arange(len(labels)), labels] for p in (asked.target, *asked.shadows))
    own = np.zeros((1, len(labels)), bool) if member is None else member[None]
    related = membership.related(np.concatenate([own, trained]))
    right = np.stack([np.asarray(p).argmax(axis=1) == labels for p in (asked.target, *asked.shadows)])
    return _Given(asked, trained, member, known, related, target, np.stack(shadows), right)


def _doubts(given: _Given, found: _Beside | None, alike: bool) -> tuple[str, ...]:
    """Why labels, target and shadows may not belong together, in sentences.

    Args:
        given: what was saved.
        found: the target beside its shadows.
        alike: no defense of the target alone was asked for.
    """
    asked, trained, member, known = given[:4]
    labels, target, shadows = asked
    if known.target.kind == "probabilities" and (
        equal := equal_answers.of_answers(labels, target, shadows, known.target.digits)
    ):
        return (equal, *consistency.of_answers(labels, target, shadows))
    plain = all(form.kind == "probabilities" and form.digits is None for form in (known.target, known.shadows))
    if plain and (said := class_gaps.doubts(labels, target, shadows, trained, member)):
        return said
    everyone = _everyone(given)
    return (
        own_class.doubts(labels, *everyone, np.shape(target)[1])
        or slipped_rows.of_answers(labels, target, shadows, trained, member)
        or consistency.of_answers(labels, target, shadows)
        or no_classes.of_answers(labels, target, shadows, trained, member)
        or exchanged_columns.of_answers(labels, target, shadows)
        or _caused(given, lost_order.of_answers(labels, target, shadows, trained, member))
        or _caused(given, trained_on_all.of_answers(labels, target, shadows, trained, member))
        or memorization.of_members(labels, target, shadows, trained, member)
        or ignored_rows.doubts(given.target, given.shadows, trained, member, labels)
        or (_below_new(given) if alike else ())
        or (unlike_shadows.doubts(found.models, member) if found and member is not None else ())
        or (slipped_members.of_shadows(found.models, member, trained) if found and member is not None else ())
        or (slipped_members.of_target(found.models, member, trained) if found and member is not None else ())
        or (() if member is None else _run_ends(given))
        or (odd_shadows.doubts(found.models) if found else ())
        or _untold(given, found)
        or _caused(given, _gross(given, found))
        or (() if member is None else blind_guesses.doubts(labels, member, trained))
    )


def _two_models(given: _Given) -> tuple[str, ...]:
    """That two models seem to answer for the target, by numbers that nobody rounded."""
    full = given.known.target.kind == "probabilities" and given.known.target.digits is None
    return two_models.notes(given.target, given.shadows) if full else ()


def _run_ends(given: _Given) -> tuple[str, ...]:
    """The doubt of a border between members and others that is not where their answers put it."""
    assert given.member is not None
    rows = samples.rows(len(given.member), run_ends.SAMPLE)
    target, shadows = unlike_shadows.logits(given.target[rows]), unlike_shadows.logits(given.shadows[:, rows])
    return run_ends.doubts(target, shadows, given.trained[:, rows], given.member[rows], rows)


def _below_new(given: _Given) -> tuple[str, ...]:
    """The doubt of a target that knows its own members less than shadows know what is new to them."""
    if given.member is None:
        return ()
    return own_members.below_new(given.asked.labels, given.right[0], given.member, given.right[1:], given.trained)


def _everyone(given: _Given) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the true classes [K, n] and memberships of all models whose members are known."""
    if given.member is None:
        return given.shadows, given.trained
    return np.concatenate([given.target[None], given.shadows]), np.concatenate([given.member[None], given.trained])


def _untold(given: _Given, found: _Beside | None) -> tuple[str, ...]:
    """The doubt of a part of the rows in which models are told by chance, where answers tell how sure a model is."""
    known, trained, member = given.known, given.trained, given.member
    if {known.target.kind, known.shadows.kind} != {"probabilities"} or (found is not None and not found.level):
        return ()
    sure = np.stack([given.target, *given.shadows])
    said: tuple[str, ...] = ()
    if member is not None and found is not None:
        said = untold_rows.doubts(sure, trained, member, given.related)
    said = said or unlike_memberships.of_answers(sure, trained, member)
    return (padded_rows.of_answers(*given.asked) or said) if said else ()


def _caused(given: _Given, said: tuple[str, ...]) -> tuple[str, ...]:
    """Doubts about shadows that are unlike the target, the last with its likely cause, where that can be told."""
    cause = drawn_together.cause(given.member, given.trained, given.asked.shadows) if said else ""
    return (*said[:-1], said[-1] + cause) if cause else said


def _gross(given: _Given, found: _Beside | None) -> tuple[str, ...]:
    """The doubt of a target that is as no shadow is; not where a temperature explains it: a note with a remedy."""
    said = () if found is None else unlike_shadows.gross(found.models)
    if not said or calibrated(*given[:4]):
        return ()
    return () if temperatures.softmax_twice_note(given.asked.target, given.asked.shadows) else said


def _notes(given: _Given, found: _Beside | None) -> tuple[str, ...]:
    """How answers differ where nothing is doubted, in sentences; arguments as of ``_doubts``."""
    asked, trained, member, known, related, of_target, sure, all_right = given
    plain = {known.target.kind, known.shadows.kind} == {"probabilities"} and known.labeled is None
    labels = np.asarray(asked.labels)
    right = all_right[1:]
    said = [*class_gaps.notes(labels, asked.target, member, asked.shadows), *consistency.notes(*asked)]
    if known.labeled is not None:
        share = answer_formats.labels_among(np.concatenate(list(asked.shadows)))
        said.append(answer_formats.labeled_note(known.labeled, share))
    if plain:
        twice = temperatures.softmax_twice_note(asked.target, asked.shadows)
        said += [twice] if twice else []
        said += (
            own_members.notes(labels, asked.target, asked.shadows, trained, member)
            or (() if member is None else own_members.of_one_side(right, trained, member))
            or other_labels.notes(labels, asked.target, asked.shadows, trained, member, related)
        )
    said = said or [*calibrated(asked, trained, member, known)]
    if not said and found:
        said += unlike_shadows.notes(found.models, level=found.level)
    mixed = answer_formats.mixed_note(asked.shadows)
    if plain and not mixed:
        said += (
            padded_rows.of_answers(*asked, None if member is None else np.concatenate([member[None], trained]))
            or odd_shadows.shared_rows(asked.target, asked.shadows, related, known.shadows.digits)
            or odd_shadows.near_copies(sure, of_target, related)
            or _two_models(given)
        )
        if member is not None:
            said += filled_signals.recurring(np.concatenate([of_target[None], sure]), trained, member)
    if mixed:
        said.append(mixed)
    elif found:
        said += odd_shadows.of_levels(found.models, level=found.level)
    if plain:
        said += cut_answers.notes(asked.target, asked.shadows)
        everyone = _everyone(given)
        said += (
            dropped_members.notes(labels, *everyone)
            or held_out.notes(*everyone)
            or held_out.unmoved(*everyone)
            or held_out.last_rows(*everyone)
        )
    said = said or [*memorization.unrelated_rows(labels, asked.shadows, trained)]
    said += carried_over.notes(sure, trained)
    if member is not None:
        said = said or [
            *odd_shadows.wrong_members(right, trained, all_right[0], member),
            *(() if plain else own_members.of_one_side(right, trained, member)),
            *(unlike_columns.notes(asked.target, asked.shadows) if plain else ()),
        ]
        said += blind_guesses.notes(labels, member, sure, trained, hardness=not said)
    return (*said, *by_heart.notes(labels, (asked.target, *asked.shadows), (member, *trained)))


def _copies(asked: Answered, member: np.ndarray | None, group: np.ndarray | None) -> tuple[str, ...]:
    """What is to be said of copies among the records, by their values (int [n]) or else by what models answer."""
    seen_by, said = "" if group is not None else SAME, []
    if group is not None and (padded := equal_answers.padding(asked.target, asked.shadows, group)).any():
        said.append(
            "Target and shadows give all records one and the same answer each: such models tell nothing of any record."
            if padded.all()
            else f"Target and shadows give {int(padded.sum()):,} of {len(padded):,} records"
            f"{equal_answers.place(padded)} one and the same answer, bit by bit, though the records differ: padding, or"
            " rows that were never filled in. Leave such records out of all arrays, or ask again."
        )
    group = equal_answers.copies(asked.target, asked.shadows) if group is None else group
    note = None if group is None else duplicates.note(group, member, seen_by)
    return (*said, *(() if note is None else (note,)))


def _beside(given: _Given) -> _Beside | None:
    """How the target is beside its shadows, where all answer in the same format or can be made to; else None."""
    asked, trained, member, known = given[:4]
    if member is None or known.labeled is not None or len(trained) < unlike_shadows.LEAST:
        return None
    formats = [(known.target, known.on_target), (known.shadows, known.on_shadows)]
    kinds, digits = (
        {getattr(defenses.compose(chosen).after(answers), name) for answers, chosen in formats}
        for name in ("kind", "digits")
    )
    if kinds == {"probabilities", "thresholded"}:  # of which one was brought to the other
        kinds = {"probabilities"}
    if len(kinds) > 1 or len(digits) > 1:
        return None
    y = np.asarray(asked.labels)

    def sure(p: Array, answers: Answers, chosen: tuple[AnswerDefense, ...]) -> np.ndarray:
        own = np.asarray(p)
        if chosen:
            own = np.exp(np.asarray(defenses.compose(chosen)(answer_format.log_probabilities(own, answers))))
        return own[np.arange(len(y)), y]

    each = np.stack([sure(p, *formats[1]) for p in asked.shadows])
    found = unlike_shadows.beside(sure(asked.target, *formats[0]), member, each, trained, given.related)
    return None if found is None else _Beside(found, kinds == {"probabilities"})


def calibrated(asked: Answered, trained: np.ndarray, member: np.ndarray | None, known: Formats) -> tuple[str, ...]:
    """What is to be said of a target whose answers are a temperature apart from the shadows', in a sentence; or ().

    Args:
        asked: probabilities.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where that is known.
        known: the formats.
    """
    if {known.target.kind, known.shadows.kind} != {"probabilities"}:
        return ()
    y, some = np.asarray(asked.labels), temperatures.some(*np.shape(asked.target))

    def losses(p: Array, answers: Answers, chosen: tuple[AnswerDefense, ...]) -> np.ndarray:
        log_p = answer_format.log_probabilities(np.asarray(p)[some], answers)
        return temperatures.losses(np.asarray(defenses.compose(chosen)(log_p)) if chosen else log_p, y[some])

    def model(p: Array, mine: np.ndarray | None, answers: Answers, chosen: tuple[AnswerDefense, ...]):
        own = None if member is None else np.asarray(mine, bool)[some]
        return temperatures.Model(losses(p, answers, chosen), own)

    few = slice(None, None, -(-len(trained) // temperatures.SHADOWS))
    own = model(asked.target, member, known.target, known.on_target)
    pairs = zip(asked.shadows[few], trained[few], strict=True)
    each = [model(p, mine, known.shadows, known.on_shadows) for p, mine in pairs]
    factor = temperatures.factor(*own, np.array([temperatures.fitted(*one) for one in each]))
    part = np.stack([temperatures.blocks_of_rows(len(y[some])), y[some]], axis=1)
    if factor is None or not temperatures.explained(own, each, part, same_records=True):
        return ()
    remedy = "if so, divide the shadows' logits by {t}, too: softmax(log(shadows) / {t})"
    return (temperatures.note(factor, remedy),)
