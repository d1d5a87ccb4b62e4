"""Whether labels, a target's answers and shadows' answers are about the same records and the same classes.

Labels that are shifted by one, rows in another order and exchanged columns change every score and stop nothing. They
show where a model's answers go with the labels no better than by chance and others' do, or where the records that
are hard for the target are not those that are hard for the shadows. NumPy and SciPy; never imports jax.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from mia_jax.checks import naming
from mia_jax.checks.chance import MARGIN, TELLING, Beyond, beyond_chance
from mia_jax.checks.labels import guessing
from mia_jax.checks.naming import percent
from mia_jax.types import Array

SOME = 50  # rows that are sorted, and no fewer
END = 0.05  # how near the ends of 0 to 1 what a sigmoid was taken of comes
ENDS = 4  # records, but for the last, that do
SURER = 0.1  # of class 0 than it is frequent, are sorted answers
STRONG = 0.5  # kappa of models beside which one that guesses was not merely trained for too short a time
FITS = 2 / 3  # of what is right with the best numbering of the columns, that is right as they are


def of_answers(labels: Array, target: Array, shadows: Array | Sequence[Array]) -> tuple[str, ...]:
    """Why answers that were obtained elsewhere may not belong together, in sentences; () where they seem to.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        shadows: probabilities [S, n, c].
    """
    labels, classes = np.asarray(labels), np.shape(target)[1]
    if said := _of_no_class(labels, target, shadows):
        return (said,)
    answer = np.argmax(np.asarray(target), axis=1)
    each = np.stack([np.argmax(np.asarray(p), axis=1) for p in shadows])
    right, each_right = (answer == labels).mean(), (each == labels).mean(axis=1)
    own, beyond = beyond_chance(labels, answer, classes), [beyond_chance(labels, row, classes) for row in each]
    good = np.array([one.knows for one in beyond])
    if (own.knows or good.any()) and (said := _all_exchanged(labels, answer, each, classes)):
        return (said,)
    if not good.any():
        return tuple(_without_good(labels, answer, each, classes, shadows, own, beyond))
    found, usual = [], float(np.median([one.gain for one, knows in zip(beyond, good, strict=True) if knows]))
    guesses = np.array([_guesses(one, usual) for one in (own, *beyond)])
    kappas = np.array([one.kappa for one in beyond])
    strong = bool(np.median(kappas[good]) >= STRONG)
    gains = np.array([one.gain for one in (own, *beyond)])
    if guesses[0] and (strong or _exchanged(labels, answer, classes) or guessing.apart(gains, guesses, own.error)[0]):
        found.append(
            f"The target is right on {percent(right)} of the records, {_no_better(labels)}, and the shadows on"
            f" {percent(np.median(each_right))}{_cause(labels, answer, classes, 'its')}"
        )
    elif said := _of_columns(labels, answer, each, classes, strong):
        found.append(said)
    bad = np.flatnonzero(guesses[1:])
    if own.knows and strong and len(bad) and not any("The columns of shadow" in text for text in found):
        found.append(_some_guess(labels, bad, each_right, good))
    if not found and guessing.out_of_step(labels, target, shadows):
        found.append(
            "The records that are hard for the target are not those that are hard for the shadows, which agree with"
            " each other: the target's rows seem to be in another order than theirs."
        )
    return tuple(found)


def of_target(labels: Array, target: Array, member: Array | None = None) -> tuple[str, ...]:
    """Why a target's answers, beside which there are no shadows, may not go with the labels, in sentences.

    Where members are known they tell, for of these the target should know most.

    Args:
        labels: int [n].
        target: probabilities [n, c].
        member: bool [n], who trained the target, where that is known.
    """
    labels, answer, classes = np.asarray(labels), np.argmax(np.asarray(target), axis=1), np.shape(target)[1]
    if said := _of_no_class(labels, target, ()):
        return (said,)
    rows = np.ones(len(labels), bool) if member is None else np.asarray(member, bool)
    if not rows.any():
        return ()
    labels, answer = labels[rows], answer[rows]
    exchanged = _exchanged(labels, answer, classes)
    columns, _ = _renumbered(labels, answer, classes)
    moved = [k for k in np.unique(labels) if columns[k] != k]
    if not exchanged or not beyond_chance(labels, np.argsort(columns)[answer], classes).knows:
        return ()
    whole = beyond_chance(labels, answer, classes).z <= MARGIN
    if not whole and any((answer[labels == k] == columns[k]).mean() < FITS for k in moved):
        return ()  # of a network that hardly learned another order fits better, too
    right = (answer == labels).mean()
    return (
        f"The target is right on {percent(right)} of {'the records' if member is None else 'its own members'}"
        f"{f', {_no_better(labels)}' if whole else ''}: the labels do not fit the columns of its answers; {exchanged}.",
    )


def notes(labels: Array, target: Array, shadows: Array | Sequence[Array]) -> tuple[str, ...]:
    """What is to be said of shadows that guess beside such as know little; labels int [n], probabilities [S, n, c]."""
    labels, classes = np.asarray(labels), np.shape(target)[1]
    each = np.stack([np.argmax(np.asarray(p), axis=1) for p in (target, *shadows)])
    beyond, right = [beyond_chance(labels, row, classes) for row in each], (each == labels).mean(axis=1)
    good = np.array([one.knows for one in beyond])
    if not good[1:].any():
        return ()
    gains = np.array([one.gain for one in beyond])
    guesses = np.array([_guesses(one, float(np.median(gains[1:][good[1:]]))) for one in beyond])
    bad = np.flatnonzero(guessing.apart(gains, guesses, beyond[0].error)[1:])
    return (_some_guess(labels, bad, right[1:], good[1:]),) if len(bad) else ()


def of_service(
    labels: Array, answered: Array, classes: int, shadow_accuracy: float, *, own: bool = False
) -> tuple[str, ...]:
    """Why the labels of somebody's file may not be a service's classes, in sentences; () where they seem to be.

    Args:
        labels: int [n], of the records asked about.
        answered: int [n], the class that the service thinks likeliest.
        classes: that the service answers.
        shadow_accuracy: of the shadows, on records that they were not trained on.
        own: these are the service's said members, and the accuracy is the shadows' on theirs.
    """
    labels, answered = np.asarray(labels), np.asarray(answered)
    right = (answered == labels).mean()
    if shadow_accuracy <= _bar(labels, classes):
        return ()
    beyond = beyond_chance(labels, answered, classes)
    if beyond.z > MARGIN or (beyond.most < TELLING and len(np.unique(answered)) > 1):
        exchanged = _exchanged(labels, answered, classes)
        return (f"The file's labels do not fit the service's classes: {exchanged}.",) if exchanged else ()
    asked, trained = ("its said members", "their own") if own else ("the records", "records new to them")
    return (
        f"The target is right on {percent(right)} of {asked}, {_no_better(labels)}, and the shadows on"
        f" {percent(shadow_accuracy)} of {trained}{_cause(labels, answered, classes, None)}",
    )


# --- pieces ----------------------------------------------------------------------------------------------------------


def _bar(labels: np.ndarray, classes: int) -> float:
    """What a model is right on that has learned something: more than the most frequent class's share, beyond chance."""
    chance = max(np.bincount(labels).max() / len(labels), 1 / classes)
    return float(chance + MARGIN * np.sqrt(chance * (1 - chance) / len(labels)))


