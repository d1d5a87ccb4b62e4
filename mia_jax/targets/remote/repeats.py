"""Whether a service gives the same answer to the same question: a few records are asked about again, alone or with few.

Answers that differ each time, of a model with noise or of two models that take turns, make scores noisy: that is told.
Answers that stand in another order than the records of a request belong to nobody: such a service is refused; and one
that answers rows past the k-th of a request with what is no answer about them: its last one again, a constant.
"""

from collections.abc import Callable

import numpy as np

from mia_jax.targets.black_box import TargetError
from mia_jax.targets.remote import earlier
from mia_jax.types import Answers

REPEATED = 8  # questions: three records alone, the same once more, and two in a request
ALONE = 3
LATE = 8  # rows of the second half of the first large request, asked about again in a small one
GARBAGE = 0.1  # total variation; no batch of another size moves an answer so far
SAME = earlier.ALIKE / 10  # nats between answers that are one and the same
COARSE_DIGITS = 1  # so few, or labels: many records have the same answer, and no place in a batch can be told

TWO_MODELS = "two models behind one URL (a canary rollout, replicas of two versions): ask one revision by its own URL"


class OtherOrder(TargetError):
    """Answers to a request of several records belong to other records than those asked about."""


def chosen(records: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the records of a probe are asked about again: those alone, and those together in one request."""
    some = np.unique(np.linspace(min(1, records - 1), records - 1, 5).round().astype(int))
    return some[::2][:ALONE], some[1::2]


def check(
    log_p: np.ndarray,
    answers: Answers,
    step: int,
    ask: Callable[[np.ndarray, int], np.ndarray],
    notify: Callable[[str], None],
) -> float | None:
    """Ask about some records of a probe again.

    Args:
        log_p: what was answered to the probe [b, c].
        answers: their format.
        step: records that a request of the probe had.
        ask: (places in the probe, in how many requests) -> log-probabilities [places, c] as they are answered now.
        notify: gets a warning where answers differ.

    Returns:
        The largest difference of a probability; None where answers differ by no more than rounding.

    Raises:
        OtherOrder: a request of several records brings answers that belong to other ones.
    """
    alone, together = chosen(len(log_p))
    now = ask(alone, len(alone))
    again = ask(alone, len(alone))  # an odd number later: of two models that take turns it is the other one's turn
    then = log_p[alone]
    pairs = [(then, now), (then, again), (now, again)]
    if len(together):
        pairs.append((log_p[together], ask(together, 1)))
    apart = [earlier.distance(*pair, answers.digits) for pair in pairs]
    steady = apart[2].max() <= earlier.ALIKE / 10
    if steady and max(d.max() for d in apart) <= earlier.ALIKE:
        return None
    moved = apart[0] > earlier.ALIKE
    step = min(step, len(log_p))
    if steady and moved.any() and step > 1:
        _refuse_other_order(log_p, answers, step, alone[moved], now[moved])
    most = max(earlier.largest(*pair) for pair in pairs)
    if steady:
        notify(
            f"warning: records get other answers in a request of several than alone, by up to {most:.2g}:"
            f" {_of_the_rest(then, now, answers)}"
        )
    else:
        notify(differs(len(alone), most))
    return most


def _of_the_rest(then: np.ndarray, now: np.ndarray, answers: Answers) -> str:
    """What to do where the answer to a record depends on the others of its request.

    Args:
        then, now: answers [m, c] to the same records among others, and to each alone.
        answers: their format.
    """
    cause = "preprocessing that is fitted to each request (a scaler), or batch statistics, does so"

    def are_one(log_p: np.ndarray) -> bool:
        return bool(
            (earlier.distance(log_p[1:], np.repeat(log_p[:1], len(log_p) - 1, 0), answers.digits) <= SAME).all()
        )

    if len(now) > 1 and are_one(now) and not are_one(then):  # by one row at a time the answers would be lost
        return (
            f"{cause}, and asked alone {len(now)} different records get one and the same answer, so"
            " `rows_per_request=1` would not help: ask how the service preprocesses, and have it use the training's"
            " statistics; until then give records in random order, members among the others, so that each (large)"
            " request has as many of both"
        )
    return f"ask about one at a time (`rows_per_request=1`), and ask how the service preprocesses: {cause}"


def differs(records: int, most: float) -> str:
    """The warning about a service that answers differently each time, by up to ``most``."""
    return (
        f"warning: the service answers differently each time: {records} records were asked about twice, and a"
        f" probability differs by up to {most:.2g}; scores are noisy by that, of this run and of the next. A model with"
        f" noise does so, and {TWO_MODELS}"
    )


def of_two_models(other: int, records: int, most: float) -> str:
    """The warning about a service that answers ``other`` of some records otherwise than before, and not the oldest."""
    return (
        f"warning: asked again after all, {other} of {records} records have other answers than before, by up to"
        f" {most:.2g}, and those that were answered first have the same: so do {TWO_MODELS}. The scores are of both"
    )


def late(rows: int) -> np.ndarray:
    """Which rows of a request of so many are asked about again in a small one."""
    return np.unique(np.linspace(rows // 2, rows - 1, LATE).round().astype(int))


def check_large(
    log_p: np.ndarray,
    answers: Answers,
    few: int,
    ask: Callable[[np.ndarray], np.ndarray],
    notify: Callable[[str], None],
) -> float | None:
    """Ask about the late rows of a large request again, in a small one, and once more where they differ.

    Args:
        log_p: what was answered to a large request [b, c], about records that differ.
        answers: their format.
        few: records of a request that is small, as the probe was.
        ask: places in the request -> log-probabilities [places, c] as they are answered now.
        notify: gets a warning where answers differ.

    Returns:
        The largest difference of a probability; None where answers differ by no more than rounding.

    Raises:
        OtherOrder: rows past some place get the answer of another row, or one and the same answer.
    """
    rows = late(len(log_p))
    then, now = log_p[rows], ask(rows)
    moved = earlier.distance(then, now, answers.digits) > earlier.ALIKE
    if not moved.any():
        return None
    again = ask(rows[moved])
    most = earlier.largest(then[moved], now[moved])
    if (earlier.distance(now[moved], again, answers.digits) > earlier.ALIKE / 10).any():
        notify(differs(len(rows), most))
        return most
    _, same = np.unique(log_p, axis=0, return_inverse=True)
    same = same.reshape(-1)
    repeated = (np.bincount(same)[same[rows[moved]]] > 1).all()
    far = 0.5 * np.abs(np.exp(then[moved]) - np.exp(now[moved])).sum(axis=1).max() > GARBAGE
    coarse = answers.kind == "labels" or (answers.digits or 9) <= COARSE_DIGITS
    if repeated and far and moved.sum() > coarse:
        place = _repeated_from(same)
        where = f"rows past number {place}" if place else "late rows"
        raise OtherOrder(
            f"{int(moved.sum())} of {len(rows)} late rows of a request of {len(log_p)} have the answer of another row,"
            f" and another one when asked with few: answers to {where} of a request are repeated, or a constant; ask"
            f" with `rows_per_request={place or few}`, or mend the service"
        )
    notify(
        f"warning: records get other answers in a request of {len(log_p)} than in one of {len(rows)}, by up to"
        f" {most:.2g}: ask about few at a time (`rows_per_request={few}`), which is no help where a cache of similar"
        " queries answers, and not the model"
    )
    return most


def _repeated_from(same: np.ndarray) -> int:
    """After how many rows a request's answers, as numbers int [b], are one that stays, or begin anew; 0: neither."""
    other = np.flatnonzero(same != same[-1])
    end = int(other[-1]) + 1 if len(other) else 0  # from there on all are the same
    if end and len(same) - end > 2:
        return end
    return next((k for k in range(1, len(same) - LATE) if (same[k:] == same[:-k]).all()), 0)


def _refuse_other_order(log_p: np.ndarray, answers: Answers, step: int, rows: np.ndarray, now: np.ndarray) -> None:
    """Refuse where the answers [m, c] that ``rows`` of a probe have alone are those of other rows of it."""
    hint = "ask with `rows_per_request=1`, or mend the service"
    first = log_p[np.arange(len(log_p)) // step * step]
    if (earlier.distance(log_p, first, answers.digits) <= earlier.ALIKE).all():
        raise OtherOrder(
            f"all records of a request of {step} get the same answer, and asked alone {len(rows)} of {ALONE} get"
            f" another: the service answers about one record of a request; {hint}"
        )
    coarse = answers.kind == "labels" or (answers.digits or 9) <= COARSE_DIGITS
    fits = [
        (earlier.distance(log_p, np.broadcast_to(one, log_p.shape), answers.digits) <= earlier.ALIKE) for one in now
    ]
    if len(rows) > 1 and not coarse and all(fit.any() for fit in fits):
        raise OtherOrder(
            f"asked alone, {len(rows)} of {ALONE} records get another answer than in a request of {step}, one that"
            f" another row of it has: the service does not keep the order of a request; {hint}"
        )
