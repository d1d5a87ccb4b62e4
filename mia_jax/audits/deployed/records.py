"""What an audit of somebody's deployed model starts from: their records (``mine.npz``), or answers saved elsewhere.

np.savez("mine.npz", x=x, y=y, member=member)
np.savez("preds.npz", labels=y, target=p, shadows=q, shadow_member=member_of_shadows, member=member)
"""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from mia_jax.audits.deployed import collect
from mia_jax.data import by_path, class_labels, npz, tables, truths
from mia_jax.targets import answer_format, answer_kinds, black_box, defenses, labels_alone, other_numbers
from mia_jax.types import Array, InputError, Records, Schema


class Question(NamedTuple):
    """Records that are asked about."""

    records: Records  # [n], as models are trained on them
    sent: np.ndarray  # [n, *f], as the target is asked about them: in the type of the file, bits as integers
    member: np.ndarray | None  # bool [n], where it is known
    schema: Schema  # num_classes: as far as the labels tell; a target may know more


class Predictions(NamedTuple):
    """Answers that were obtained elsewhere: what ``infer`` takes, and the truth where it is known."""

    labels: np.ndarray  # int32 [n]
    target: np.ndarray  # probabilities [n, c]
    shadows: np.ndarray  # probabilities [S, n, c]
    shadow_member: np.ndarray  # bool [S, n]
    member: np.ndarray | None  # bool [n]
    numbers: np.ndarray | None = None  # int [S], of the models that the shadows are, where they are not 0, 1, ...


def load_question(
    path: str | os.PathLike,
    *,
    label: str | None = None,
    kinds: str | None = None,
    class_names: Sequence[str] = (),
) -> Question:
    """Read ``mine.npz``: x [n, *f], y [n] and, for an evaluation, member [n], true where the target trained on it.

    ``schema`` may be there too, as ``data.save`` writes it. Unlike a data set to train on, not every class needs a
    record: the target says how many there are. Of a table (.csv, .parquet), member is a column.

    Args:
        path: of the file.
        label, kinds: of a table: see ``mia_jax.records``.
        class_names: in their order, where it is known, for a table whose labels are text.

    Raises:
        InputError: naming the file, what is wrong and what to do.
    """
    path = pathlib.Path(path).expanduser()
    own, sent = by_path.load(path, label=label, kinds=kinds, to_train_on=False, class_names=class_names)
    try:
        arrays = {} if own.member is None else {"member": own.member}
        return Question(own.records, sent, _member(arrays, len(own.records.y)), own.schema)
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}") from None


def load_predictions(
    path: str | os.PathLike, notify: Callable[[str], None] | None = None, *, alone: bool = False
) -> Predictions:
    """Read ``preds.npz``: labels [n], target [n, c], shadows [S, n, c], shadow_member [S, n] and perhaps member [n].

    Column j of every shadow is record j: the shadows were asked about the same records, in the same order. A folder is
    one of a plan and of the files of its models (``collect.of_folder``); ``notify`` is told which are missing.
    Where the target is ``alone``, S is 0.

    Raises:
        InputError: naming the file, the array, what is wrong and what to do.
    """
    path = pathlib.Path(path).expanduser()
    needed = ("labels", "target") if alone else ("labels", "target", "shadows", "shadow_member")
    write = "np.savez(path, labels=y, target=p, shadows=q, shadow_member=s, member=m)"
    if path.is_dir():
        arrays = collect.of_folder(path, notify)
    elif path.exists() and collect.unread(path):
        several = "np.savez(path, **{name: p.cpu().numpy() for name, p in torch.load(file, weights_only=True).items()})"
        move = several if path.suffix.lower() in collect.OF_TORCH else write
        if path.suffix.lower() in (".csv", ".tsv", ".parquet", ".feather"):
            move = (
                "of a table df np.savez(path, labels=np.array(df['label'], dtype=str), target=df[[...]].to_numpy(),"
                " member=df['member'].isin([True, 1, 'yes'])), with shadows and shadow_member if there are any,"
            )
        raise InputError(f"{path} is of a kind that is not read: {move} makes one that is")
    else:
        arrays = npz.read_own(path, (*needed, "member"), write, needed=needed)
    try:
        labels = arrays["labels"] if arrays["labels"].dtype.kind in "US" else npz.numbers(arrays["labels"], "labels")
        arrays, note = _without_labels_alone(arrays, labels, alone)
        target = _floats(arrays, "target")
        if target.ndim not in (1, 2) or 0 in target.shape:
            raise ValueError(
                f"target has shape {target.shape}; needed: probabilities [n, c], n > 0, or [n] of two classes"
                f"{tables.turned_answers('target', target.shape, (len(np.atleast_1d(labels)), None))}"
            )
        shadows = np.zeros((0, *target.shape), target.dtype) if alone else _floats(arrays, "shadows")
        if shadows.ndim != target.ndim + 1 or (len(shadows) == 0 and not alone) or shadows.shape[1:] != target.shape:
            needed = ", ".join(["S", *map(str, target.shape)])
            hint = tables.turned_answers("shadows", shadows.shape, (None, *target.shape))
            if target.ndim == 1 and shadows.ndim == 3 and shadows.shape[1:2] == target.shape:
                hint = (
                    f"; or save the target's probabilities, [{len(target)}, {shadows.shape[-1]}], as the shadows' are"
                )
            raise ValueError(f"shadows has shape {shadows.shape}; needed: [{needed}], as target, S > 0{hint}")
        read = answer_kinds.of_models(target, shadows)
        target, shadows = cast(np.ndarray, read.target), read.shadows
        if (note or read.note) and notify is not None:
            notify(note or read.note)
        n, classes = target.shape
        if arrays["labels"].shape not in ((n,), (n, 1), (n, classes)):
            raise ValueError(f"labels has shape {arrays['labels'].shape}; needed: [{n}], as target{_flat(arrays)}")
        labels = class_labels.beside(labels, classes=classes)
        if labels.note and notify is not None:
            notify(labels.note)
        trained = arrays.get("shadow_member", np.zeros((0, n), bool))
        shadow_member = _truth(trained, "shadow_member", (len(shadows), n))
        return Predictions(labels.y, target, shadows, shadow_member, _member(arrays, n), arrays.get(collect.NUMBERS))
    except ValueError as error:
        raise InputError(f"{path} cannot be used: {error}") from None


