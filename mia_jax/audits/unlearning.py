"""Has a model unlearned its records? From saved answers; ``unlearning_functions`` is from functions that train and
unlearn. What is guessed, and by what formula: ``attacks/u_lira.py``."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import lira, u_lira
from mia_jax.attacks.common import scaled_logit
from mia_jax.attacks.u_lira import Scores
from mia_jax.checks import one_run
from mia_jax.checks import unlearned as checks
from mia_jax.data import tables, truths
from mia_jax.statistics import metrics, over_targets, per_record
from mia_jax.statistics.metrics import Measure
from mia_jax.targets import answer_format, class_columns, predictors
from mia_jax.types import Array, InputError

UNLIKE = 0.1  # of accuracy on records never seen, from which on two kinds of models are unlike
TARGETS = 8  # judged, unless told otherwise; half of the models at most


class Judged(NamedTuple):
    """How well the guesses of one game are right, over T judged models; 1/2 is what guessing gives."""

    auc: Measure
    accuracy: Measure  # of the likelihood ratio's sign, balanced
    tpr_at_fpr: dict[str, Measure]  # by false-positive rate, "0.01"

    def json(self) -> dict[str, Any]:
        """Plain JSON values."""
        rates = {rate: measure.json() for rate, measure in self.tpr_at_fpr.items()}
        return {"auc": self.auc.json(), "accuracy": self.accuracy.json(), "tpr_at_fpr": rates}


@dataclasses.dataclass(frozen=True)
class Unlearning:
    """What answers say of unlearning; ``print`` it for the verdict in words.

    ``privacy``: forgotten records, told from such as the same model never saw; None where each model forgot all of the
    records. ``efficacy``: unlearned models, told from retrained ones by what they answer about the forgotten records.
    ``before`` and ``efficacy_before``: the same of the models before they unlearned; None where their answers were not
    given.
    """

    privacy: Judged | None
    efficacy: Judged
    before: Judged | None
    privacy_by_record: np.ndarray | None  # float64 [n]: mean signal forgotten less never seen, in standard deviations
    efficacy_by_record: np.ndarray  # float64 [n]: mean signal unlearned less retrained, in standard deviations
    accuracy: dict[str, float]  # of "unlearned" and "retrained" models, on records that they never saw; {}: no classes
    models: int  # K, unlearned ones
    retrained: int  # R
    targets: int  # T, of them judged
    efficacy_before: Judged | None = None
    doubts: tuple[str, ...] = ()  # whether the answers belong together, in sentences; the verdict begins with them

    @property
    def verdict(self) -> str:
        """What the numbers support, a sentence a line."""
        efficacy = _efficacy_verdict(self.efficacy, self.efficacy_by_record, self.targets)
        lines = [_privacy_verdict(self.privacy, self.targets), efficacy]
        if self.before is not None:
            lines.insert(1, f"Before unlearning the same guess had an AUC of {self.before.auc}.")
        if self.efficacy_before is not None:
            lines.append(_before_verdict(self.efficacy_before, self.efficacy, self.targets))
        if self.accuracy:
            lines.append(_accuracy_verdict(**self.accuracy))
        return "\n".join([*(f"Doubt: {text}" for text in self.doubts), *lines])

    def __str__(self) -> str:
        """The verdict, and of how many models."""
        return (
            f"{self.verdict}\n({self.targets} of {self.models} unlearned models judged, beside {self.retrained}"
            " retrained ones; 95 % intervals over targets in brackets, 0.500 is guessing)"
        )

    def json(self) -> dict[str, Any]:
        """Plain JSON values; the numbers of each record are left out."""
        given: dict[str, Judged | None] = {
            "privacy": self.privacy,
            "efficacy": self.efficacy,
            "before": self.before,
            "efficacy_before": self.efficacy_before,
        }
        games = {name: None if judged is None else judged.json() for name, judged in given.items()}
        counts = {"models": self.models, "retrained": self.retrained, "targets": self.targets}
        told = {"accuracy": self.accuracy, "doubts": [*self.doubts], "verdict": self.verdict}
        return {**games, **counts, **told}


def _told(judged: Judged, targets: int) -> bool | None:
    """Whether guesses are better than chance; None: one target gives no interval."""
    if judged.auc.low is not None:
        return judged.auc.low > 0.5
    return None if targets < 2 or judged.auc.value is None else judged.auc.value > 0.5  # the same of every target


def _auc(measure: Measure) -> str:
    return f"AUC {measure}" + ("" if measure.low is not None else f", without an interval ({measure.reason})")


def _privacy_verdict(privacy: Judged | None, targets: int) -> str:
    if privacy is None:
        return "Privacy: each model forgot all of the records, so there are none to tell the forgotten ones from."
    auc = _auc(privacy.auc)
    match _told(privacy, targets):
        case True:
            return f"Privacy: forgotten records can be told from records that the model never saw, {auc}."
        case False:
            return (
                f"Privacy: forgotten records were not told from records that the model never saw, {auc}; a better"
                " attack may."
            )
    return f"Privacy: {auc}."


def _efficacy_verdict(efficacy: Judged, by_record: np.ndarray, targets: int) -> str:
    auc = _auc(efficacy.auc)
    match _told(efficacy, targets):
        case True:
            surer = np.median(by_record) > 0
            way = "surer of them: too little is forgotten" if surer else "less sure: too much is forgotten"
            return (
                f"Efficacy: by their answers about forgotten records unlearned models can be told from retrained ones,"
                f" {auc} (most often they are {way})."
            )
        case False:
            return (
                "Efficacy: by their answers about forgotten records unlearned models were not told from retrained"
                f" ones, {auc}."
            )
    return f"Efficacy: AUC {efficacy.auc.value:.3f} of one model beside one, which tells nothing yet: judge several."


def _before_verdict(before: Judged, after: Judged, targets: int) -> str:
    told = _told(before, targets)
    if told is False and _told(after, targets):
        return (
            f"Before unlearning they were not told from retrained ones, {_auc(before.auc)}: they remembered little of"
            " these records, and efficacy tells what unlearning did to the models; or the retrained ones were trained"
            " on these records, too, or are in the place of the unlearned ones, and efficacy is wrong."
        )
    if told is False:
        return (
            f"Before unlearning they were not told from retrained ones either, {_auc(before.auc)}: the models remember"
            " little of these records, or the retrained ones were trained on them, too. So efficacy says nothing here."
        )
    found = f"an AUC of {before.auc}" if told else f"AUC {before.auc.value:.3f}, of one model beside one"
    return f"Before unlearning they were told from retrained ones with {found}."


def _accuracy_verdict(unlearned: float, retrained: float) -> str:
    text = f"Accuracy on records never seen: {unlearned:.3f} unlearned, {retrained:.3f} retrained"
    if retrained > unlearned + UNLIKE:
        return f"{text}: unlearning cost that much, or the retrained ones were trained on these records."
    if unlearned > retrained + UNLIKE:
        return (
            f"{text}: the retrained ones are weaker, or never saw a class of these records, or `forgotten` holds the"
            " records that were not forgotten."
        )
    return f"{text}."


# --- from answers ----------------------------------------------------------------------------------------------------


def unlearning(
    unlearned: Array,
    retrained: Array,
    labels: Array | None = None,
    *,
    forgotten: Array | None = None,
    original: Array | None = None,
    targets: int | None = None,
    fixed: bool | None = None,
) -> Unlearning:
    """Judge unlearned models against models that never saw the records (U-LiRA), from answers that were saved.

    Each of K models was trained on some of the n records, beside others that all models keep, and unlearned them; the
    rest of the n it never saw. R models were trained on what all models keep. The first T unlearned models are judged:
    to judge one model of somebody's put it first, with ``targets=1``.

    Args:
        unlearned: probabilities [K, n, c], after unlearning; or logits, log-probabilities, or one number for each
            record of two classes [K, n], which are told apart. Without ``labels`` one number for each record [K, n],
            larger where the model fits it better, as a log-likelihood.
        retrained: the same [R, n, c] or [R, n] of models retrained without any of the n records.
        labels: int [n], the records' classes, 0-based.
        forgotten: bool [K, n], which of the records each model was trained on, and then forgot; None: all. Pairs of
            models that forget complementary random halves are best (``mia_jax.plans.balanced``): then who was
            forgotten is known to differ in nothing else.
        original: as ``unlearned``, before they unlearned.
        targets: T; by default 8, or half of the models where there are fewer than 16.
        fixed: one variance a side for all records; by default with fewer than 64 models.

    Returns:
        An Unlearning: ``privacy``, ``efficacy``, and both ``before``, with AUC, accuracy and TPRs, intervals over
        targets (for other models and other records of the kind); ``verdict``; numbers by record; ``doubts``, where
        retrained models know which records were forgotten, were trained on them (which ``original`` tells) or are
        checkpoints of one run, or unlearned ones seem to have forgotten the wrong ones.

    Raises:
        InputError: shapes or labels that do not fit, or too few models.

    References:
        Hayes et al. 2025 (arXiv 2403.01218), U-LiRA. Naderloui et al. 2025 (2506.13009), privacy and efficacy.

    >>> import jax, numpy as np, mia_jax as mia
    >>> rng, plan = np.random.default_rng(0), mia.plans.balanced(jax.random.key(0), 100, num_models=16)
    >>> forgotten = mia.plans.membership_matrix(plan, 100)
    >>> hard = rng.normal(size=100)  # how hard each record is, for all models
    >>> nothing_done = hard + rng.normal(size=(16, 100)) + 2.0 * forgotten  # signals still higher where it was seen
    >>> retrained = hard + rng.normal(size=(16, 100))
    >>> print(mia.unlearning(nothing_done, retrained, forgotten=forgotten).privacy.auc)  # doctest: +ELLIPSIS
    0.9... [0.8..., 0.9...]
    """
    given = {"unlearned": unlearned, "retrained": retrained} | ({} if original is None else {"original": original})
    signals, right = signals_of(given, labels)
    after = signals["unlearned"]
    mask = _forgotten(forgotten, after)
    if original is not None and signals["original"].shape != after.shape:
        raise InputError(f"original has shape {np.shape(original)}: it is of the same models and records as unlearned")
    models, count = split(targets, after, signals["retrained"])
    fixed = models < lira.FIXED_BELOW if fixed is None else fixed
    efficacy = _judged(u_lira.efficacy(after, mask, signals["retrained"], count, fixed=fixed), of_models=True)
    privacy = before = efficacy_before = by_record = None
    if original is not None:
        moved = u_lira.efficacy(signals["original"], mask, signals["retrained"], count, fixed=fixed)
        efficacy_before = _judged(moved, of_models=True)
    if not mask.all():
        privacy = _judged(u_lira.privacy(after, mask, count, fixed=fixed))
        by_record = per_record.separation(after, mask)
        if original is not None:
            before = _judged(u_lira.privacy(signals["original"], mask, count, fixed=fixed))
    stacked, none = np.concatenate([after, signals["retrained"]]), np.zeros(signals["retrained"].shape, bool)
    sides = np.concatenate([mask, none]), np.concatenate([np.zeros_like(mask), ~none])
    accuracy = {}
    if right and not mask.all():
        accuracy = {
            "unlearned": float(right["unlearned"][~mask].mean()),
            "retrained": float(right["retrained"].mean()),
        }
    return Unlearning(
        privacy,
        efficacy,
        before,
        by_record,
        per_record.separation(stacked, *sides),
        accuracy,
        models,
        len(signals["retrained"]),
        count,
        efficacy_before,
        _doubts(signals, right, mask, unlearned, labels),
    )


def _doubts(
    signals: dict[str, np.ndarray], right: dict[str, np.ndarray], mask: np.ndarray, answers: Array, labels: Array | None
) -> tuple[str, ...]:
    shape = np.shape(answers)
    classes = shape[2] if len(shape) == 3 else 2
    said = checks.same(signals)
    if right:
        said = said or checks.other_labels(right, mask, tables.plain(labels), classes)
    said = said or checks.retrained(signals["retrained"], mask)
    said = said or one_run.doubts(signals["retrained"], "retrained")
    if not said and "original" in signals:
        said = checks.before(signals["original"], mask, signals["retrained"])
    if not said and "original" not in signals:  # which says it better
        said = checks.other_half(signals["unlearned"], mask, signals["retrained"])
    said = said or checks.of_others(signals["unlearned"], mask, signals["retrained"], signals.get("original"))
    if mask.all():
        said = said or one_run.doubts(signals["unlearned"], "unlearned")
    if right and not said:
        said = checks.lost(right, mask, right.get("original"), classes)
    if not said and "original" in signals:
        said = checks.gained(signals["original"], signals["unlearned"], mask)
    return said


def _judged(scores: Scores, *, of_models: bool = False) -> Judged:
    """The measures of a game; ``of_models``: what is told apart is models, of which one has no spread."""
    score, truth = scores
    auc = over_targets.auc(score, truth)
    rates = {f"{rate:g}": over_targets.tpr_at_fpr(score, truth, rate) for rate in metrics.RATES}
    if len(score) > 1:
        calls = over_targets.Calls.of(score, truth)
        accuracy = over_targets.mean([*(calls.tpr + 1 - calls.fpr) / 2], calls.influence("balanced_accuracy"))
        return Judged(auc, accuracy, rates)
    known = ~np.isnan(score[0])
    accuracy = metrics.balanced_accuracy(metrics.call(score[0][known], truth[0][known]))
    if not of_models:
        return Judged(auc, accuracy, rates)
    rates = {rate: _without_interval(measure) for rate, measure in rates.items()}
    return Judged(_without_interval(auc), _without_interval(accuracy), rates)


def _without_interval(measure: Measure) -> Measure:
    return Measure(measure.value, reason=measure.reason or "one model beside one: no interval over models")


def signals_of(given: dict[str, Array], labels: Array | None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """By name: signals float64 [K, n] of each model, and whether its answers are right [K, n] ({} without labels)."""
    names = class_columns.own_names(next(iter(given.values())))
    each = {name: class_columns.of_models(value, names, name) for name, value in given.items()}
    plain = {name: np.asarray(tables.plain(value)) for name, value in each.items()}
    shape = plain["unlearned"].shape
    for name, values in plain.items():
        if values.ndim not in (2, 3) or values.shape[1:] != shape[1:] or values.shape[0] < 1 or values.shape[1] < 2:
            raise InputError(
                f"{name} holds the answers of several models about the same records, [K, n, c], or one number for each"
                f" [K, n]; unlearned has shape {shape}, {name} {values.shape}"
            )
    if labels is None:
        return {name: _numbers(name, values) for name, values in plain.items()}, {}
    y = np.asarray(tables.plain(labels))
    if y.shape != shape[1:2] or y.dtype.kind not in "iu" or y.min() < 0:
        raise InputError(f"labels are integers [{shape[1]}], 0-based; they are {y.dtype} {y.shape}")
    answered, kind = {}, None
    for name, values in plain.items():
        each = []
        for k, p in enumerate(values):
            found = predictors.answers(p, y, called=f"{name}, model {k}", kind=kind)
            kind = found.kind
            each.append(found.p)
        answered[name] = np.stack(each)
    classes = answered["unlearned"].shape[-1]
    if y.max() >= classes:
        raise InputError(f"labels lie between 0 and {classes - 1}; these lie between {y.min()} and {y.max()}")
    known = answer_format.recognize(np.concatenate([*answered.values()]).reshape(-1, classes))
    read = jax.jit(scaled_logit)

    def phi(p: np.ndarray) -> np.ndarray:
        return np.asarray(read(answer_format.log_probabilities(p, known), y)["phi"], np.float64)

    signals = {name: np.stack([phi(p) for p in each]) for name, each in answered.items()}
    return signals, {name: each.argmax(axis=-1) == y for name, each in answered.items()}


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise InputError(
            f"{name} has shape {values.shape} and there are no labels: give labels=, or finite numbers [K, n], larger"
            " where a model fits the record better"
        )
    return values.astype(np.float64)


def _forgotten(forgotten: Array | None, after: np.ndarray) -> np.ndarray:
    if forgotten is None:
        return np.ones(after.shape, bool)
    mask = np.asarray(tables.plain(forgotten))
    if mask.shape != after.shape or not truths.only(mask):
        raise InputError(
            f"forgotten is bool {list(after.shape)}, true where the model was trained on the record and forgot it; it"
            f" is {mask.dtype} {mask.shape}"
        )
    mask = mask.astype(bool)
    if not mask.any(axis=1).all():
        raise InputError(f"unlearned model {int(np.argmin(mask.any(axis=1)))} forgot none of the records: leave it out")
    return mask


def split(targets: int | None, after: np.ndarray, retrained: np.ndarray) -> tuple[int, int]:
    """How many unlearned models there are, and how many of them are judged.

    Args:
        targets: T, or None for the default.
        after: [K, n], unlearned models.
        retrained: [R, n].

    Raises:
        InputError: fewer than two shadows of either kind are left.
    """
    models, fewest = len(after), min(len(after), len(retrained))
    count = min(TARGETS, fewest // 2) if targets is None else targets
    if count < 1 or fewest - count < 2:
        raise InputError(
            f"{models} unlearned and {len(retrained)} retrained models, {count} of each to judge: give two more of each"
            " at least, as shadows"
        )
    return models, count
