"""Numbers that hang together with those of the rows around: batches' means, sorted numbers, running totals and means.

A number per record differs from record to record; equal ones that stand side by side, as many each time and at the same
places, are no accident, and neither are numbers that only rise, in several models. NumPy and SciPy; never imports jax.
"""

import numpy as np
from scipy import stats

from mia_jax.checks import naming, samples
from mia_jax.types import Array

SHORT = 3  # equal numbers side by side, at least
PAIRS = 20  # of equal numbers, which nearly all rows are in
RUNS, SHARE = 4, 0.05  # runs of one length, and the rows that are in such, at least
ONE_LENGTH = 0.8  # of all runs (the last batch is a shorter one)
SCATTERED = 8  # values that recur equally often, wherever, at least
VARIOUS = 0.9  # of the runs differ from each other, and so do the other numbers
STEPS, BACK = 50, 1  # steps from row to row that all go one way, at least, but for so many (a file of two sorted parts)
HANGS = 0.5  # rank correlation of what neighboring rows differ by from the other models'
# Standard errors by which the step to a record tells who trained on it, and the share of it of the step after it, which
# tells it as well, with the other sign, where a number is the record's own.
TOLD, AFTER = 7.0, 1 / 3
WINDOW = 5  # rows after, and before, over which means are looked for
MODELS, SAMPLE = 32, 16384  # that this is told by: rows that stand side by side


def doubts(models: Array) -> tuple[str, ...]:
    """Why numbers may be batches' means, in a sentence; () where they seem to be each record's own.

    Args:
        models: float [1 + S, n], of target and shadows.
    """
    found = {k: length for k, row in enumerate(np.asarray(models)) if (length := _length(row))}
    if not found:
        return ()
    whose = _whose(list(found), len(models))
    length = next(iter(found.values()))
    return (
        f"The numbers of {whose} recur {length} times, row after row: they seem to be the mean of a batch, saved for"
        f" each of its records, or of {length} copies of each record. Save one number for each record"
        " (reduction='none', or batches of one record).",
    )


def scattered(models: Array, trained: Array, member: Array | None = None) -> tuple[str, ...]:
    """Why numbers may be means of batches whose records are anywhere in the file, in a sentence.

    So are those of a loader that shuffles, and of one for members beside one for the others. Such a mean recurs as
    often as a batch has records. Where there are few batches, no value is both of a member and of another record,
    though values recur on both sides; of models that know few values, some are.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where it is known.
    """
    models, who = np.asarray(models), [member, *np.asarray(trained, bool)]
    often = {k: times for k, row in enumerate(models) if (times := _recurs(row))}
    if often:
        times = next(iter(often.values()))
        often = {k: one for k, one in often.items() if one == times}
        text = (
            f"recur {times} times: they seem to be the mean of a batch, saved for each of its records, or each record"
        )
        whose, apart = _whose(list(often), len(models)), f"{text} is there {times} times."
    else:
        sides = [
            _on_two_sides(row, np.asarray(mine, bool))
            for row, mine in zip(models, who, strict=True)
            if mine is not None
        ]
        if not sides or not all(sides):
            return ()
        whose = "all models" if member is not None else "the shadows"
        apart = (
            "recur, and none is both of a member and of another record: they seem to be means of batches, of members"
            " and of others apart."
        )
    return (f"The numbers of {whose} {apart} Save one number for each record (reduction='none').",)


def _recurs(row: np.ndarray) -> int:
    """How often nearly each number of a model [n] recurs; 0 where that is not one number."""
    counts = np.unique(row, return_counts=True)[1]
    if not (long := counts[counts >= SHORT]).size:
        return 0
    times = int(np.bincount(long).argmax())
    alike = int((long == times).sum())
    return times if alike >= SCATTERED and alike * times >= ONE_LENGTH * len(row) else 0


def _on_two_sides(row: np.ndarray, mine: np.ndarray) -> bool:
    """Whether numbers [n] recur among members and among others, and none is of both."""
    members, others = np.unique(row[mine]), np.unique(row[~mine])
    few = 1 < len(members) <= mine.sum() / SHORT and 1 < len(others) <= (~mine).sum() / SHORT
    return bool(few and not np.isin(members, others).any())


def _length(row: np.ndarray) -> int:
    """How many equal numbers stand side by side, in runs of one length; 0 where none do."""
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    lengths = np.diff(np.r_[starts, len(row)])
    long = lengths >= SHORT
    if long.sum() < RUNS:
        return 2 if _in_pairs(row) else 0
    length = int(np.bincount(lengths[long]).argmax())
    of_it = lengths == length
    values = row[starts]
    various = len(np.unique(values)) >= VARIOUS * len(values)
    at = np.bincount(starts[of_it] % length).max()  # batches begin at multiples of their size, after one place
    enough = of_it.sum() >= RUNS and length * of_it.sum() >= SHARE * len(row)
    return length if enough and various and min(at, of_it.sum()) >= ONE_LENGTH * long.sum() else 0


