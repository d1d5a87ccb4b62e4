"""An audit of whatever answers, in one call: ``mia_jax.audit(predict, x, y, member)``."""

import dataclasses
import difflib
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax import attacks as attack_table
from mia_jax import sanitize
from mia_jax.audits import given_shadows, groupings, pipeline
from mia_jax.audits import release as releases
from mia_jax.audits.config import AuditConfig, Brought, DeployedConfig, InProcessConfig
from mia_jax.audits.deployed import collect, given_answers
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.audits.plans import in_process
from mia_jax.data import class_labels, columns, holders, records, row_order, tables
from mia_jax.data.groups import Grouping
from mia_jax.progress import Progress, patient
from mia_jax.reports import notebook, words
from mia_jax.reports.notebook import AuditResult
from mia_jax.storage import artifacts
from mia_jax.targets import class_columns, predictors
from mia_jax.types import Array, InputError

OF_NETWORKS = frozenset(f.name for f in dataclasses.fields(AuditConfig)) - {
    "seed", "defenses", "target_kind", "attack_options", "data_dir", "workdir", "dp_delta", "jobs", "group"
}  # fmt: skip


def audit(
    predict: Any,
    x: Any,
    y: Array | None = None,
    member: Array | None = None,
    *,
    shadows: Any = None,
    num_shadows: int = 16,
    population: tuple[Any, Array] | None = None,
    attacks: str | Sequence[str] = "all",
    defenses: str = "",
    signal: str | Callable[[np.ndarray, np.ndarray], Array] | None = None,
    group: Any = None,
    name: str = "your records",
    seed: int = 0,
    jobs: int = 1,
    workdir: str | os.PathLike | None = None,
    policy: str | os.PathLike | None = None,
    notify: Callable[[str], None] = lambda line: None,
    progress: Progress = patient,
    **settings: Any,
) -> AuditResult:
    """Audit whatever answers: how well can somebody tell, from answers alone, which records trained it?

    Args:
        predict: the model: a function of records that gives probabilities [n, c], such as ``model.predict_proba``; an
            estimator that has one; a Target; or its answers themselves, or their .npy. Logits, log-probabilities and,
            of two classes, one number for each record are told apart, read as such, and said.
        x: records [n, *f], in the type that the model takes: an array, a data frame, a tensor. A data set that holds
            records and labels together is taken apart before, as by ``mia_jax.records``.
        y: [n], their classes, numbered from 0 as the columns of the answers; or as ``model.classes_`` has them, text
            in alphabetical order, a categorical of pandas in its own, booleans, one-hot; what was made of them is among
            ``result.notes``.
        member: bool [n], which of them trained the model; None: not known, and there are scores only.
        shadows: what imitates the model. A function ``fit(x, y, *, seed)`` that trains such a model and returns what
            ``predict`` may be; a classifier of scikit-learn's kind; a platform (``mia_jax.platforms``) or its name, as
            "nn"; or what shadows answered: a dict, or the path of an .npz, with shadows [S, n, c] and shadow_member
            [S, n]. None: only attacks that need no shadows run, each with a threshold that a half of the records chose.
        num_shadows: S, to be trained: on complementary halves of the records, in pairs, or on as many as trained the
            target where those are no half (``mia_jax.plan``).
        population: (x, y) of records that trained no model, for the attacks that use such.
        attacks: names, in a list or separated by commas, or all that can run.
        defenses: what the target does to its answers before anybody sees them, as "round_to(2)".
        signal: where the model predicts no class: "squared_error" or "absolute_error" of a regression, or a function
            (prediction, y) -> [n] of the user's, larger where the model fits the record better: a log-likelihood, or
            minus a loss. ``y`` is then what is predicted. Shadows are a ``fit``, a regressor, or a dict of what saved
            ones predicted, shadows [S, n, ...] and shadow_member; ``predict`` may be saved predictions [n, ...].
        group: a column of x, where it is a data frame, or values [n], by which measures are told, too (``subgroups``);
            a Series of pandas in another order than x or y, as its index tells, is refused.
        name: what the records are called in the report.
        seed: of everything random.
        jobs: processes that train shadows side by side, each one at a time; each imports what the first has imported.
        workdir: a folder of this audit: what shadows answer is kept there, so an interrupted call goes on, and a larger
            one trains only what is missing. None: a temporary folder.
        policy: path of a policy (docs/policy.md) that the results are judged by, ``result.results["policy"]``; in the
            ``workdir``, where there is one, the folder of evidence is written, too.
        notify: told a line at each step, as ``print``.
        progress: shows how far long work is.
        settings: others of the configuration: ``dp_delta``, options of attacks such as ``attack_l2``, and for
            shadows="nn" those of training, as ``num_epochs``.

    Returns:
        An AuditResult: ``result["lira"].auc``; a page in a notebook; ``to_frame()``; ``save(folder)`` writes
        results.json, scores.npz and report.html as ``mia-jax audit`` does. Doubts about what was given are Python
        warnings (``AnswersWarning``), too; so is that members are told without the model.

    Raises:
        InputError: what was given does not fit, or answers are no probabilities; one line with the next move.
        WorkdirHeld: another process works in the same workdir, and the audit is of a service or of answers.

    >>> import numpy as np, mia_jax as mia
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> x, y = np.random.default_rng(0).random((400, 5)), np.arange(400) % 2
    >>> member = np.arange(400) < 200
    >>> tree = DecisionTreeClassifier(random_state=0).fit(x[member], y[member])
    >>> result = mia.audit(tree.predict_proba, x, y, member)  # with shadows=DecisionTreeClassifier() more attacks run
    >>> print(result["loss"].auc)  # doctest: +ELLIPSIS
    0.7... [0.6..., 0.7...]
    """
    attacks = attacks if isinstance(attacks, str) else ",".join(map(str, attacks))
    brought = _brought(predict, x, y, member, shadows, population, signal)
    brought = brought._replace(group=_grouped(group, x, y, len(brought.y)))
    config = InProcessConfig(
        brought=brought,
        records=_digest(brought),
        num_shadows=num_shadows,
        attacks=attacks,
        defenses=defenses,
        name=str(name),
        seed=seed,
        jobs=jobs,
        workdir=None if workdir is None else os.fspath(workdir),
        **_settings(settings, brought),
    )
    command = _command(shadows, num_shadows, attacks, defenses, signal, seed, settings)
    release = releases.asked(config, policy=policy)
    if workdir is not None:
        pipeline.run(config, command=command, notify=notify, progress=progress, release=release)
        return _doubted(notebook.opened(workdir))
    with tempfile.TemporaryDirectory(prefix="mia_jax-") as folder:
        temporary = dataclasses.replace(config, workdir=folder)
        pipeline.run(temporary, command=command, notify=notify, progress=progress, page=False, release=release)
        return _doubted(notebook.opened(folder))


