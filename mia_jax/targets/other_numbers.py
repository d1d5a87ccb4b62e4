"""Numbers that somebody gives for probabilities and that are none: what they are, and what to save instead."""

import numpy as np

from mia_jax.data import npz

OVER_RECORDS = "a softmax over the records"
QUANTIZED = 32  # from the smallest to the largest of whole logits, that are bytes
WHOLE = 1e-2  # from 1, that probabilities of a row may sum
ORDERED = (8, 3)  # rows and columns that are sorted by no chance

TURNED = {  # what makes probabilities of such numbers, called {0}
    "log-probabilities": "np.exp({0})",
    "logarithms to base 2": "np.exp2({0})",
    "logarithms to base 10": "10.0 ** {0}",
    "negative logarithms of probabilities": "np.exp(-{0})",
    "percentages": "{0} / 100",
    "counts, or quantized scores": "{0} / {0}.sum(axis=-1, keepdims=True)",
    "quantized scores from -128": "({0} + 128.0) / ({0} + 128.0).sum(axis=-1, keepdims=True)",
    "log-odds of each class": "1 / (1 + np.exp(-{0}))",
    "P(y > k) of ordered classes": "-np.diff({0}, axis=-1, prepend=1, append=0)",
    "P(y >= k) of ordered classes": "-np.diff({0}, axis=-1, append=0)",
    "P(y <= k) of ordered classes": "np.diff({0}, axis=-1, prepend=0)",
}


def mistaken_for(values: np.ndarray) -> str:
    """What rows of numbers [b, c] are that are no probabilities: of ``TURNED``, OVER_RECORDS, sigmoids or logits."""
    values = np.asarray(values, np.float64)
    total, classes = values.sum(axis=1), values.shape[1]
    if (values <= 1e-3).all():  # of a p above 1 by a rounding, or by what was added to it
        bases = {"log-probabilities": np.e, "logarithms to base 2": 2.0, "logarithms to base 10": 10.0}
        for kind, base in bases.items():
            if (np.abs((base**values).sum(axis=1) - 1) < 1e-2).all():
                return kind
    rounded, off = np.all(values == np.round(values)), max(1, min(classes / 2, 50))
    if (values >= 0).all() and (np.abs(total - 100) <= (off if rounded else 1)).all():
        return "percentages"
    if (values >= 0).all() and (np.abs(np.exp(-values).sum(axis=1) - 1) < 1e-2).all():
        return "negative logarithms of probabilities"
    usual = float(np.median(total))  # 255 and 256 of 8 bits, 1,000, or the trees of a forest
    if rounded and (values >= 0).all() and usual > 2 * off and (np.abs(total - usual) <= off).all():
        return "counts, or quantized scores"
    if rounded and (values >= -128).all() and (np.abs(total + 128 * classes - 256) <= off).all():
        return "quantized scores from -128"
    if classes > 2 and len(values) > 1:  # of two classes logits may be symmetric, too
        with np.errstate(over="ignore"):
            odds = (1 / (1 + np.exp(-values))).sum(axis=1)
        if (np.abs(odds - 1) < 1e-3).all():
            return "log-odds of each class"
    if (values < 0).any() or (values > 1).any():
        return "logits"
    return OVER_RECORDS if _batch_of_columns(values) else _cumulative(values) or "sigmoids"


def _cumulative(values: np.ndarray) -> str | None:
    """What numbers [b, c] in [0, 1] are that fall, or rise to 1, from column to column in every row; None: neither."""
    steps = np.diff(values, axis=1)
    if values.shape[1] < ORDERED[1] or len(values) < ORDERED[0] or not steps.any():
        return None
    if (steps <= 0).all() and values.sum(axis=1).max() > 1:  # else the best k of many, sorted
        return "P(y >= k) of ordered classes" if (values[:, 0] == 1).all() else "P(y > k) of ordered classes"
    return "P(y <= k) of ordered classes" if (steps >= 0).all() and np.allclose(values[:, -1], 1) else None


def _batch_of_columns(values: np.ndarray) -> int:
    """How many rows of numbers [b, c] in [0, 1] there are in each batch whose columns sum to 1; 0: in none."""
    off = np.abs(values.cumsum(axis=0) - 1).max(axis=1)
    for size in (len(values), int(np.argmin(off)) + 1):
        sums = np.add.reduceat(values, np.arange(0, len(values), size), axis=0)
        if size > 2 and (np.abs(sums - 1) < 1e-2).all():
            return size
    return 0


