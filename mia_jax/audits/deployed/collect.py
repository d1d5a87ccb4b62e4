"""Answers of models that were trained by a plan, gathered file by file into what ``--predictions`` and ``audit`` take.

A file holds what one model answers about all records of the plan, in their order: an .npy [n, c], or an .npz with
``probabilities`` or ``logits`` [n, c] and perhaps ``digest``, the plan's, and ``model``, its number. Without that a
number in the file's name is the model's, as a rule the last: answers-007.npy, 7.npz. Files may come in any order, and
some later.
"""

import collections
import functools
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mia_jax.audits.deployed import model_files
from mia_jax.data import limits, npz, tables
from mia_jax.plans import training_plan
from mia_jax.plans.training_plan import TrainingPlan
from mia_jax.storage import artifacts
from mia_jax.targets import answer_kinds, class_columns, labels_alone, other_numbers
from mia_jax.types import InputError, few_of

Notify = Callable[[str], None]
WRITE = "np.save(path, probabilities)"
NUMBERS = "numbers"  # of the models that a folder's shadows are
OF_TORCH = (".pt", ".pth", ".bin")
INSTEAD = {  # files that are not read -> what makes one that is; torch.load may run code, so that is its user's to call
    OF_TORCH: "np.save(path, torch.load(file, weights_only=True).cpu().numpy())",
    (".csv", ".tsv", ".txt"): "np.save(path, pandas.read_csv(file).to_numpy()), with header=None if there is none",
    (".json",): "np.save(path, np.array(json.load(open(file))))",
    (".jsonl", ".ndjson"): "np.save(path, pandas.read_json(file, lines=True).to_numpy())",
    (".parquet", ".feather"): "np.save(path, pandas.read_parquet(file).to_numpy())",
    (".pkl", ".pickle", ".joblib"): WRITE,
    (".safetensors", ".h5", ".hdf5", ".mat"): WRITE,
}


def collect(
    plan: TrainingPlan | str | pathlib.Path,
    files: str | pathlib.Path | Iterable[Any] | Mapping[int, Any],
    *,
    labels: Any = None,
    target: Any = None,
    member: Any = None,
    out: str | pathlib.Path | None = None,
    notify: Notify | None = None,
) -> dict[str, np.ndarray]:
    """Gather what the models of a plan answer, file by file.

    Args:
        plan: of ``mia_jax.plan``, or the path of its plan.npz.
        files: a folder; paths; or the number of each model -> its file, or its answers [n, c]. Some may be missing. Or
            the answers of the first models in their order, an array [S, n, c] or a list.
        labels: int [n], the classes of the records, or their file; of a folder, its labels.npy.
        target: the target's answers [n, c], or their file; of a folder, its target.npy or target.npz. The number of one
            of the plan's models makes that the target.
        member: bool [n], who trained the target, where it is known, or its file; of a folder, its member.npy.
        out: where to write all of it, as preds.npz for ``mia-jax audit --predictions=preds.npz``.
        notify: told which models are missing, and of answers that are logits; by default a Python warning.

    Returns:
        Name -> array: "shadows" [S, n, c] and "shadow_member" [S, n]; "labels", "target" and "member" where there are
        such. ``mia_jax.audit(predict, x, y, member, shadows=...)`` takes it as it is.

    Raises:
        InputError: naming the file, what is wrong and what to do.

    >>> import numpy as np, mia_jax as mia
    >>> plan = mia.plan(num_records=4, num_models=2)
    >>> answers = {k: np.full((4, 3), 1 / 3) for k in (1, 0)}  # or a folder of files
    >>> {name: array.shape for name, array in mia.collect(plan, answers).items()}
    {'shadows': (2, 4, 3), 'shadow_member': (2, 4)}
    """
    arrays, _ = _collected(plan, files, notify or _warn, labels, target, member)
    if out is not None:
        _write(out, arrays)
    return arrays