def _doubted(result: AuditResult) -> AuditResult:
    """The result; Python warnings of what the page begins with, for who reads one number of it and not its words."""
    for said in (*result.results.get("doubts", ()), words.confounded(result.results)):
        if said:
            warnings.warn(said, AnswersWarning, stacklevel=3)
    return result


# --- what was given, checked -----------------------------------------------------------------------------------------


def _brought(
    predict: Any, x: Any, y: Array | None, member: Array | None, shadows: Any, population: Any, signal: Any
) -> Brought:
    """What was given, as an audit takes it. Raises InputError."""
    y = _there(x, y)
    predict = collect.loaded(predict) if isinstance(predict, str | os.PathLike) else predict
    names, notes = _classes_of(predict), ()
    _refuse_unseen(predict, y)
    _refuse_other_order(predict, shadows, {"x": x, "y": y})
    if signal is None:
        x, found, notes = _records(x, y, "", names)
        labels, names = found.y, names or found.names
    else:
        x, labels = _predicted(x, y, signal)
    if member is not None:
        tables.refuse_unaligned(x, member, "member")
        tables.refuse_unaligned(y, member, "member", "y")
        member = given_answers.truth(member, len(labels))
        if member.all() or not member.any():
            raise InputError(
                f"member is {bool(member[0])} everywhere, and an evaluation needs both: add records that"
                f" {'did not train' if member.all() else 'trained'} the model, or leave member out"
            )
        notes = (*notes, *row_order.repeated(member, {"x": x, "y": y}))
    other = None
    if population is not None:
        if not isinstance(population, tuple | list) or len(population) != 2:
            raise InputError("population is (x, y): records that trained no model, and their labels")
        x_other, of_other, _ = _records(*population, "population: ", names)
        other = x_other, of_other.y
    if signal is not None:
        saved = isinstance(shadows, Mapping | tuple | list | os.PathLike) or str(shadows).endswith(".npz")
        if not saved:
            return Brought(predict, x, labels, member, other, shadows, signal=signal, notes=notes)
        predicted, who = given_shadows.predictions(given_shadows.parts(shadows)[1], len(labels))
        return Brought(predict, x, labels, member, other, None, predicted, who, signal=signal, notes=notes)
    trainer, saved = given_shadows.parts(shadows)
    given = Brought(predict, x, labels, member, other, trainer, notes=notes, class_names=found.names)
    if saved is None:
        return given
    names = found.names or class_columns.own_names(predict) or class_columns.own_names(saved.get("shadows"))
    p, trained, note = given_shadows.answers(saved, len(labels), names)
    return given._replace(shadows=p, shadow_member=trained, class_names=names, notes=(*notes, *filter(None, [note])))