def _of_no_class(labels: np.ndarray, target: Array, shadows: Array | Sequence[Array]) -> str | None:
    """What is to be said of answers whose largest number is in no order of columns that of the likeliest class."""
    ways = {
        _is_sorted: "fall from the first column to the last in every row: they seem to be sorted, and whose column is"
        " whose class is lost: save them in the order of the classes.",
        _is_sigmoid_of_p: "lie between .5 and .731 and reach both ends, as a sigmoid makes them of probabilities: it"
        " was applied twice: save np.log(p / (1 - p)) of these.",
        _is_reversed: "are smallest for the true class: they seem to be distances, losses or 1 - p: save"
        " probabilities.",
    }
    for holds, what in ways.items():
        own, each = holds(labels, np.asarray(target)), [holds(labels, np.asarray(p)) for p in shadows]
        if own or (each and all(each)):
            whose = "the target" if not each or not all(each) else "target and shadows" if own else "the shadows"
            return f"The answers of {whose} {what}"
    return None


def _is_sorted(labels: np.ndarray, p: np.ndarray) -> bool:
    surer = p[:, 0].mean() > (labels == 0).mean() + SURER  # a model that learned nothing but shares is as sure
    return bool(
        p.shape[1] > 2 and len(p) >= SOME and surer and len(np.unique(p[:, 0])) > 1 and (p[:, 1:] <= p[:, :-1]).all()
    )