def _collected(
    plan: TrainingPlan | str | pathlib.Path, files: Any, tell: Notify, labels: Any, target: Any, member: Any
) -> tuple[dict[str, np.ndarray], list[int]]:
    """What ``collect`` returns, and the numbers of the models that the shadows are."""
    plan = plan if isinstance(plan, TrainingPlan) else training_plan.load(plan)
    files, target = class_columns.of_plan(
        _in_order(files, plan.member.shape[1]), None if labels is None else loaded(labels), target
    )
    folder = pathlib.Path(files) if isinstance(files, str | pathlib.Path) else None
    if folder is not None:
        beside = _beside(folder)
        labels = beside.get("labels") if labels is None else labels
        member = beside.get("member") if member is None else member
        target = beside.get("target") if target is None else target
    found = _answers(plan, model_files.numbered(plan, files, tell), tell)
    answered = sorted(found)  # with the target, where it is one of the plan's models
    read: np.ndarray | None = None
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        read, member = _model_as_target(plan, found, int(target))
    elif target is not None:
        read = _read(plan, target, tell)[1]
    if not found:
        unread = "" if folder is None else _unread(folder)
        raise InputError(f"{folder or 'files'}: there is no model's file yet; each is written with {WRITE}{unread}")
    if missing := [k for k in range(len(plan.member)) if k not in answered]:
        from_1 = "; plans count from 0: if your files count from 1, model-1 is model 0" * (answered[0] == 1)
        unread = "" if folder is None else _unread(folder, missing)
        tell(f"{len(answered)} of {len(plan.member)} models have answered; missing: {few_of(missing)}{from_1}{unread}")
    which = sorted(found)
    arrays = {"shadows": np.stack([found[k] for k in which]), "shadow_member": plan.member[which]}
    n = plan.member.shape[1]
    for name, given in (("labels", labels), ("member", member)):
        if given is not None:
            arrays[name] = one = loaded(given)
            if one.shape != (n,):
                raise InputError(f"{name} has shape {one.shape}; needed: [{n}], one for each record of the plan")
    if read is not None:
        arrays["target"] = read
        if arrays["target"].shape != arrays["shadows"].shape[1:]:
            shape = arrays["shadows"].shape[1:]
            raise InputError(
                f"target has shape {arrays['target'].shape}, and each shadow's answers {shape}: ask all about the same"
                + ", and save probabilities of all, or labels of all" * (1 in (arrays["target"].ndim, len(shape)))
            )
    return arrays, which


def _in_order(files: Any, n: int) -> Any:
    """Answers about n records in one array or list as model -> its answers, those of the first models, of which None
    has not answered; anything else as it came. Raises InputError for an array of another shape.
    """
    if isinstance(files, str | os.PathLike | Mapping):
        return files
    if hasattr(files, "shape"):
        files = tables.plain(files)
        if files.ndim not in (2, 3) or files.shape[1] != n:
            move = "; of one model give {0: p}, by its number" if files.shape[:1] == (n,) else ""
            raise InputError(f"answers in one array are [S, {n}, c]; it has shape {files.shape}{move}")
    each = [*files]
    if each and all(isinstance(one, str | os.PathLike) for one in each):
        return each
    return {k: one for k, one in enumerate(each) if one is not None}


