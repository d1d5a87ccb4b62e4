"""Words and numbers for who trained a model, where true and false were needed."""

import numpy as np

from mia_jax import sanitize
from mia_jax.data import columns, tables

# Words for who trained a model, the surest first.
TRUE = ("true", "yes", "member", "in", "train", "training", "1", "1.0", "t", "y")
FEW_VALUES = 4  # of which one or another may stand for true
MOST_DRAWS = 16  # as often may a bootstrap have drawn a record


def only(values: np.ndarray) -> bool:
    """Whether values [...] of any type are true and false, or 1 and 0, and none is missing."""
    if values.dtype == object and columns.missing(values.reshape(-1)).any():
        return False  # pandas' NA is no answer to a comparison
    return bool(np.isin(values, (0, 1)).all())


def turned(name: str, values: np.ndarray, shape: tuple[int, ...]) -> str:
    """What makes true and false of the shape [n] or [S, n] of an array of another one, in a clause; "" of others.

    Args:
        name: of the array, in what to do.
        values: it: axes in another order, or the numbers of records.
        shape: that is needed.
    """
    if move := tables.turned(name, values.shape, shape):
        return move
    if values.dtype.kind not in "iu" or values.ndim != len(shape) or values.shape[:-1] != shape[:-1]:
        return ""
    rows = f"np.isin(np.arange(n), {name})"
    rows = rows if len(shape) == 1 else f"np.stack([np.isin(np.arange(n), rows) for rows in {name}])"
    return f": where these are the numbers of records, write {rows}"


def untrue(name: str, values: np.ndarray) -> str:
    """What makes true and false of a few other values, in a clause with a semicolon before it; "" of others.

    One is proposed only where its word, or a 1 beside 0 or -1, says that it stands for true.

    Args:
        name: of the array, in what to do.
        values: [n] or [S, n], of any type.
    """
    lacking = columns.missing(values.reshape(-1)) if values.dtype.kind in "fO" else np.zeros(values.size, bool)
    if lacking.any():
        said = f"; {int(lacking.sum()):,} of its {values.size:,} values are missing (NaN)"
        if not lacking.all() and only(values.reshape(-1)[~lacking]) and values.reshape(-1)[~lacking].all():
            return f"{said} and all others true: where a join left them out, they are false, pandas.notna({name})"
        return f"{said}: leave such records out"
    if values.dtype.kind == "S" or (values.dtype == object and all(isinstance(v, str) for v in values.flat)):
        name, values = f"{name}.astype(str)", values.astype(str)
    if values.dtype.kind not in "biufU":
        return ""
    found, counts = np.unique(values, return_counts=True)
    numbers = found.dtype.kind in "iuf" and len(found) > 2
    drawn = numbers and bool((found == np.round(found)).all()) and found[0] == 0 and found[-1] <= MOST_DRAWS
    bootstrap = (
        f"; where its numbers count how often a record was drawn (a bootstrap), give {name} > 0" if drawn else ""
    )
    if not 1 < len(found) <= FEW_VALUES:
        return bootstrap
    text = values.dtype.kind == "U"
    written = [f'"{sanitize.line(str(v), 40)}"' if text else f"{v:g}" for v in found.tolist()]
    told = [f"{each} {count:,} times" for each, count in zip(written, counts.tolist(), strict=True)]
    if text:
        true = [each for each, v in zip(written, found.tolist(), strict=True) if v.strip().lower() in TRUE]
    else:
        true = ["1"] if found.tolist() in ([-1, 1], [0, 1]) else []
    if true in (['"1"'], ['"1.0"']) and {*written} - {*true, '"0"', '"0.0"', '"-1"'}:
        true = []  # 1 and 2 are codes of which either may be
    if len(true) == 1:
        move = f"where {true[0]} stands for true, give {name} == {true[0]}"
    else:
        move = f"give {' or '.join(f'{name} == {each}' for each in written)}, whichever means that a record trained it"
    return f"; it has {' and '.join(told)}: {move}{bootstrap}"
