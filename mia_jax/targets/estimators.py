"""Classifiers with scikit-learn's interface: found by their import path, checked, trained, asked over all classes."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mia_jax import user_code
from mia_jax.data import missing, tables
from mia_jax.targets import answer_format, black_box, named_columns
from mia_jax.types import Answers, Array, InputError, Records, Schema, Target

FORMAT_RECORDS = 4096  # of a training set, at most, that tell what a model's answers look like
EXAMPLE = "sklearn.ensemble.RandomForestClassifier"
STOPS_EARLY = (
    "; it stops early by records that fit is not given: turn that off (early_stopping_rounds=None), or give a function"
    " fit(x, y, *, seed) that holds some of its own out"
)


def instance(classifier: Any) -> Any:
    """The classifier itself, of what ``platforms.sklearn`` takes: an instance, its class, or the path of either."""
    if isinstance(classifier, str):
        named = f"the classifier {classifier}"
        estimator = user_code.load(classifier, named)
    else:
        named = f"the classifier {getattr(classifier, '__name__', type(classifier).__name__)}"
        estimator = classifier
    if isinstance(estimator, type):
        try:
            with user_code.guarded(named):
                estimator = estimator()
        except InputError as error:
            if not isinstance(error.__cause__, TypeError):
                raise
            raise InputError(
                f"{estimator.__name__} needs arguments ({error.__cause__}): give an instance of it"
            ) from None
    if not all(hasattr(estimator, name) for name in ("fit", "predict", "get_params")):
        refit = getattr(estimator, "refit", True) is False
        move = "refit=True lets it predict" if refit else "give a classifier of scikit-learn's kind"
        raise InputError(f"{estimator!r} has not all of fit, predict and get_params: {move}")
    if _is_regressor(estimator):
        raise InputError(
            f"{type(estimator).__name__} is a regressor, and its numbers are no classes: give a classifier, such as"
            f" {EXAMPLE}, and y as classes 0, 1, ..."
        )
    return estimator


def _is_regressor(estimator: Any) -> bool:
    """Whether it says of itself that it predicts numbers; of a pipeline or a search, what is inside says so."""
    from sklearn.base import is_regressor

    try:
        return is_regressor(estimator)
    except Exception:  # an estimator of nobody's kind, that has no tags
        return getattr(estimator, "_estimator_type", None) == "regressor"


# --- missing values --------------------------------------------------------------------------------------------------


def filled(kind: str, records: Records, schema: Schema) -> tuple[Records, Schema]:
    """Records as what is trained takes them: with missing numbers (NaN) where it can, else filled in, with a note.

    Args:
        kind: see ``platform``.
        records: x [n, *f].
        schema: of the records.

    Raises:
        InputError: no classifier is to be found at the import path.
    """
    if not missing.lacking(records) or takes_nan(kind):
        return records, schema
    return missing.filled(records, schema, "networks" if kind in ("nn", "logistic") else kind.removeprefix("sklearn:"))


def wants_names(kind: str) -> bool:
    """Whether models of a kind pick columns by name, as pipelines with a ``ColumnTransformer`` do."""
    return kind.startswith("sklearn:") and named_columns.wants(instance(kind.removeprefix("sklearn:")))


def takes_nan(kind: str) -> bool:
    """Whether models of a kind can be trained on records that lack values; an estimator's tags say so."""
    if not kind.startswith("sklearn:"):
        return ":" in kind  # a user's own trainer, which knows what it takes
    estimator = instance(kind.removeprefix("sklearn:"))
    if named_columns.wants(estimator):  # what it does with which column is its own
        return True
    try:
        from sklearn.utils import get_tags

        tags = get_tags(estimator)
    except Exception:  # scikit-learn before 1.6, or an estimator without tags
        tags = getattr(estimator, "_get_tags", dict)()
        return bool(tags.get("allow_nan", False))
    if hasattr(estimator, "steps"):  # a pipeline is what its first step is, and does not say so
        first = estimator.steps[0][1]
        return first != "passthrough" and bool(get_tags(first).input_tags.allow_nan)
    return bool(tags.input_tags.allow_nan)