def _there(x: Any, y: Array | None) -> Array:
    """The labels. Raises InputError where none were given."""
    if y is not None:
        return y
    holders.refuse_together(x)
    named = [name for name in x.columns if str(name).strip().lower() in records.LABELS] if hasattr(x, "columns") else []
    move = f": y = x[{named[0]!r}], and x without that column" if named else ""
    raise InputError(f"y is missing, the classes of the records (with `signal`, what is predicted of each){move}")


def _refuse_other_order(predict: Any, shadows: Any, beside: Mapping[str, Any]) -> None:
    """Refuse saved answers whose index, or columns, are another order of the records' own. Raises InputError."""
    row_order.refuse_answers(predict, "predict", beside)
    answered, trained = shadows if isinstance(shadows, tuple | list) and len(shadows) == 2 else (None, None)
    if isinstance(shadows, Mapping):
        answered, trained = shadows.get("shadows"), shadows.get("shadow_member")
    row_order.refuse_answers(answered, "shadows", beside)
    row_order.refuse_shadow_member(trained, beside)


def _grouped(group: Any, x: Any, y: Any, records: int) -> Grouping | None:
    """The groups of records by a column of theirs, or by values [n]. Raises InputError."""
    if group is None:
        return None
    if not isinstance(group, str):
        row_order.refuse_values(group, "group", {"x": x, "y": y})
        return groupings.of_values(group, str(getattr(group, "name", None) or "group"), records)
    if not hasattr(x, "columns") or group not in x.columns:
        known = f"; there are {', '.join(map(str, x.columns))}" if hasattr(x, "columns") else ", which is no data frame"
        raise InputError(f"group={group!r} is no column of x{known}: give one, or values [n]")
    return groupings.of_values(x[group], group, records)


def _records(x: Any, y: Array, whose: str, names: tuple[str, ...]) -> tuple[Any, class_labels.Classes, tuple[str, ...]]:
    """Records as they came, their labels as classes, and what was made of these, in sentences. Raises InputError."""
    x = _dense(x, whose)
    tables.refuse_unaligned(x, y)
    try:
        found = class_labels.beside(y, names=names, called="y")
    except ValueError as error:
        raise InputError(f"{whose}y cannot be used: {error}") from None
    tables.refuse_unpaired(x, len(found.y), whose)
    return x, found, tuple(filter(None, [found.note]))


def _classes_of(model: Any) -> tuple[str, ...]:
    """The classes that an estimator of scikit-learn's kind, or its method, knows by other names than 0, 1, ...

    Raises:
        InputError: it has several outputs, or classes of one name.
    """
    known = getattr(getattr(model, "__self__", model), "classes_", None)
    if isinstance(known, list) and known and np.ndim(known[0]):
        raise InputError(
            f"the model has {len(known)} outputs: audit one at a time, as lambda x: model.predict_proba(x)[0],"
            f" with its y; {predictors.ONE_TASK}"
        )
    if known is None or np.ndim(known) != 1 or np.array_equal(known, np.arange(len(known))):
        return ()
    names = tuple(columns.as_text(np.asarray(known)).tolist())
    if len({*names}) < len(names):
        twice = next(k for k, name in enumerate(names) if name in names[:k])
        first, other = (sanitize.quoted(known[k]) for k in (names.index(names[twice]), twice))
        raise InputError(
            f"the model knows {first} and {other} as two classes, which are one as text (white space or their types"
            " differ): train it and its shadows on labels of one spelling, as y.astype(str).str.strip(), or audit it"
            " with y as places in model.classes_, and lambda x: model.predict_proba(x)"
        )
    return names


def _refuse_unseen(model: Any, y: Array) -> None:
    """Refuse labels of more classes than an estimator of scikit-learn's kind, or its method, was trained on.

    Raises:
        InputError: naming the classes that it never saw.
    """
    known = _of_text(np.asarray(getattr(getattr(model, "__self__", model), "classes_", ())))
    labels = _of_text(tables.plain(y))
    if known.ndim != 1 or not known.size or labels.ndim != 1 or {known.dtype.kind, labels.dtype.kind} - {*"biuUS"}:
        return
    if (known.dtype.kind in "US") != (labels.dtype.kind in "US"):
        return
    given = np.unique(labels)
    unseen = given[~np.isin(given, known)]
    if 0 < len(unseen) < len(given) and len(given) > len(known):
        raise InputError(
            f"y has {len(given):,} classes, and the model was trained on {len(known):,}, without"
            f" {columns.listed(columns.as_text(unseen).tolist())}: leave out the records of others, by"
            " seen = np.isin(y, model.classes_)"
        )