def _without_labels_alone(
    arrays: Mapping[str, np.ndarray], labels: np.ndarray, alone: bool
) -> tuple[Mapping[str, np.ndarray], str]:
    """The arrays, probabilities in place of answers that are labels alone, and what was made of these, in a sentence.

    Args:
        arrays: with target, and shadows where the target is not alone.
        labels: of the records.
        alone: there are no shadows.

    Raises:
        ValueError: a label that is none.
    """
    target, shadows = arrays["target"], arrays["target"][:0] if alone else arrays["shadows"]
    if not labels_alone.are_labels(target):
        return arrays, ""
    known = class_labels.beside(labels)
    found = labels_alone.of_models(target, shadows, known.names)
    if found is None:
        return arrays, ""
    own, each = found.probabilities(int(known.y.max()) + 1)
    assert own is not None
    return {**arrays, "target": own, **({} if alone else {"shadows": each})}, found.note


def beside(path: str | os.PathLike, records: int) -> np.ndarray | None:
    """The records themselves, x [n, *f], where a file of predictions has them beside the answers about them.

    Raises:
        InputError: there are not as many as answers.
    """
    path = pathlib.Path(path).expanduser()
    if path.is_dir():
        return None
    x = npz.read_own(path, ("x",), "np.savez(path, labels=y, target=p, x=x)").get("x")
    if x is not None and (x.ndim == 0 or len(x) != records):
        raise InputError(f"{path}: x has shape {x.shape}, and there are answers about {records:,} records: as many")
    return x


def defended(saved: Predictions, chosen: tuple[defenses.AnswerDefense, ...], *, shadows_too: bool) -> Predictions:
    """The predictions as a service behind defenses would have sent them; the shadows' only if the attacker knows."""
    together = defenses.compose(chosen)

    def sent(p):
        answers = answer_format.recognize(p)
        return defenses.probabilities(together(answer_format.log_probabilities(p, answers)), together.after(answers))

    shadows = np.stack([sent(p) for p in saved.shadows]) if shadows_too else saved.shadows
    return saved._replace(target=sent(saved.target), shadows=shadows)


def apart(x: Array, asked: Array) -> np.ndarray:
    """Bool [N]: which of the records x [N, *f] are not among those asked about [n, *f]; shadows may train on these.

    Values decide, not types: 1 and 1.0 are the same. Numbers are compared as float32, as ``load_question`` gives them.

    Raises:
        InputError: records of another shape.
    """
    x, asked = np.asarray(x, np.float32), np.asarray(asked, np.float32)
    if x.shape[1:] != asked.shape[1:]:
        raise InputError(
            f"shadow data have records of shape {x.shape[1:]}, and those asked about have {asked.shape[1:]}"
        )
    x, asked = x + 0.0, asked + 0.0  # -0 is 0
    known = set(black_box.record_keys(asked))
    return np.array([key not in known for key in black_box.record_keys(x)], bool)


def _flat(arrays: Mapping[str, np.ndarray]) -> str:
    """What to do with a flat target, of several numbers for each label, in a clause; or ""."""
    n, size = len(arrays["labels"]), arrays["target"].size
    if arrays["target"].ndim > 1 or not 1 < n < size or size % n:
        return ""
    return f"; if target has {size // n} numbers for each of {n:,} labels, save target.reshape({n}, {size // n})"


def _floats(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    p = arrays[name]
    if p.dtype.kind == "f" and p.dtype.itemsize == 2:  # stays: its zeros mean more than those of wider types
        return p.astype(np.float16)
    if advice := other_numbers.of_another_type(name, p):
        raise ValueError(advice)
    return npz.numbers(p, name)


def _truth(values: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if values.shape != shape:
        hint = truths.turned(name, values, shape)
        raise ValueError(f"{name} has shape {values.shape}; needed: {list(shape)}, true where the record trained{hint}")
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"{name} holds something else than true and false (1 and 0); needed: bool"
            f" {list(shape)}{truths.untrue(name, values)}"
        )
    return values.astype(bool)


def _member(arrays: Mapping[str, np.ndarray], n: int) -> np.ndarray | None:
    if "member" not in arrays:
        return None
    member = _truth(arrays["member"], "member", (n,))
    if member.all() or not member.any():
        everywhere = "true" if member.all() else "false"
        raise ValueError(
            f"member is {everywhere} everywhere, and an evaluation needs both; leave it out, or add records of the"
            " other kind"
        )
    return member