# --- training --------------------------------------------------------------------------------------------------------


def fit_target(model: Any, x: np.ndarray, y: np.ndarray, seed: int, num_classes: int) -> Target:
    """Fit a classifier; the Target answers over all classes.

    What a zero stands for is the same in all models of as many records.

    Args:
        model: of scikit-learn's interface.
        x, y: records [m, f] and labels [m] in 0..c-1.
        seed: of the training.
        num_classes: c.

    Raises:
        TargetError: it cannot be trained on these records, or needs others to stop early by.
    """
    present, codes = np.unique(y, return_inverse=True)  # some libraries insist on 0, 1, ... without gaps
    name = type(model).__name__
    try:
        model = fitted(model, x, codes, seed)
    except (Exception, SystemExit) as error:  # users' code may do anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        reason = f"it calls sys.exit({reason})" if isinstance(error, SystemExit) else reason
        reason += "; give fewer records" if isinstance(error, MemoryError) else ""
        reason += STOPS_EARLY if "early stop" in reason.lower() or "eval_set" in reason else ""
        raise black_box.TargetError(f"{name} cannot be trained on these records: {reason}") from error
    if not hasattr(model, "predict_proba") and not hasattr(model, "classes_"):
        raise black_box.TargetError(
            f"{name} has neither predict_proba nor classes_, so what it predicts are no classes: give a classifier of"
            " scikit-learn's kind"
        )

    def labels(x: Array) -> np.ndarray:
        with user_code.guarded(f"{name}.predict"):
            return present[np.asarray(model.predict(flat(x)), np.int64).reshape(-1)]

    def probabilities(x: Array) -> np.ndarray:
        with user_code.guarded(f"{name}.predict_proba"):
            p = np.asarray(model.predict_proba(flat(x)))
        spread = np.zeros((len(p), num_classes), p.dtype)
        spread[:, present] = p
        return spread

    if not hasattr(model, "predict_proba"):
        return black_box.from_callable(labels, Answers(num_classes, "labels"))
    return black_box.from_callable(probabilities, _format(probabilities, x, present, num_classes))


def _format(probabilities: Callable[[Array], np.ndarray], x: np.ndarray, present: np.ndarray, c: int) -> Answers:
    """Of the answers of a model to its training records x [m, *f]: a forest of a hundred trees votes in two digits.

    Where no such grid is certain, a zero is the frequency of what was not met among m records, and one that was met
    once is 1 / m. A format guessed from one tree's few leaves would differ from the next tree's, zero for zero.
    """
    some = np.unique(np.linspace(0, len(x) - 1, FORMAT_RECORDS).astype(int))
    p = probabilities(tables.take(x, some))
    if not np.isfinite(p).all():  # what is wrong with an answer is said where it is asked for
        return Answers(c)
    answers, zeros = answer_format.recognize(p), p[:, present] == 0
    if answers.kind == "probabilities" and answers.digits is not None:
        return answers
    return Answers(c, least=min(1 / len(x), float(p[p > 0].min())) if zeros.any() and p.any() else None)


def fitted(model: Any, x: np.ndarray, y: np.ndarray, seed: int) -> Any:
    """The classifier, fitted to records x [m, f] and labels y [m], with the seed wherever it takes one."""
    seeds = {name: seed for name in model.get_params() if name.split("__")[-1] == "random_state"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge: passes are part of the recipe
        return model.set_params(**seeds).fit(x, y)


def flat(x: Any) -> Any:
    """Records [n, *f] as rows [n, f]; data frames and texts [n] stay, for pipelines that take such."""
    if tables.is_frame(x):
        return x
    x = np.asarray(x)
    if x.ndim == 1 and (x.dtype.kind == "U" or all(isinstance(text, str) for text in x.tolist())):
        return x
    return x.reshape(len(x), -1)