def advice(name: str, values: np.ndarray) -> str | None:
    """What to save instead of rows [b, c] most of which are no probabilities, but can be made such; None of others.

    Args:
        name: of the array, as ``target`` or ``shadows[2]``.
        values: its rows.
    """
    kind, array = mistaken_for(values), name.partition("[")[0]
    if kind == OVER_RECORDS:
        batch = _batch_of_columns(np.asarray(values, np.float64))
        classes = values.shape[1]
        flat = f"; or a flat array was reshaped by columns: save it as .reshape(-1, {classes})" * (batch == classes)
        within = "" if batch == len(values) else f" in each batch of {batch} rows"
        return (
            f"{name}: its columns sum to 1{within}, and its rows do not ({beginning(values[0])}): softmax was taken"
            " over the records (dim=0) and not over the classes: save the softmax of the logits over the last axis"
            f" (dim=-1){flat}"
        )
    if kind == "sigmoids" and values.sum(axis=1).max() <= 1:
        return (
            f"{name}: its rows sum to less than 1 ({beginning(values[0])}), as where the column of a class is missing,"
            " or some rows have no class above a threshold: save all columns, and all probabilities"
        )
    if kind == "sigmoids":
        return (
            f"{name}: its rows look like independent sigmoids ({beginning(values[0])}), as of a model of several labels"
            f" at once: audit one label at a time, {array}[..., k] with labels y[:, k]; if each record has one class,"
            f" save {array} / {array}.sum(axis=-1, keepdims=True)"
        )
    if kind not in TURNED:
        return None
    turned = TURNED[kind].format(array)
    return f"{name}: its rows look like {kind} ({beginning(values[0])}): save {turned}, which are probabilities"


def of_no_class(name: str, values: np.ndarray) -> str | None:
    """What to leave out of rows [b, c] of which one column is no class's, as a table's index is; None where none is.

    Args:
        name: of the array.
        values: its rows.
    """
    if len(values) < ORDERED[0] or values.shape[1] < 2:
        return None
    array, finite = name.partition("[")[0], np.isfinite(values).all(axis=0)
    steps = np.diff(np.where(finite, values, 0.0), axis=0)
    whole = finite & (values == np.round(values)).all(axis=0) & (steps != 0).any(axis=0)
    rises = whole & ((steps >= 1).all(axis=0) | (steps <= -1).all(axis=0))
    for k in np.flatnonzero(whole):
        counts, rest = rises[k] and rises.sum() == 1, np.delete(values, k, axis=1)
        if not counts and (np.abs(rest.sum(axis=1) - 1) > WHOLE).any():
            continue
        what = "counts the rows, as the index of a table does" if counts else "is no class's, for the others sum to 1"
        also = " (pandas writes none with index=False)" if counts else ": the predicted class, or an index?"
        return (
            f"{name}: column {k} {what} ({beginning(values[0])}, then {beginning(values[1])}){also}: save"
            f" np.delete({array}, {k}, axis=-1)"
        )
    return None


def of_quantized_logits(name: str, rows: np.ndarray) -> str | None:
    """What to save instead of rows [b, c] that are the bytes of a quantized model's logits; None of other numbers.

    Args:
        name: of the array.
        rows: its rows.
    """
    low, high = float(rows.min()), float(rows.max())
    whole = bool((rows == np.round(rows)).all())
    if not whole or not -128 <= low < 0 or not low + QUANTIZED <= high <= 127:
        return None
    return (
        f"{name}: its numbers are whole ones from {low:.0f} to {high:.0f} ({beginning(rows[0])}), as the"
        " bytes of a quantized model's logits: save (q - zero_point) * scale of them, by the quantization of its output"
        " (get_output_details), or the softmax of that"
    )


def of_another_type(name: str, values: np.ndarray) -> str | None:
    """What is wrong with an array [..., c] of a type that holds no probabilities, and what to do; None where it may.

    Args:
        name: of the array.
        values: it.
    """
    kind = values.dtype.kind
    if kind in "US":
        some = np.char.strip(values.reshape(-1)[:64].astype(str))
        what = "percentages" if np.char.endswith(some, "%").all() else "numbers"
        turned = f"np.char.rstrip({name}.astype(str), '% ').astype(float) / 100"
        turned = turned if what == "percentages" else f"{name}.astype(float)"
        return f"{name} has type {values.dtype}, {what} written as text ({some[0]}): save {turned}"
    if kind == "V":
        return f"{name} {npz.odd(values.dtype, name.partition('[')[0])}"
    if kind in "biu":
        rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 and values.size else None
        alone = f"; where these are classes, np.eye(c)[{name}] says so" if values.ndim == 1 else ""
        needed = f"{name} has type {values.dtype}; needed: floating-point probabilities, as of predict_proba{alone}"
        return (None if rows is None else advice(name, rows) or of_quantized_logits(name, rows)) or needed
    return None


def mended(p: np.ndarray, row: int, name: str = "p", verb: str = "save") -> str:
    """What to do about a row that is no answer, in a clause.

    Args:
        p: answers [n, c].
        row: the one that is none.
        name: of the array.
        verb: what is done with probabilities: save, return.
    """
    left_out, array = "leave that record out of all arrays, or", name.partition("[")[0]
    if not np.isfinite(p[row]).all():
        return f"{left_out} ask again"
    total = p.sum(axis=1)
    far = np.abs(total - 1) >= 0.25  # of what is rounded or clipped none is
    if (p < 0).any() or not p[row].any() or (far.mean() > 0.1 and np.ptp(total) > 0.1 * total.max()):
        return f"{verb} probabilities, as softmax gives them"
    few = bool(far.any()) and far.mean() <= 0.1
    return (f"{left_out} " if few else "") + f"{verb} {array} / {array}.sum(axis=-1, keepdims=True)"


def beginning(row: np.ndarray) -> str:
    """The first numbers of a row [c], as an example in a message."""
    return "[" + ", ".join(f"{v:.4g}" for v in row[:4]) + (", ...]" if len(row) > 4 else "]")