def _in_pairs(row: np.ndarray) -> bool:
    """Whether rows 0 and 1, 2 and 3, ... have one number each, and these differ."""
    first, second = row[0 : len(row) - 1 : 2], row[1::2]
    pairs = np.sum(first == second)
    return pairs >= max(PAIRS, VARIOUS * len(first)) and len(np.unique(first)) >= VARIOUS * len(first)


def in_order(models: Array) -> tuple[str, ...]:
    """Why numbers may be sorted, or running totals, in a sentence: several models' only rise, or fall, in the file.

    Rows may be in the order of one model's numbers; another's then rise without an exception only where models hardly
    differ, and not alike in neighboring rows, as sorted numbers do.

    Args:
        models: float [1 + S, n], of target and shadows.
    """
    models = np.asarray(models, np.float64)
    found = [k for k, row in enumerate(models) if _one_way(row)]
    if len(found) < 2:
        return ()
    apart = stats.rankdata(models[found] - models[found].mean(axis=0), axis=1)
    if min(samples.correlation(row[1:], row[:-1]) for row in apart) < HANGS:
        return ()
    return (
        f"The numbers of {_whose(found, len(models))} rise, or fall, from row to row without an exception: they seem to"
        " be sorted, each model's by themselves, or to be running totals. Save each record's own number, in the order"
        " of the records.",
    )


def running(models: Array, trained: Array, member: Array | None = None) -> tuple[str, ...]:
    """Why numbers may be running totals or means, in a sentence: what a record adds stays in the rows after it.

    Who trained on a record shows in the step to its number. It shows in the step after it, too, with the other sign,
    unless the next row's number still has it.

    Args:
        models: float [1 + S, n], of target and shadows.
        trained: bool [S, n], who trained the shadows.
        member: bool [n], who trained the target, where it is known.
    """
    some = samples.models(len(trained), MODELS, member is not None)
    models = np.asarray(models, np.float64)[some, :SAMPLE]
    who = np.vstack([np.zeros(np.shape(trained)[1], bool) if member is None else member, trained])[some, :SAMPLE]
    who = who.astype(bool)
    if len(models) < 3 or models.shape[1] <= STEPS:
        return ()
    step = stats.rankdata(np.diff(models, axis=1), axis=1)
    before, after = _together(step, who[:, 1:]), _together(step, who[:, :-1])
    if before < TOLD or abs(after) > AFTER * before:
        return _of_both_sides(step, who)
    return (
        "Who trained on a record shows in the step from the row before to its number, and not in the step to the row"
        f" after it (by {before:.0f} and {abs(after):.1f} standard errors): numbers seem to be running totals, or means"
        " with the rows before. Save each record's own number.",
    )


def _of_both_sides(step: np.ndarray, who: np.ndarray) -> tuple[str, ...]:
    """Whether numbers are means with rows after, too: the step to one is the row that enters less one that left.

    Args:
        step: float [K, n - 1], ranks of the differences from row to row.
        who: bool [K, n].
    """
    n = step.shape[1] - 2 * WINDOW
    if n <= STEPS:
        return ()
    inner = step[:, WINDOW : WINDOW + n]  # to row WINDOW + 1 and on
    by_row = {by: _together(inner, who[:, WINDOW + 1 + by :][:, :n]) for by in range(-WINDOW - 1, WINDOW + 1)}
    enters, left = max(by_row, key=by_row.__getitem__), min(by_row, key=by_row.__getitem__)
    told = by_row[enters]
    if told < TOLD or by_row[left] > -told / 2 or enters < 1 or left >= 0:  # that of slipped ones is the row before
        return ()
    if max(abs(by_row[by]) for by in range(left + 1, enters)) > AFTER * told:
        return ()
    return (
        f"Who trained on a record shows in the step to the number {enters} before it and in the step to the number"
        f" {-left} after it, and not in those of its own: numbers seem to be means over {enters - left} rows, with the"
        " rows after. Save each record's own number.",
    )


def _whose(found: list[int], count: int) -> str:
    return "the target and the shadows" if len(found) == count else naming.models(found)


def _one_way(row: np.ndarray) -> bool:
    up, down = int((row[1:] > row[:-1]).sum()), int((row[1:] < row[:-1]).sum())
    return max(up, down) > STEPS and min(up, down) <= BACK


def _together(numbers: np.ndarray, who: np.ndarray) -> float:
    """How numbers [K, n] go with who trained whom, each without the mean of its record, in standard errors."""
    told = []
    for each in (numbers, who.astype(np.float64)):
        each = each - each.mean(axis=0)
        each = each - each.mean(axis=1, keepdims=True)
        told.append(each / np.maximum(np.sqrt((each**2).sum(axis=1, keepdims=True)), 1e-9))
    z = (told[0] * told[1]).sum(axis=1) * np.sqrt(numbers.shape[1] - 1)
    return float(z.sum() / np.sqrt(len(z)))