def _of_text(values: np.ndarray) -> np.ndarray:
    """Values; of objects that are all text, as pandas has it, an array of text."""
    is_text = values.dtype == object and all(isinstance(value, str) for value in values.flat)
    return values.astype(str) if is_text else values


def _dense(x: Any, whose: str) -> Any:
    """Records as they came, or lists of them as an array. Raises InputError."""
    holders.refuse_together(x)
    if hasattr(x, "toarray"):
        raise InputError(f"{whose}x is a sparse matrix, and records are rows of numbers: give x.toarray()")
    return x if hasattr(x, "shape") or hasattr(x, "predict") else tables.plain(x)


def _predicted(x: Any, y: Array, signal: Any) -> tuple[Any, np.ndarray]:
    """Records, and what is predicted of each. Raises InputError."""
    x = _dense(x, "")
    tables.refuse_unaligned(x, y)
    values = tables.plain(y)
    if not len(values):
        raise InputError("y is empty: give what is to be predicted of each record")
    tables.refuse_unpaired(x, len(values))
    if values.dtype == object or (values.dtype.kind in "US" and isinstance(signal, str)):
        numbers = columns.plain_numbers(values) if values.ndim == 1 else None
        if numbers is None and callable(signal) and all(isinstance(value, str) for value in values.flat):
            return x, values.astype(str)
        if numbers is None:
            raise InputError(
                f"y holds {sanitize.quoted(str(values.flat[0]))}, and a signal is computed from numbers: give"
                " y.astype(float), or leave signal out where y holds classes"
            )
        values = numbers
    if isinstance(signal, str) and values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
        raise InputError(f"y[{row}] is {values[row]}, no finite number: leave that record out of x, y and member")
    return x, values


def _digest(given: Brought) -> str:
    arrays = (given.y, given.member, given.shadows, given.shadow_member)
    told = [None if array is None else artifacts.array_digest(array) for array in arrays]
    other = given.population and [tables.digest(given.population[0]), artifacts.array_digest(given.population[1])]
    about = {"x": tables.digest(given.x), "others": told, "population": other}
    return artifacts.digest(about if given.signal is None else {**about, "signal": str(_name_of(given.signal))})


def _name_of(signal: Any) -> str:
    return signal if isinstance(signal, str) else getattr(signal, "__name__", type(signal).__name__)


# --- settings --------------------------------------------------------------------------------------------------------


def _settings(given: Mapping[str, Any], brought: Brought) -> dict[str, Any]:
    """Further fields of the configuration. Raises InputError for one that is none, or means nothing here."""
    options = attack_table.flags()
    networks = brought.trainer if isinstance(brought.trainer, str) and brought.trainer in in_process.NETWORKS else None
    known = {"dp_delta", "adaptive", *options, *OF_NETWORKS}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise InputError(f"audit has no setting {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
        if name in OF_NETWORKS - options.keys() and networks is None:
            raise InputError(f'{name} is a setting of our own networks, shadows="nn": leave it out')
    fields = {f.name for f in dataclasses.fields(DeployedConfig)}
    late = {name: value for name, value in given.items() if name not in fields}
    plain = {name: value for name, value in given.items() if name in fields}
    return plain | ({"attack_options": late} if late else {}) | ({"target_kind": networks} if networks else {})


def _command(
    shadows: Any, count: int, attacks: str, defenses: str, signal: Any, seed: int, settings: Mapping[str, Any]
) -> str:
    """The call, as far as it can be written down."""
    told = ["predict, x, y, member"]
    if shadows is not None:
        told.append(f"shadows={shadows!r}" if isinstance(shadows, str) else "shadows=shadows")
        told.append(f"num_shadows={count}")
    told += [f"attacks={attacks!r}"] * (attacks != "all") + [f"defenses={defenses!r}"] * bool(defenses)
    told += [] if signal is None else [f"signal={signal!r}" if isinstance(signal, str) else "signal=signal"]
    told += [f"{name}={value!r}" for name, value in settings.items()]
    return f"mia_jax.audit({', '.join([*told, f'seed={seed}'])})"
