"""Which model of a plan each file of answers is of: by the numbers in its name, or by one in an .npz."""

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from mia_jax.data import npz
from mia_jax.plans.training_plan import TrainingPlan
from mia_jax.types import InputError

LAST = "the last number in its name"
OF_THE_FOLDER = ("plan", "labels", "target", "member", "preds")  # what lies beside the models' files
AS_DICT = "give a dict of the number of each model and its file, {0: path, ...}"


def numbered(plan: TrainingPlan, files: Any, tell: Callable[[str], None]) -> dict[int, Any]:
    """The file, or the answers, of each model that has any.

    Args:
        plan: by which they were trained.
        files: a folder, paths, or a mapping of numbers.
        tell: told which number of the names is the model's, where it is not the last.

    Raises:
        InputError: two of one model, a file without a number, or of a model that the plan does not have.
    """
    models = len(plan.member)
    if isinstance(files, Mapping):
        if odd := [k for k in files if not re.fullmatch(r"\d+", str(k))]:
            raise InputError(f"{odd[0]!r} is no number of a model: give {{0: answers, 1: answers, ...}}")
        return {_model(models, int(k), str(k)): given for k, given in files.items()}
    if isinstance(files, str | pathlib.Path):
        folder = pathlib.Path(files)
        files = sorted(p for p in folder.iterdir() if p.suffix in (".npy", ".npz") and p.stem not in OF_THE_FOLDER)
    found: dict[int, pathlib.Path] = {}
    paths = [*map(pathlib.Path, files)]
    place = _place(paths, models)
    how = LAST if place == -1 else "the number that differs in the names"
    if place != -1:
        said = (
            f"{LAST} is of no model of the plan, or of several files, so the one that tells them apart is the model's"
        )
        tell(f"{said}: {paths[0].name} is of model {_number(paths[0], place)}")
    for path in paths:
        k = _number(path, place)
        if k in found:
            raise InputError(
                f"{path} and {found[k]} are both of model {k}, by {how}: leave one of them out, or {AS_DICT}"
            )
        found[k] = path
    if sorted(found) == [*range(1, models + 1)]:
        raise InputError(
            f"files count from 1 ({found[1].name} to {found[models].name}), and plans from 0: rename them, so that"
            " model-1 becomes model-0, or give {k - 1: path} for the file of each number k"
        )
    for k, path in found.items():
        _model(models, k, str(path), f", by {how}," if path.suffix == ".npy" else "")
    return found


def _digits(path: pathlib.Path) -> list[str]:
    """The numbers in a file's name, but for dates."""
    return re.findall(r"\d+", re.sub(r"(?<!\d)(19|20)\d\d([-_.])\d\d\2\d\d(?!\d)", "", path.stem))


def _place(paths: list[pathlib.Path], models: int) -> int:
    """Which number of the names is the model's, counted from the end: the last, but where another alone can be.

    Raises InputError where two can be, and differ.
    """
    columns = [tuple(map(int, names)) for names in zip(*(_digits(path)[::-1] for path in paths), strict=False)]
    if len(paths) < 2 or not columns:
        return -1
    differ = [k for k, of in enumerate(columns) if len({*of}) == len(of)]
    can = [k for k in differ if max(columns[k]) < models]
    if len({columns[k] for k in can}) > 1 and all(path.suffix == ".npy" for path in paths):
        raise InputError(
            f"{paths[0].name} has two numbers that tell its files apart, and which is the model's cannot be seen:"
            f" {AS_DICT}"
        )
    from_1 = [k for k in differ if sorted(columns[k]) == [*range(1, models + 1)]]
    return -1 - (can or from_1 or differ or [0])[0]  # of the last three what is refused says why


def _number(path: pathlib.Path, place: int) -> int:
    """The number of a file's model, at this place in its name. Raises InputError for a file that says none."""
    if path.suffix == ".npz":
        there = npz.read_own(path, ("model",), "np.savez(path, probabilities=p, model=k)")
        if "model" in there and there["model"].size == 1 and there["model"].dtype.kind in "iu":
            return int(there["model"].reshape(()))
    numbers = _digits(path)
    if not numbers:
        raise InputError(f"{path} does not say which model's it is: name it by its number, as model-007.npy")
    return int(numbers[place])


def _model(models: int, k: int, whose: str, how: str = "") -> int:
    if not 0 <= k < models:
        raise InputError(
            f"{whose} is of model {k}{how or ','} and the plan has models 0 to {models - 1}"
            + (f": name files as model-007.npy, or {AS_DICT}" if how else "")
        )
    return k
