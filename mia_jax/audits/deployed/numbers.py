"""One number per record in place of an answer: minus a loss, a log-likelihood, minus a squared error.

What predicts no class (a regression, a sequence, a mask, the next word) still fits some records better than others.
Attacks that compare such a number with itself in other models need no more: they read a loss or a scaled logit of an
answer, and the number stands in for either. Those that read classes are refused.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, build, named
from mia_jax.attacks.entries import ANSWERS
from mia_jax.audits.deployed import calibration, given_answers, negative_control
from mia_jax.audits.deployed.calibration import AS_TARGET, Calibration, Choice
from mia_jax.audits.deployed.infer import ONE_SIDED, built, equal_counts, lacking
from mia_jax.checks import unnoticed
from mia_jax.checks.membership import held_out, ignored_rows, own_members
from mia_jax.checks.models import carried_over
from mia_jax.checks.signals import filled_signals, signal_orders, signal_scales, unlike_signals
from mia_jax.data import tables, truths
from mia_jax.plans import membership
from mia_jax.types import Array, InputError, Key

LEAVES = frozenset({"phi", "log_p_y"})  # of what attacks read: what a number can stand in for
# Attacks that see a record's likelihood beside its mean over models and no other: what is best for the record may be 1,
# so that no likelihood is too small for a float, however hard the record is.
OF_RATIOS = frozenset({"rmia", "base", "informia"})


def spread(outside: np.ndarray) -> float:
    """The interquartile range of shadows' numbers on records that trained none of them [k]: the scale of a signal.

    A number says nothing of its unit, and whoever saved it may have taken means or sums, nats or bits. Where more than
    half of the numbers are one value, the standard deviation; 1 where all are.
    """
    low, high = np.percentile(outside, (25, 75))
    return float(high - low) or float(np.std(outside)) or 1.0


class Signal(NamedTuple):
    """How predictions become numbers."""

    title: str
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]  # (prediction [n, ...], y [n, ...]) -> [n], larger = fits better
    # (numbers of shadows on records that trained none of them [k]) -> what to divide all by
    scale: Callable[[np.ndarray], float] = spread


def _each(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).sum(axis=1)


SIGNALS = {  # errors are Gaussian or Laplacian, of the spread that shadows show on records that they have not seen
    "squared_error": Signal(
        "minus the squared error", lambda p, y: -_each((p - y) ** 2), lambda outside: 2 * float(-outside.mean())
    ),
    "absolute_error": Signal(
        "minus the absolute error", lambda p, y: -_each(np.abs(p - y)), lambda outside: float(-outside.mean())
    ),
}


OUTPUTS, NEARLY_ALL = 32, 0.9  # outputs of which units may differ, and the share of the error that is one's
SAVED = Signal("the saved signal", lambda p, y: p)  # of a file, as it is


def signal(given: Any) -> Signal:
    """The signal of a name or of a function; a ``Signal`` is one.

    Raises:
        InputError: there is none of this name.
    """
    if isinstance(given, Signal):
        return given
    if callable(given):
        return Signal(getattr(given, "__name__", "a number of the user's"), given)
    if given not in SIGNALS:
        raise InputError(f"signal={given!r} is none of {', '.join(SIGNALS)}: or give a function of (prediction, y)")
    return SIGNALS[given]


def of_units(target: np.ndarray, y: np.ndarray, chosen: Signal, member: np.ndarray | None) -> tuple[str, ...]:
    """The doubt of predictions in other units than y; () of a signal of the user's.

    Args:
        target: float [n], its numbers.
        y: what is to be predicted [n, ...].
        chosen: what the numbers are.
        member: bool [n], who trained the target, where that is known.
    """
    if chosen not in SIGNALS.values():
        return ()
    y = np.asarray(y, np.float64)
    nearest = y.mean(axis=0) if chosen is SIGNALS["squared_error"] else np.median(y, axis=0)
    return signal_scales.of_errors(-target, -chosen.of(np.broadcast_to(nearest, y.shape), y), member)


def of_functions(
    prediction: np.ndarray | None, y: np.ndarray, chosen: Signal, member: np.ndarray | None
) -> tuple[str, ...]:
    """The doubt of predictions that are a logarithm of y, its root or y scaled; () of a signal of the user's.

    Args:
        prediction: [n, ...], the target's.
        y, chosen, member: as of ``of_units``: [n, ...], the signal, bool [n] or None.
    """
    if chosen not in SIGNALS.values() or prediction is None or np.size(y) != len(y):
        return ()
    return signal_scales.of_functions(np.ravel(prediction), np.ravel(y), member)


def of_outputs(prediction: np.ndarray | None, y: np.ndarray, chosen: Signal) -> tuple[str, ...]:
    """The note on one output of several that makes nearly all of the error, as of units that differ.

    Args:
        prediction: [n, k], the target's.
        y, chosen: as of ``of_units``: [n, k], the signal.
    """
    p, y = np.asarray(0.0 if prediction is None else prediction, np.float64), np.asarray(y, np.float64)
    if chosen not in SIGNALS.values() or p.shape != y.shape or y.ndim != 2 or not 1 < y.shape[1] <= OUTPUTS:
        return ()
    error = np.array([-chosen.of(p[:, j], y[:, j]).mean() for j in range(y.shape[1])])
    most, share = int(error.argmax()), float(error.max() / max(error.sum(), 1e-300))
    if share < NEARLY_ALL:
        return ()
    return (
        f"Output {most} of {y.shape[1]}, counted from 0, makes {share:.1%} of the target's error, so that the others"
        " hardly count: where their units differ, divide y and predictions by y.std(axis=0), or audit one output k at a"
        " time, lambda x: model.predict(x)[:, k] beside y[:, k].",
    )


class Checked(NamedTuple):
    """Numbers that were computed elsewhere."""

    target: np.ndarray  # float64 [n]
    shadows: np.ndarray  # float64 [S, n]
    trained: np.ndarray  # bool [S, n], who trained the shadows


def checked(signal: Array, shadow_signal: Array, shadow_member: Array) -> Checked:
    """Numbers of a target [n] and of shadows [S, n], larger where a model fits the record better.

    Raises:
        InputError: naming the array, and what it should be.
    """
    given = {"signal": tables.plain(signal), "shadow_signal": tables.plain(shadow_signal)}
    n = given["signal"].shape[:1]
    for name, array in given.items():
        if array.dtype.kind not in "biuf" or array.shape[array.ndim - 1 :] != n or array.ndim != 1 + (name != "signal"):
            wanted = "[n], a number for each record" if name == "signal" else f"[S, {n[0] if n else 'n'}], as signal"
            hint = tables.turned(name, array.shape, (None,) if name == "signal" else (None, *n))
            raise InputError(f"{name} is {array.dtype} {array.shape}; needed: {wanted}{hint}")
        if not array.size:
            raise InputError(f"{name} is empty: give one record and one shadow at least")
        if not np.isfinite(array).all():
            where = np.argwhere(~np.isfinite(array))
            more = f" and at {len(where) - 1:,} more" if len(where) > 1 else ""
            raise InputError(
                f"{name} is not finite at {where[0].tolist()}{more}: leave such records out of all arrays, or ask again"
            )
    trained = given_answers.of_shadows(shadow_member)
    shape = given["shadow_signal"].shape
    if trained.shape != shape or trained.dtype.kind not in "biuf" or not np.isin(trained, (0, 1)).all():
        same = trained.shape == shape
        move = truths.untrue("shadow_member", trained) if same else truths.turned("shadow_member", trained, shape)
        raise InputError(
            f"shadow_member is bool {list(shape)}, true where the record trained the shadow; it is {trained.dtype}"
            f" {trained.shape}{move}"
        )
    return Checked(*(array.astype(np.float64) for array in given.values()), trained.astype(bool))


# --- which attacks ---------------------------------------------------------------------------------------------------


@functools.cache
def _reads(name: str) -> frozenset[str]:
    """What an attack reads of an answer."""
    attack = build(name, 2, {}, {"remember": None})
    assert attack.read is not None  # or it would need more than answers
    seen = attack.read(np.log(np.full((1, 2), 0.5, np.float32)), np.zeros(1, np.int32))
    return frozenset(seen) if isinstance(seen, Mapping) else frozenset({"classes"})


def attack_names(wanted: str) -> list[str]:
    """The attacks that a number per record is enough for.

    Raises:
        InputError: one that was asked for needs more.
    """
    reasons = {name: _lacking(name) for name in ATTACKS}
    possible = [name for name, reason in reasons.items() if not reason]
    if wanted.strip().lower() == "all":
        return possible
    names = named(wanted)
    if refused := [name for name in names if reasons[name]]:
        raise InputError(f"attacks: {reasons[refused[0]]}; {', '.join(possible)} can run")
    return names


def _lacking(name: str) -> str:
    entry = ATTACKS[name]
    if beyond := entry.needed() - ANSWERS:
        return lacking(name, beyond)
    if name == "majority" or entry.parts is not None or not _reads(name) <= LEAVES:
        return f"{name} needs classes and their probabilities, which a number per record does not give"
    return ""


# --- scores ----------------------------------------------------------------------------------------------------------


class OnOneScale(NamedTuple):
    """Numbers without a unit: scores do not change where all are multiplied by one factor, or a constant is added."""

    target: np.ndarray  # float64 [n]
    shadows: np.ndarray  # float64 [S, n]


def on_one_scale(target: Array, shadows: Array, shadow_member: Array, chosen: Signal = SAVED) -> OnOneScale:
    """All models' numbers over one scale, that of ``chosen``, by the shadows' on records that did not train them.

    Log-likelihoods, up to a constant, where the scale is that of the errors; else as if they were. Before, the median
    is taken off, so that a large constant costs no digits.

    Args:
        target: float [n], larger where the target fits the record better.
        shadows: float [S, n], the same of shadows.
        shadow_member: bool [S, n], who trained them.
        chosen: what the numbers are.
    """
    target, shadows = np.asarray(target, np.float64), np.asarray(shadows, np.float64)
    trained = np.asarray(shadow_member, bool)
    outside = shadows[~trained] if not trained.all() else shadows.reshape(-1)
    center, scale = np.median(outside), chosen.scale(outside) or 1.0
    return OnOneScale((target - center) / scale, (shadows - center) / scale)


class Scored(NamedTuple):
    """Scores, and how they were obtained."""

    scores: np.ndarray  # float64 [n]
    notes: tuple[str, ...]  # of the shadows, in sentences
    no_boundary: str | None  # why 0 is no boundary, where it is none
    kept: np.ndarray  # int [S'], the shadows that were used
    control: np.ndarray | None = None  # float64 [T, n], of shadows in the target's place


def scored(
    attack: str,
    target: Array,
    shadows: Array,
    shadow_member: Array,
    *,
    member: np.ndarray | None = None,
    key: Key | None = None,
    options: Mapping[str, Any] | None = None,
) -> Scored:
    """Score records by one number each.

    Args:
        attack: of ``attack_names``.
        target: float [n], larger where the target fits the record better, as of ``on_one_scale``.
        shadows: float [S, n], the same of shadows.
        shadow_member: bool [S, n], who trained them.
        member: bool [n], who trained the target, where it is known: only to notice a design that tells it.
        key: of what is drawn.
        options: of the attack's factory.

    Raises:
        InputError: a design that tells who trained the target.
    """
    target, shadows = np.asarray(target, np.float64), np.asarray(shadows, np.float64)
    trained = np.asarray(shadow_member, bool)
    made, _ = built(attack, 2, options or {}, lambda seconds: None)
    twins = unlike_signals.twins(shadows)
    design = membership.examine(trained, member, per_example=made.per_example, twins=twins)
    kept, notes = design.kept, design.notes
    if member is not None and (share := membership.share_note(trained[kept], member)):
        notes = (*notes, share)
    together = np.vstack([target, shadows])
    best = together.max(axis=0) if attack in OF_RATIOS else together.max()
    leaves = {"phi": lambda s: s, "log_p_y": lambda s: s - best}  # a log-likelihood is 0 at most, of this a density
    own = {leaf: leaves[leaf](target) for leaf in _reads(attack)}
    seen = {leaf: leaves[leaf](shadows[kept]) for leaf in _reads(attack)}
    trained = trained[kept]
    if design.fixed_counts and not made.per_example:
        trained, seen = equal_counts(trained, seen)
    both = bool(trained.any() and not trained.all())
    key = jax.random.key(0) if key is None else key
    state = calibration.fit(key, made, Choice(AS_TARGET, {}, ""), seen, trained, None)
    scores = np.asarray(made.score(state, own), np.float64)
    control = None
    if member is not None:
        known = Calibration({AS_TARGET: seen}, trained, {AS_TARGET: None})
        control = negative_control.scores(made, state, Choice(AS_TARGET, {}, ""), known)
    return Scored(scores, notes, None if both else f"{calibration.NO_BOUNDARY}{ONE_SIDED}", kept, control)


def inferred(
    attack: Any,
    signal: Array | None,
    shadow_signal: Array | None,
    shadow_member: Array,
    *,
    beside: Mapping[str, Any],
    member: Array | None = None,
    key: Key | None = None,
    options: Mapping[str, Any] | None = None,
) -> Scored:
    """``infer`` of one number per record, [n] and [S, n].

    Args:
        attack: a name.
        signal, shadow_signal, shadow_member, member, key, options: as of ``infer``.
        beside: what else was given, by name, which has no place here.

    Raises:
        InputError: as ``infer``.
    """
    if signal is None or shadow_signal is None:
        raise InputError("signal [n] and shadow_signal [S, n] go together: give both")
    if more := [name for name, value in beside.items() if value is not None]:
        raise InputError(f"{more[0]} has no use beside signal, one number per record: leave it out")
    if not isinstance(attack, str):
        raise InputError("with a signal, an attack is given by its name")
    [name] = attack_names(attack)
    given = checked(signal, shadow_signal, shadow_member)
    truth = None if member is None else given_answers.truth(member, len(given.target))
    found = scored(name, *on_one_scale(*given), given.trained, member=truth, key=key, options=options)
    said = remarks(*given, truth)
    return found._replace(notes=(*said.doubts, *found.notes, *said.notes))


class Remarks(NamedTuple):
    """What is said of numbers of target and shadows, in sentences."""

    doubts: tuple[str, ...]  # why they may not belong together
    notes: tuple[str, ...]  # where nothing is doubted, whose numbers are spread otherwise


def remarks(
    target: Array, shadows: Array, shadow_member: Array, member: Array | None, *, trials: bool = False
) -> Remarks:
    """What is to be said of numbers, whichever way they came.

    Args:
        target: float [n], larger where the target fits the record better.
        shadows: float [S, n].
        shadow_member: bool [S, n].
        member: bool [n], where it is known.
        trials: where nothing is said, make mistakes in copies to see which ones would not be noticed.
    """
    said = _compared(target, shadows, shadow_member, member)
    if not trials or any(said):
        return said
    mine = None if member is None else np.asarray(member, bool)
    given = unnoticed.Given(None, np.asarray(target), np.asarray(shadows), np.asarray(shadow_member, bool), mine)
    return Remarks((), unnoticed.note(given, given.shadows, lambda copy: any(_compared(*copy[1:]))))


def _compared(target: Array, shadows: Array, shadow_member: Array, member: Array | None) -> Remarks:
    """What comparisons of models and memberships say; arguments as of ``remarks``."""
    related = None if member is None else membership.related(np.vstack([member, shadow_member]))
    doubted = unlike_signals.doubts(target, shadows, shadow_member, member, related)
    doubted = doubted or ignored_rows.doubts(target, shadows, shadow_member, member)
    if doubted:
        return Remarks(doubted, ())
    said = filled_signals.cut(np.vstack([target, shadows]), shadow_member, member)  # which changes how they are spread
    said = said or signal_scales.coarse(np.vstack([target, shadows]))
    said = said or signal_scales.notes(target, shadows, shadow_member, member)
    said = said or own_members.of_numbers(shadows, shadow_member)
    said = said or held_out.last_rows(shadows, shadow_member) or carried_over.notes(shadows, shadow_member)
    if member is not None and related is not None and not said:
        said = signal_orders.note(np.vstack([target, shadows]), shadow_member, member)
        said = said or unlike_signals.notes(unlike_signals.beside(target, shadows, shadow_member, member, related))
    return Remarks((), said)