def _is_sigmoid_of_p(labels: np.ndarray, p: np.ndarray) -> bool:
    """Whether probabilities [n, 2] of class 1 are sigmoids of such, and not near its share, as honest ones are."""
    if p.shape[1] != 2 or len(p) < SOME or not ((p[:, 1] > 0.4) & (p[:, 1] < 0.8)).all():
        return False
    inner = special.logit(p[:, 1].astype(np.float64))
    ends = np.sort(inner)[[0, ENDS, -1 - ENDS, -1]]
    inside = ends[0] > -END / 10 and ends[3] < 1 + END / 10 and ends[1] < END and ends[2] > 1 - END
    return bool(inside and abs(p[:, 1].mean() - (labels == 1).mean()) > END)


def _is_reversed(labels: np.ndarray, p: np.ndarray) -> bool:
    largest, least = (beyond_chance(labels, pick(p, axis=1), p.shape[1]) for pick in (np.argmax, np.argmin))
    return p.shape[1] > 2 and largest.z < -MARGIN and least.knows and least.gain > 2 * abs(largest.gain)


def _guesses(model: Beyond, usual: float) -> bool:
    """Whether a model may be guessing where others are right on ``usual`` records more than by chance."""
    return model.z <= MARGIN and model.gain < usual / 3


def _some_guess(labels: np.ndarray, bad: np.ndarray, each_right: np.ndarray, good: np.ndarray) -> str:
    """The sentence on shadows int [k] that guess; float [S], what each is right on; bool [S], who knows the classes."""
    one = len(bad) == 1
    return (
        f"{naming.shadows(bad).capitalize()} {'is' if one else 'are'} right on {percent(each_right[bad].mean())} of"
        f" the records, {_no_better(labels)}, and the others on {percent(each_right[good].mean())}: see whether"
        f" {'its' if one else 'their'} rows and columns are those of the target, or leave"
        f" {'it' if one else 'them'} out."
    )


def _ranks_classes(labels: np.ndarray, probabilities: Array | Sequence[Array]) -> bool:
    """Whether, for some class, the models' mean probability of it is larger where it is the label: its AUC."""
    mean = np.mean([np.asarray(p, np.float64) for p in probabilities], axis=0)  # of float16 SciPy makes NaN
    used = [k for k in np.unique(labels) if 0 < (labels == k).sum() < len(labels)]
    level = stats.norm.sf(MARGIN) / max(len(used), 1)
    return any(
        stats.mannwhitneyu(mean[labels == k, k], mean[labels != k, k], alternative="greater").pvalue < level
        for k in used
    )


def _no_better(labels: np.ndarray) -> str:
    return f"no better than guessing (the most frequent class is {percent(np.bincount(labels).max() / len(labels))})"


