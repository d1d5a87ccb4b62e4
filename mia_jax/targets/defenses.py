"""What a target can do to its answers (Shokri et al. 2017, section VIII), as functions that compose.

Each defense maps log-probabilities [b, c] to log-probabilities [b, c], inside ``jit`` or on a host's arrays, and knows
what the answers look like afterwards. What is hidden becomes a floor that tells nothing: ``HIDDEN`` where a probability
is not told, log(10^-d / 2) where it is rounded to zero at d digits. Those are the floors that
``answer_format.log_probabilities`` gives to a service's zeros, so shadows in process look like a remote target.

Defenses of the training are in ``training/regularizers.py`` and ``training/dp_sgd.py``.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import calls
from mia_jax.types import Answers, Array, InputError

HIDDEN = np.log(np.finfo(np.float32).tiny)  # float32, -87.3: the logarithm of a zero that nothing more is known of


@dataclasses.dataclass(frozen=True)  # and not a NamedTuple: ``jit`` takes it for the function that it is
class AnswerDefense:
    """A ``Defense`` that says what its answers look like."""

    name: str  # as ``parse`` reads it
    apply: Callable[[Array], jax.Array]  # log-probabilities [b, c] -> log-probabilities [b, c]
    after: Callable[[Answers], Answers]  # what answers look like before it -> and after it
    shows: bool = True  # all that it does is a matter of format: answers that look as after it are left alone

    def __call__(self, log_p: Array) -> jax.Array:
        return self.apply(log_p)

    def changes(self, answers: Answers) -> bool:
        """Whether it may change answers that look like these."""
        return not self.shows or self.after(answers) != answers


# --- the defenses ----------------------------------------------------------------------------------------------------


def top_k(k: int) -> AnswerDefense:
    """Only the k largest probabilities are told; among equals, those of the classes that come first.

    With k >= c the identity. They are not normalized again: the paper's "top k" vector is the answer with the rest
    left out.
    """
    k = _whole("top_k", "k", k, 1)

    def apply(log_p):
        log_p = jnp.asarray(log_p)
        if k >= log_p.shape[-1]:
            return log_p
        _, best = jax.lax.top_k(log_p, k)
        kept = jnp.put_along_axis(jnp.zeros(log_p.shape, bool), best, True, axis=-1, inplace=False)
        return jnp.where(kept, jnp.maximum(log_p, HIDDEN), HIDDEN)

    def after(answers):
        if answers.kind == "labels" or k >= answers.classes:
            return answers
        return answers._replace(kind="top_k", k=k if answers.k is None else min(k, answers.k), least=None)

    return AnswerDefense(f"top_k({k})", apply, after)


def label_only() -> AnswerDefense:
    """Only the most likely class is told, as one-hot probabilities; among equals, the first."""

    def apply(log_p):
        log_p = jnp.asarray(log_p)
        label = jnp.argmax(log_p, axis=-1, keepdims=True)
        return jnp.where(label == _columns(log_p), jnp.zeros_like(log_p), HIDDEN)

    return AnswerDefense("label_only()", apply, lambda answers: Answers(answers.classes, "labels"))


def round_to(digits: int) -> AnswerDefense:
    """Probabilities are rounded to so many decimal digits, half to even, and need not sum to one any more.

    Args:
        digits: 1 to 7: float32 tells no more apart.
    """
    digits = _whole("round_to", "digits", digits, 1, 7)

    def apply(log_p):
        rounded = jnp.round(jnp.exp(jnp.asarray(log_p)) * 10.0**digits)
        return jnp.log(jnp.maximum(rounded, 0.5) / 10.0**digits)

    def after(answers):
        told = digits if answers.digits is None else min(digits, answers.digits)
        if answers.kind == "thresholded" and 10.0**-digits < (answers.least or 0.0):
            return answers._replace(digits=told)
        return _whole_rows(answers)._replace(digits=told, least=None)

    return AnswerDefense(f"round_to({digits})", apply, after)


def at_least(p: float) -> AnswerDefense:
    """Probabilities below p are told as zero, or not at all: as of a forest, whose trees vote, or by a threshold.

    Args:
        p: within (0, 1].
    """
    p = _number("at_least", "p", p)
    if not 0 < p <= 1:
        raise InputError(f"at_least({p}): p must be above 0 and not above 1")

    def apply(log_p):
        log_p, least = jnp.asarray(log_p), np.float32(np.log(p))
        return jnp.where(log_p < least, np.float32(np.log(p / 2)), log_p)

    def after(answers):
        told = answers.kind in ("probabilities", "thresholded")
        finer = answers.digits is None or 10.0**-answers.digits < p
        return answers._replace(least=max(p, answers.least or 0.0)) if told and finer else answers

    return AnswerDefense(f"at_least({p:g})", apply, after)


def surest(share: float) -> AnswerDefense:
    """Of the answers to a question, the surest share is told as labels and the others as they are.

    No service does this to a question, and ``parse`` does not know it: so a shadow plays a target that answers nearly
    always with a label alone (``answer_formats.labeled``).

    Args:
        share: of the answers, within [0, 1].
    """
    share = _number("surest", "share", share)
    if not 0 <= share <= 1:
        raise InputError(f"surest({share}): a share lies within 0 and 1")

    def apply(log_p):
        log_p = jnp.asarray(log_p)
        top = jnp.max(log_p, axis=-1, keepdims=True)
        order = jnp.argsort(jnp.argsort(-top[:, 0]))  # how many are surer; of equals, those that come first
        return jnp.where((order < round(share * len(log_p)))[:, None], only(log_p), log_p)

    only = label_only()
    return AnswerDefense(f"surest({share:.3g})", apply, lambda answers: answers, shows=share == 0)


def temperature(t: float) -> AnswerDefense:
    """Softmax at temperature t, log_softmax(log p / t): the same as of the logits z, for log p = z - logsumexp(z).

    The order of the classes stays; answers lose confidence as t grows. At t = 1 the identity, for answers that sum to
    one. What was hidden before stays hidden, and the rest sums to one.
    """
    t = _number("temperature", "t", t)
    if not 0 < t < np.inf:
        raise InputError(f"temperature({t}): t must be above 0")

    def apply(log_p):
        log_p = jnp.asarray(log_p)
        shown = log_p != HIDDEN
        return jnp.where(shown, jax.nn.log_softmax(jnp.where(shown, log_p / t, -jnp.inf)), HIDDEN)

    def after(answers):
        return _whole_rows(answers)._replace(digits=None, least=None)

    return AnswerDefense(f"temperature({t:g})", apply, after, shows=t == 1)


def bounded_noise(budget: float, seed: int = 0) -> AnswerDefense:
    """Noise that keeps the label and moves an answer by at most ``budget`` in L1: p <- (1 - a) p + a r.

    r is uniform on the simplex, except that its largest entry stands where p has its own, and a is as large as the
    budget allows: at 0 the answer stays what it is; at 2, the farthest that two answers can lie apart, nothing but its
    label is left.

    It has the constraints of MemGuard (Jia et al., CCS 2019: same label, bounded L1 distortion, here of every answer
    rather than on average), but not its method: MemGuard searches for the noise that misleads a membership classifier
    of the defender's own. It is closer to the random baseline of that paper.

    The noise is drawn from a hash of the answer, in steps of 1/64 of log p: asking again gives the same, and averages
    nothing away, unless the target's own rounding errors cross a step (as between batch sizes: about one answer in
    20,000 per class). Answers within a step of each other get equal noise: put it before ``round_to`` and ``top_k``,
    never behind them, and expect little of it where there are two classes, for then shadows teach which answer became
    what. An adversary who asks about slightly different records still averages it away.

    Args:
        budget: 0 to 2.
        seed: of the noise. Whoever knows it can draw the noise of an answer that they guess.
    """
    budget, seed = _number("bounded_noise", "budget", budget), _whole("bounded_noise", "seed", seed, 0, 2**32 - 1)
    if not 0 <= budget <= 2:
        raise InputError(
            f"bounded_noise({budget}): the budget is an L1 distance of two probability vectors, from 0 to 2"
        )

    many = jax.jit(jax.vmap(functools.partial(_noised, budget, seed)))

    def apply(log_p):
        return jnp.asarray(log_p) if budget == 0 else many(log_p)

    def after(answers):
        return answers if budget == 0 else _whole_rows(answers)._replace(digits=None, least=None)

    return AnswerDefense(f"bounded_noise({budget:g}, {seed})", apply, after, shows=budget == 0)


def _noised(budget: float, seed: int, log_p: jax.Array) -> jax.Array:
    """One answer [c] with bounded noise."""
    draws = jax.random.exponential(_hashed(seed, log_p), log_p.shape)
    top, shown = jnp.argmax(log_p), log_p != HIDDEN
    draws = jnp.where(shown, draws, 0)
    where = jnp.argmax(draws)
    largest = draws[where]
    draws = draws.at[where].set(draws[top]).at[top].set(largest)
    r = draws / draws.sum() * jnp.exp(log_p).sum(where=shown)
    a = jnp.minimum(1.0, budget / jnp.maximum(jnp.abs(r - jnp.exp(log_p)).sum(where=shown), 1e-30))
    mixed = jnp.logaddexp(jnp.log1p(-a) + log_p, jnp.log(a) + jnp.log(r))
    best = mixed[top]
    # Rounding must not make another class the first of equals.
    mixed = jnp.where(jnp.arange(len(mixed)) == top, best, jnp.minimum(mixed, jnp.nextafter(best, -jnp.inf)))
    return jnp.where(shown, jnp.maximum(mixed, HIDDEN), HIDDEN)


def _hashed(seed: int, log_p: jax.Array) -> jax.Array:
    """A key from an answer [c]: two multilinear hashes of log p in steps of 1/64, with odd multipliers."""
    steps = jnp.round(jnp.maximum(log_p, HIDDEN) * 64).astype(jnp.int32).astype(jnp.uint32)
    multipliers = jax.random.bits(jax.random.key(seed), (2, len(log_p)), jnp.uint32) | 1
    words = (multipliers * steps[None]).sum(axis=1, dtype=jnp.uint32)
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), words[0]), words[1])


def _whole_rows(answers: Answers) -> Answers:
    """Answers whose hidden classes count as small, and no more as not told."""
    return answers._replace(kind="probabilities") if answers.kind == "thresholded" else answers


def _columns(log_p: jax.Array) -> jax.Array:
    return jnp.arange(log_p.shape[-1])[(None,) * (log_p.ndim - 1)]


# --- several ---------------------------------------------------------------------------------------------------------


def compose(defenses: Sequence[AnswerDefense]) -> AnswerDefense:
    """Several defenses as one, of which the first is the innermost; none of them: the identity.

    The result ends at one floor, that of the precision which the answers have in the end: so it cannot be told which
    zero came from which defense, and it is what a service's zeros become.
    """
    defenses = tuple(defenses)

    def after(answers):
        return functools.reduce(lambda answers, defense: defense.after(answers), defenses, answers)

    lowest = floor(after(Answers(2)))  # as far as the defenses know: a target's own rounding has left its floor already

    def apply(log_p):
        log_p = functools.reduce(lambda log_p, defense: defense(log_p), defenses, log_p)
        return log_p if lowest is None else jnp.maximum(log_p, np.float32(np.log(lowest)))

    name, shows = ",".join(defense.name for defense in defenses), all(defense.shows for defense in defenses)
    return AnswerDefense(name, apply, after, shows)


def floor(answers: Answers) -> float | None:
    """What a zero stands for: half of the least that such answers tell; None: nothing is known of it.

    The least is the smallest probability above zero, or a unit of the last digit.
    """
    if answers.least is not None:
        return 0.5 * answers.least
    return None if answers.digits is None else 0.5 * 10.0**-answers.digits


def from_answers(answers: Answers) -> tuple[AnswerDefense, ...]:
    """What makes answers of full precision look like these: labels, the k best, rounded, with zeros for what is small.

    >>> [defense.name for defense in from_answers(Answers(10, "top_k", digits=2, k=3))]
    ['top_k(3)', 'round_to(2)']
    """
    if answers.kind == "labels":
        return (label_only(),)
    best = (top_k(answers.k),) if answers.kind == "top_k" and answers.k is not None else ()
    rounded = () if answers.digits is None else (round_to(answers.digits),)
    return (*best, *rounded, *(() if answers.least is None else (at_least(answers.least),)))


def probabilities(log_p: Array, answers: Answers) -> np.ndarray:
    """The inverse of ``answer_format.log_probabilities``, for whoever serves a defended target: float64 [b, c].

    The floor becomes zero, and what is rounded is a decimal number again.
    """
    p = np.exp(np.asarray(log_p, np.float64))
    if answers.least is not None:
        p = np.where(p < 0.75 * answers.least, 0.0, p)
    if answers.digits is not None:
        # Half a unit, the floor, would be rounded to even: down for some digits and, by the last bit, up for others.
        return np.where(p < 0.75 * 10.0**-answers.digits, 0.0, np.round(p, answers.digits))
    return np.where(np.asarray(log_p) <= HIDDEN, 0.0, p)


# --- from text -------------------------------------------------------------------------------------------------------

DEFENSES: dict[str, Callable[..., AnswerDefense]] = {
    "top_k": top_k,
    "label_only": label_only,
    "round_to": round_to,
    "at_least": at_least,
    "temperature": temperature,
    "bounded_noise": bounded_noise,
}
OLD_NAMES = {"memguard": "bounded_noise"}  # in commands and configurations of before 2026-11-27


def parse(text: str) -> tuple[AnswerDefense, ...]:
    """Read defenses from text; the first is the innermost.

    >>> [defense.name for defense in parse("top_k(3), round_to(digits=2)")]
    ['top_k(3)', 'round_to(2)']
    >>> parse("")
    ()

    Raises:
        InputError: an unknown name, arguments that it does not take, or text that is no list of calls.
    """
    table = DEFENSES
    if old := {name for name in OLD_NAMES if re.search(rf"\b{name}\b", text)}:
        table = DEFENSES | {name: DEFENSES[OLD_NAMES[name]] for name in old}
    return tuple(calls.parse(text, table, setting="defenses", noun="defense", example="top_k(3),round_to(2)"))


def _number(name: str, argument: str, value: float) -> float:
    if not isinstance(value, int | float | np.number) or isinstance(value, bool) or not np.isfinite(value):
        raise InputError(f"{name}: {argument} must be a number, not {value!r}")
    return float(value)


def _whole(name: str, argument: str, value: float, low: int, high: int | None = None) -> int:
    value = _number(name, argument, value)
    if value != int(value) or value < low or (high is not None and value > high):
        reach = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise InputError(f"{name}({value:g}): {argument} must be a whole number {reach}")
    return int(value)