def of_folder(folder: pathlib.Path, notify: Notify | None = None) -> dict[str, np.ndarray]:
    """What ``--predictions=FOLDER`` is: plan.npz, labels.npy, target.npy, perhaps member.npy, and the models' files.

    Without a plan, shadows.npy [S, n, c] and shadow_member.npy [S, n] beside labels.npy and target.npy.

    Raises:
        InputError: one is missing, or as ``collect``.
    """
    if not (folder / "plan.npz").exists() and (folder / "shadows.npy").exists():
        names = ("labels", "target", "shadows", "shadow_member")
        if missing := [name for name in names if not (folder / f"{name}.npy").exists()]:
            more = _unread(folder, stem=missing[0])
            raise InputError(
                f"{folder} has shadows.npy and no {missing[0]}.npy; write it with np.save, beside it{more}"
            )
        more = ["member"] if (folder / "member.npy").exists() else []
        return {name: loaded(folder / f"{name}.npy") for name in (*names, *more)}
    if not (folder / "plan.npz").exists():
        raise InputError(
            f"{folder} has no plan.npz, by which its models were trained; mia-jax plan writes one. Of a target alone"
            " give one file, np.savez(path, labels=y, target=p, member=m)"
        )
    arrays, which = _collected(folder / "plan.npz", folder, notify or _warn, None, None, None)
    for name in ("labels", "target"):
        if name not in arrays:
            unread = _unread(folder, stem=name)
            raise InputError(f"{folder} has no {name}.npy; write it with np.save, beside the models' files{unread}")
    return {**arrays, NUMBERS: np.array(which)}


# --- files -----------------------------------------------------------------------------------------------------------


