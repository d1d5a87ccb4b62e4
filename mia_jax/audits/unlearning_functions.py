"""A way to unlearn, judged by models that are trained here: with the records, unlearned, and retrained without."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from mia_jax import user_code
from mia_jax.audits.unlearning import Unlearning, signals_of, split, unlearning
from mia_jax.checks import unlearned as checks
from mia_jax.data import class_labels, tables
from mia_jax.plans import splits
from mia_jax.progress import Progress, patient
from mia_jax.targets import predictors
from mia_jax.targets.trainers import refuse_without_seed
from mia_jax.types import Array, InputError

ASKED = 200  # of the records that all models keep, whether they are kept
_FORGET, _RETAIN = ("forg", "unlearn", "delet", "remov", "eras"), ("retain", "keep", "kept", "remain", "rest", "stay")
_NEITHER = ("not", "non", "no", "without", "but", "except", "other", "others", "after")  # as in all_but_forgotten


def audit_unlearning(
    fit: Callable[..., Any],
    unlearn: Callable[..., Any],
    x: Any,
    y: Array,
    *,
    predict: Callable[[Any, Any], Array] | None = None,
    num_forget: int | None = None,
    num_models: int = 16,
    targets: int | None = None,
    seed: int = 0,
    progress: Progress = patient,
) -> Unlearning:
    """Judge a way to unlearn: train models, let them forget, retrain others without, and compare what all answer.

    Of the records 2 ``num_forget`` are drawn; each model is trained on a half of these beside all other records, and
    forgets this half, models in pairs on complementary halves. As many models again are trained on the others alone.

    Args:
        fit: ``fit(x, y, *, seed)`` trains and returns a model, as ``shadows=`` of ``mia_jax.audit`` does.
        unlearn: ``unlearn(model, retain, forget, *, seed)`` returns a model that has forgotten; ``retain`` and
            ``forget`` are (x, y), given by position, and refused where its parameters have these names (or such as
            ``kept``, ``to_delete``) in the other order. Retraining, ``lambda model, retain, forget, seed:
            fit(*retain, seed=seed)``, is the control.
        x, y: records [n, *f] and their classes [n].
        predict: (model, x) -> probabilities [n, c]; None: the model is a function of records, or has ``predict_proba``.
        num_forget: records that each model forgets; by default a twentieth of all.
        num_models: K, even.
        targets: as of ``unlearning``.
        seed: of the draws, and of what ``fit`` and ``unlearn`` are given.
        progress: shows how far it is.

    Returns:
        As of ``unlearning``, with ``before``; a doubt, too, where models got surer of what they should forget than of
        what they should keep: for that they are asked about 200 at most of the records that all keep.

    Raises:
        InputError: as ``unlearning``, too few records, a function that raises or answers no probabilities, or an
            ``unlearn`` whose parameters have another order.

    >>> import numpy as np, mia_jax as mia
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> x, y = np.random.default_rng(0).random((600, 5)), np.arange(600) % 2  # labels that can only be learned by heart
    >>> def fit(x, y, *, seed):
    ...     return DecisionTreeClassifier(random_state=seed, max_features=2).fit(x, y)
    >>> def retrain(model, retain, forget, *, seed):
    ...     return fit(*retain, seed=seed)
    >>> nothing = mia.audit_unlearning(fit, lambda model, retain, forget, *, seed: model, x, y)
    >>> print(nothing.privacy.auc)  # doctest: +ELLIPSIS
    0.7... [0.7..., 0.8...]
    >>> print(mia.audit_unlearning(fit, retrain, x, y))  # doctest: +ELLIPSIS
    Privacy: forgotten records were not told from records that the model never saw, AUC 0.4... [0.4..., 0.5...]; ...
    """
    refuse_without_seed(fit)
    _refuse_exchanged(unlearn)
    x, labels, names = _records(x, y)
    n = len(labels)
    num_forget = max(1, n // 20) if num_forget is None else num_forget
    if num_forget < 4 or 2 * num_forget >= n:
        raise InputError(
            f"{num_forget} of {n:,} records to forget: give 4 at least, and fewer than half, as twice as many are drawn"
        )
    drawn, kept = splits.reserve(jax.random.key(seed), n, 2 * num_forget)
    plan = splits.balanced(jax.random.fold_in(jax.random.key(seed), 1), len(drawn), num_models)
    forgotten = splits.membership_matrix(plan, len(drawn))
    split(targets, forgotten, forgotten)
    seeds = np.random.SeedSequence(seed).generate_state(3 * num_models).reshape(3, num_models)
    both = np.concatenate([drawn, kept[: min(ASKED, len(drawn))]])
    asked, retain = {True: tables.take(x, both), False: tables.take(x, drawn)}, (tables.take(x, kept), labels[kept])
    answers: dict[str, list[np.ndarray]] = {"original": [], "unlearned": [], "retrained": []}

    def ask(name: str, model: Any) -> Any:
        called = f"{name}, model {len(answers[name])}"
        answer = model if predict is None else functools.partial(predict, model)
        records = asked[name != "retrained"]
        p = predictors.answers(answer, records, called=called, names=names).p
        _refuse_other_classes(p.shape[1], answers, called)
        answers[name].append(p)
        return model

    with progress("unlearning", 3 * num_models) as advance:
        for mine, of_fit, of_unlearn, of_retrained in zip(forgotten, *seeds.tolist(), strict=True):
            rows, forget = np.concatenate([kept, drawn[mine]]), (tables.take(x, drawn[mine]), labels[drawn[mine]])
            with user_code.guarded("fit(x, y, seed=...)"):
                model = fit(tables.take(x, rows), labels[rows], seed=of_fit)
            ask("original", model)
            advance(1)
            with user_code.guarded("unlearn(model, retain, forget, seed=...)"):
                model = unlearn(model, retain, forget, seed=of_unlearn)
            ask("unlearned", model)
            advance(1)
            with user_code.guarded("fit(x, y, seed=...)"):
                model = fit(*retain, seed=of_retrained)
            ask("retrained", model)
            advance(1)
    return _judged({name: np.stack(each) for name, each in answers.items()}, labels[both], forgotten, targets)


def _judged(answers: dict[str, np.ndarray], y: np.ndarray, forgotten: np.ndarray, targets: int | None) -> Unlearning:
    """As ``unlearning``, with what the first n records and the others, which all models keep, say beside each other."""
    n = forgotten.shape[1]
    after, before = answers["unlearned"], answers["original"]
    found = unlearning(
        after[:, :n], answers["retrained"], y[:n], forgotten=forgotten, original=before[:, :n], targets=targets
    )
    signals, _ = signals_of({"unlearned": after, "original": before}, y)
    gain = signals["unlearned"] - signals["original"]
    said = checks.exchanged(gain[:, :n], gain[:, n:], forgotten)
    return dataclasses.replace(found, doubts=said) if said else found


def _refuse_other_classes(classes: int, answers: dict[str, list[np.ndarray]], called: str) -> None:
    first = next((each[0].shape[1] for each in answers.values() if each), classes)
    if classes != first:
        raise InputError(
            f"{called}, answers with {classes} classes, and the first model with {first}: it seems to have trained on"
            " records that lack a class, as where forget and retain are exchanged"
        )


def _refuse_exchanged(unlearn: Callable[..., Any]) -> None:
    """Raise InputError where the names of a function's parameters say that it takes forget before retain."""
    try:
        parameters = inspect.signature(unlearn).parameters.values()
    except (TypeError, ValueError):
        return
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in by_position]
    if len(names) < 3:
        return
    kinds = [_kind(name) for name in names[1:3]]
    if kinds not in (["forget", "retain"], ["forget", ""], ["", "retain"]):
        return
    order, own = ", ".join(names[:3]), "unlearn(model, retain, forget, seed=seed)"
    raise InputError(
        f"unlearn is called by position, unlearn(model, retain, forget, seed=...), and its parameters are ({order}): it"
        " would forget what it should keep. Exchange the two parameters, or give"
        f" unlearn=lambda model, retain, forget, seed: {own.replace('retain, forget', 'forget, retain')}"
    )


def _kind(name: str) -> str:
    """Whether a parameter is called as what is to be forgotten or retained; "": as neither."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    if any(word in _NEITHER for word in words):
        return ""
    said = {
        kind
        for kind, stems in (("forget", _FORGET), ("retain", _RETAIN))
        if any(word.startswith(stems) for word in words)
    }
    return said.pop() if len(said) == 1 else ""


def _records(x: Any, y: Array) -> tuple[Any, np.ndarray, tuple[str, ...]]:
    """Records as they came, their labels as classes, int64 [n], and what these are called. Raises InputError."""
    x = x if hasattr(x, "shape") else tables.plain(x)
    tables.refuse_unaligned(x, y)
    try:
        found = class_labels.numbered(tables.plain(y), whole=False)
    except ValueError as error:
        raise InputError(f"y cannot be used: {error}") from None
    tables.refuse_unpaired(x, len(found.y))
    return x, found.y.astype(np.int64), found.names