def _consensus(each: np.ndarray, classes: int) -> np.ndarray:
    """int [n]: the class that most of the models [S, n] answer."""
    votes = np.zeros((each.shape[1], classes), np.int32)
    for row in each:
        votes[np.arange(len(row)), row] += 1
    return votes.argmax(axis=1)


def _renumbered(labels: np.ndarray, answered: np.ndarray, classes: int) -> tuple[np.ndarray, float]:
    """The numbering [c] of the answers that fits the labels best, class -> column, and the share that is right then."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, answered), 1)
    _, columns = optimize.linear_sum_assignment(table, maximize=True)
    return columns, float(table[np.arange(classes), columns].sum() / len(labels))


def _exchanged(labels: np.ndarray, answered: np.ndarray, classes: int) -> str | None:
    """How columns look to be exchanged, where another numbering fits much better than the given one; else None."""
    columns, right = _renumbered(labels, answered, classes)
    gain = (right - (answered == labels).mean()) * len(labels)
    moved = np.isin(labels, np.flatnonzero(columns != np.arange(classes))).sum()
    numbered = np.argsort(columns)[answered]
    best = MARGIN + np.sqrt(2 * special.gammaln(classes + 1))  # standard errors: the best of all orders, by chance
    fits = right > _bar(labels, classes) or beyond_chance(labels, numbered, classes).z > best
    if not fits or gain < max(10.0, 0.3 * moved, 5 * np.sqrt(moved)):
        return None
    used = np.unique(labels)  # of the others nothing is known
    steps = np.unique((columns[used] - used) % classes)
    if len(steps) == 1 and len(used) > 2:
        by = int(steps[0]) if steps[0] <= classes // 2 else int(steps[0]) - classes
        pairs = ", or columns are decisions between pairs of classes (decision_function_shape='ovo')"
        text = f"they seem to be shifted: class k of the labels is column k {'+' if by > 0 else '-'} {abs(by)}"
        return text + pairs * (classes == 3)
    wrong = [k for k in used if columns[k] != k]
    pairs = ", ".join(f"{k} is column {columns[k]}" for k in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
    text = any(np.array_equal(columns[used], _as_text(classes, first)[used]) for first in (0, 1))
    why = ", as numbers sorted as text are" if text else ""
    return f"they seem to be in another order: class {pairs}{why} ({percent(right)} are right then)"


def _of_columns(labels: np.ndarray, answered: np.ndarray, each: np.ndarray, classes: int, strong: bool) -> str | None:
    """What is to be said of a target, of all shadows or of some, of which a few columns are exchanged and others' not.

    Args:
        labels, answered: int [n].
        each: int [S, n], the shadows' classes.
        classes: their number.
        strong: shadows know so much that one that does not was not merely trained for too short a time.
    """
    consensus = _consensus(each, classes)
    own, of_shadows = _exchanged(labels, answered, classes), _exchanged(labels, consensus, classes)
    most_fit = np.mean([_fits(labels, row, classes) for row in each]) >= 0.5
    if own and not of_shadows:
        return f"The target's columns do not fit the labels: {own}." if most_fit else None
    if own or not _fits(labels, answered, classes):
        return None
    if of_shadows:
        return f"The shadows' columns do not fit the labels, and the target's do: {of_shadows}."
    odd = {int(k): said for k in range(len(each)) if (said := _exchanged(labels, each[k], classes))}
    if not odd or not most_fit or not strong:
        return None
    return (
        f"The columns of {naming.shadows(list(odd))} do not fit the labels, and those of the target and"
        f" of the other shadows do: {next(iter(odd.values()))}. See in which order these files have the classes."
    )


def _fits(labels: np.ndarray, answered: np.ndarray, classes: int) -> bool:
    """Whether columns are the labels' classes: of networks that hardly learned, another order fits better."""
    return (answered == labels).mean() >= FITS * _renumbered(labels, answered, classes)[1]


def _as_text(classes: int, first: int) -> np.ndarray:
    """int [c]: the column of each class where the classes' numbers, from ``first`` on, were sorted as text."""
    return np.argsort(sorted(range(classes), key=lambda k: str(k + first)))