def _beside(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """What lies in the folder beside the models' files."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give that of the models' files, or their paths")
    there = {name: [folder / f"{name}{end}" for end in (".npy", ".npz")] for name in model_files.OF_THE_FOLDER}
    return {name: path for name, paths in there.items() for path in paths if path.exists()}


def _unread(folder: pathlib.Path, missing: Iterable[int] | None = None, stem: str = "") -> str:
    """What to do with the files of a folder that may be the answers which are missing, in a clause; or ""."""
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for path in sorted(folder.iterdir()):
        numbers = re.findall(r"\d+", path.stem)
        of_model = numbers and not path.stem.startswith("rows") and (missing is None or int(numbers[-1]) in missing)
        if unread(path) and (path.stem == stem if stem else of_model):
            kinds[path.suffix].append(path.name)
    if not kinds:
        return ""
    names = max(kinds.values(), key=len)
    several = f"{names[0]} and {len(names) - 1} more are" if len(names) > 1 else f"{names[0]} is"
    return f"; {several} not read: {unread(pathlib.Path(names[0]))} makes what is"


def unread(path: pathlib.Path) -> str:
    """What makes a file that is read of one of another kind; "" where nothing is known of it."""
    return next((move for kinds, move in INSTEAD.items() if path.suffix.lower() in kinds), "")


def _answers(plan: TrainingPlan, numbered: Mapping[int, Any], tell: Notify) -> dict[int, np.ndarray]:
    """The probabilities [n, c] of each model that has answered. Raises InputError where they are of several kinds."""
    kinds: dict[int, str] = {}
    found: dict[int, np.ndarray] = {}
    for k, given in numbered.items():
        kinds[k], found[k] = _read(plan, given, lambda line: None, f"model {k}")
    if len({*kinds.values()}) > 1:
        some = {kind: k for k, kind in kinds.items()}
        told = ", ".join(f"model {k} {kind}" for kind, k in some.items())
        raise InputError(f"the models' answers are of several kinds ({told}): save the same of all")
    if kinds and (kind := next(iter(kinds.values()))) != "probabilities":
        tell(f"the models' answers are {kind}, and are read as such")
    shapes = {p.shape[1]: k for k, p in found.items() if p.ndim > 1}  # of labels alone there are no columns
    if len(shapes) > 1:
        told = " and ".join(f"model {k} answers {c}" for c, k in shapes.items())
        raise InputError(f"models answer over several numbers of classes ({told}): give all the same columns")
    return found


def _read(plan: TrainingPlan, given: Any, tell: Notify, whose: str = "target") -> tuple[str, np.ndarray]:
    """What the answers in a file are, and the probabilities [n, c] that they come to."""
    if not isinstance(given, str | pathlib.Path):
        return _probabilities(tables.plain(given), plan, whose, None)
    path, kind = pathlib.Path(given), None
    if path.suffix == ".npz":
        write = "np.savez(path, probabilities=p, digest=plan_digest)"
        there = npz.read_own(path, ("probabilities", "logits", "digest"), write)
        if ("probabilities" in there) == ("logits" in there):
            raise InputError(f"{path} needs probabilities or logits, one of them: {write}")
        if "digest" in there and str(there["digest"]) != plan.digest:
            raise InputError(f"{path} was made by another plan (its digest differs): train that model by this one")
        kind = "logits" if "logits" in there else "probabilities"
        array = there[kind]
    else:
        array = loaded(path)
    kind, p = _probabilities(array, plan, str(path), kind)
    if kind != "probabilities":
        tell(f"{path} holds {kind}, and is read as such")
    return kind, p


def _probabilities(array: np.ndarray, plan: TrainingPlan, whose: str, kind: Any) -> tuple[str, np.ndarray]:
    """What numbers [n, c] are, and the probabilities that they come to. Raises InputError."""
    n = plan.member.shape[1]
    if array.ndim not in (1, 2) or len(array) != n or 0 in array.shape:
        raise InputError(
            f"{whose} has shape {array.shape}; needed: [{n}, c], the records of the plan in their order (of two"
            f" classes [{n}] will do): ask this model about all of them again, or leave it out"
        )
    if kind is None and labels_alone.are_labels(array):
        return "labels", array.reshape(n)
    if array.dtype.kind in "USV":
        raise InputError(f"{whose}: {other_numbers.of_another_type('p', array)}")
    if array.dtype.kind != "f":
        raise InputError(f"{whose} holds {array.dtype}; needed: probabilities or logits, floating-point numbers")
    one = array.ndim == 1 or array.shape[1] == 1
    known = {"logits": answer_kinds.OF_CLASS_1, "probabilities": answer_kinds.SURE_OF_CLASS_1} if one else {}
    try:
        found = answer_kinds.read(array, "p", known.get(kind, kind) if kind else None)
    except answer_kinds.Faulty as error:
        if error.row is None:
            raise InputError(f"{whose}: {error.reason.removeprefix('p: ')}") from None
        if answer_kinds.unreadable(array).any():
            raise InputError(
                f"{whose}, record {error.row}: a number is not finite; leave that model out, or train it again"
            ) from None
        raise InputError(f"{whose}, record {error.row}: {error.reason}; save probabilities, or logits") from None
    return found.kind, found.p


@functools.singledispatch
def loaded(given: Any) -> np.ndarray:
    """An array, or what a .npy holds.

    Args:
        given: the array, or the path of the file.

    Raises:
        InputError: the file cannot be read.
    """
    return tables.plain(given)


@loaded.register(str)
@loaded.register(pathlib.Path)
def _(given: str | pathlib.Path) -> np.ndarray:
    path = pathlib.Path(given)
    if path.exists() and (move := unread(path)):
        raise InputError(f"{path} is of a kind that is not read: {move} makes one that is")
    try:
        with open(path, "rb") as f:
            limits.check(path.stat().st_size, None, str(path))
            array = np.lib.format.read_array(f, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; write one with {WRITE}") from None
    except limits.TooLarge as error:
        raise InputError(str(error)) from None
    except (OSError, ValueError, EOFError, MemoryError) as error:
        if "Object arrays" in str(error):  # NumPy's words
            move = "labels.astype(str), or numbers from 0," if path.stem == "labels" else "p.astype(np.float32)"
            raise InputError(f"{path} holds Python objects: write {move} with np.save") from None
        raise InputError(f"{path} cannot be read ({error}); write it anew with {WRITE}") from None
    return array


# --- together --------------------------------------------------------------------------------------------------------


def _model_as_target(plan: TrainingPlan, found: dict[int, np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """One of the plan's models, taken out of the shadows, and who trained it."""
    if k not in found:
        raise InputError(
            f"target={k}: that model has not answered yet, or the plan has no such model; name one that has"
        )
    return found.pop(k), plan.member[k]


def _write(out: str | pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    try:
        artifacts.write_npz(pathlib.Path(out), arrays)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); choose another path") from None


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=3)