def _all_exchanged(labels: np.ndarray, answered: np.ndarray, each: np.ndarray, classes: int) -> str | None:
    """What is to be said where all models' columns are exchanged in the same way, though some answers are right."""
    consensus = _consensus(each, classes)
    exchanged = _exchanged(labels, consensus, classes)
    if not exchanged or not _exchanged(labels, answered, classes):
        return None
    own, of_shadows = (_renumbered(labels, a, classes)[0] for a in (answered, consensus))
    moved = np.intersect1d(labels, np.flatnonzero(of_shadows != np.arange(classes)))
    if (own[moved] == of_shadows[moved]).mean() < 0.8:  # of a rare class one model may say little
        return None
    return (
        f"The target is right on {percent((answered == labels).mean())} of the records, and the shadows on"
        f" {percent((each == labels).mean())}: the labels do not fit the columns of all models; {exchanged}."
    )


def _cause(labels: np.ndarray, answered: np.ndarray, classes: int, whose: str | None) -> str:
    """The likely cause of answers no better than guessing, after a colon; ``whose`` None: a service's."""
    if exchanged := _exchanged(labels, answered, classes):
        if whose is None:
            return f": the file's labels do not fit the service's classes; {exchanged}."
        return f": {whose} columns do not fit the labels; {exchanged}."
    if len(np.unique(answered)) == 1:
        lost = "" if answered[0] else "; rows that are sorted, the best first, have lost their classes"
        return f": the answer is class {answered[0]} everywhere, as of records without the training's scaling{lost}."
    if whose is None:
        return ": see whether the service was trained on such records, with these labels and these features."
    return (
        f": {whose} rows seem to be in another order than the labels, or {whose} columns to be no classes of these, or"
        " it was asked about records otherwise than in its training (unit, scaling, order of features), or weights were"
        " not loaded."
    )


def _without_good(
    labels: np.ndarray,
    own: np.ndarray,
    each: np.ndarray,
    classes: int,
    shadows: Array | Sequence[Array],
    beyond: Beyond,
    each_beyond: Sequence[Beyond],
) -> list[str]:
    """No shadow knows the classes: whether the target does, or they do not fit the labels alone."""
    if any(one.z > MARGIN for one in each_beyond):
        return []
    if beyond.knows:
        return [
            f"The shadows are right on {percent((each == labels).mean())} of the records, {_no_better(labels)}, and"
            f" the target on {percent((own == labels).mean())}"
            f"{_cause(labels, _consensus(each, classes), classes, 'their')}"
        ]
    return [] if beyond.z > MARGIN else _labels(labels, own, each, classes, shadows)


def _labels(
    labels: np.ndarray, own: np.ndarray, each: np.ndarray, classes: int, shadows: Array | Sequence[Array]
) -> list[str]:
    """Neither the target nor the shadows fit the labels: whether they fit each other."""
    consensus = _consensus(each, classes)
    said = (
        f"The target is right on {percent((own == labels).mean())} of the records and the shadows on"
        f" {percent((each == labels).mean())}, {_no_better(labels)}"
    )
    if exchanged := _exchanged(labels, consensus, classes):
        return [f"{said}: the labels do not fit the columns; {exchanged}."]
    if beyond_chance(labels, consensus, classes).most < TELLING or _ranks_classes(labels, shadows):
        return []  # few records of other classes, or models that know too little to answer a rare class
    shares = [np.bincount(a, minlength=classes) / len(labels) for a in (own, consensus)]
    chance = float(shares[0] @ shares[1])
    if (own == consensus).mean() > chance + 2 * MARGIN * np.sqrt(chance * (1 - chance) / len(labels)):
        return [
            f"{said}, yet they agree with each other: the labels seem to be in another order than the answers, or all"
            " answers were reshaped by columns where rows were meant."
        ]
    return []
