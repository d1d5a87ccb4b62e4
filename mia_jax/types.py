"""The nouns of the library. No logic lives here.

One letter per axis, everywhere:

    S  shadow models          n  records asked about            c   classes
    N  records of the pool    m  records of one training set    *f  the shape of one record
    b  a batch                q  queries per record             r   searches running side by side

Two conventions are fixed here once. **Score sign**: larger means "more likely a member", and 0 is the decision
boundary. **Answers** are log-probabilities: a target that answers with probabilities is clipped and logged at the
boundary, so that no formula downstream ever forms ``1 - p`` or ``log(p + 1e-45)``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np

Array = jax.Array | np.ndarray
Key = jax.Array
Params = Any
Info = Any
Seen = Any  # what an attack keeps of a model's answers: a dict or a tuple of arrays, see ``ReadFn``
State = Any  # what an attack has learned: its own, see ``FitFn``


# --- errors ----------------------------------------------------------------------------------------------------------


class MiaError(Exception):
    """An error that the user can mend: one line that names the next move; scripts print it and exit with its code."""

    exit_code = 2


class InputError(MiaError, ValueError):
    """What the user gave cannot be used: unknown data set, malformed file, impossible sizes."""


class DiskError(MiaError, RuntimeError):
    """The file system does not give or take what a run needs: a full disk, a workdir that is gone."""


class WorkdirHeld(MiaError, RuntimeError):
    """Another process is working in the workdir."""

    exit_code = 4


# --- data ------------------------------------------------------------------------------------------------------------


class Records(NamedTuple):
    """Labeled records.

    ``x`` keeps its natural dtype (uint8 for bits and pixels, float32 otherwise); models cast per batch. A float may be
    NaN, for a value that is missing: few models take that (``estimators.filled``).
    """

    x: Array  # [n, *f]
    y: Array  # [n] int32, 0-based

    def __repr__(self) -> str:
        """Types and shapes, for a notebook: of data sets the numbers themselves tell little."""
        told = [
            f"{name}={getattr(a, 'dtype', type(a).__name__)}{list(np.shape(a))}" for name, a in self._asdict().items()
        ]
        return f"Records({', '.join(told)})"


class Field(NamedTuple):
    """What columns ``start:stop`` of a flattened record mean.

    ``binary``, ``numeric`` and ``pixel``: every column is an attribute of its own, with values in [low, high].
    ``categorical``: the columns are the one-hot code of a single attribute, one column per category.

    Our networks see the value ``zero`` as 0 and ``one`` as 1: the unit of the column, where it is not 1.
    """

    name: str
    kind: Literal["binary", "categorical", "numeric", "pixel"]
    start: int
    stop: int
    low: float = 0.0
    high: float = 1.0
    categories: tuple[str, ...] = ()
    zero: float = 0.0
    one: float = 1.0


def few_of(values: Sequence[Any] | np.ndarray) -> str:
    """The first eight of values [k], separated by commas, for a message; and ", ..." where there are more."""
    return ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")


class Schema(NamedTuple):
    """What an adversary may know of a data set without seeing a record: its shape, classes and attributes."""

    name: str
    source: Literal["official", "local", "synthesised", "simulated"]  # synthesized around simulated data: simulated
    digest: str  # SHA-256 over dtype, shape and bytes of x, then y (of saved predictions: all there is); lower-case hex
    num_classes: int
    shape: tuple[int, ...]  # *f
    fields: tuple[Field, ...]  # cover the flattened record in order, without gaps
    notes: tuple[str, ...] = ()  # one sentence each: where the records come from, what was done to them
    class_names: tuple[str, ...] = ()  # of classes 0, 1, ..., where labels were not these numbers

    @property
    def marked_name(self) -> str:
        """The name for people: it says of simulated records that they are."""
        return self.name + (" (SIMULATED)" if self.source == "simulated" else "")

    def __str__(self) -> str:
        """The schema for people: classes, a line for each of the first fields, notes."""
        classes = f" ({few_of(self.class_names)})"
        lines = [f"{self.marked_name}: {self.num_classes} classes{classes if self.class_names else ''}; records of"]
        lines[0] += f" shape {list(self.shape)}"
        for f in self.fields[:40]:
            values = few_of([c if c.isprintable() else repr(c) for c in map(str, f.categories[:9])])
            told = values if f.kind == "categorical" else "0 or 1" if f.kind == "binary" else f"{f.low:g} to {f.high:g}"
            count = f" x{f.stop - f.start}" if f.stop - f.start > 1 else ""
            lines.append(f"  {f.name}: {f.kind}{count}, {told}")
        lines += [f"  ... and {len(self.fields) - 40:,} more"] if len(self.fields) > 40 else []
        return "\n".join([*lines, *self.notes])


# --- models ----------------------------------------------------------------------------------------------------------


class Variables(NamedTuple):
    """What a network with batch statistics (BatchNorm) consists of: it stands where others have their parameters."""

    params: Params  # what is trained
    stats: Any  # running averages over batches, which normalize in evaluation


class Model(NamedTuple):
    """A network as pure functions.

    What ``init`` gives is all that the network is; ``Variables`` where it keeps batch statistics. Then ``apply`` in
    evaluation reads the running averages, and ``train`` is the forward pass of a training step.
    """

    init: Callable[..., Params]  # (key, x [b, *f]) -> params
    apply: Callable[..., jax.Array]  # (params, x [b, *f], *, key=None) -> logits [b, c]; a key means training mode
    arithmetic: str = ""  # in words, where it is computed otherwise than its author wrote: the same but for rounding
    # (variables, x, weight [b], *, key) -> (logits, new stats): statistics are those of the rows whose weight is not 0
    train: Callable[..., tuple[jax.Array, Any]] | None = None


class TrainState(NamedTuple):
    """One network in training. ``key`` is the network's own; step t uses ``fold_in(key, t)``."""

    params: Params  # or Variables
    opt_state: Any
    key: Key
    epoch: jax.Array  # [] int32, epochs done


class EpochInfo(NamedTuple):
    """Means over the records of one epoch, measured before each step's update."""

    loss: jax.Array  # [] nats
    accuracy: jax.Array  # [] in [0, 1]


class Trainer(NamedTuple):
    """How one network is trained. ``vmap`` over it trains many."""

    init: Callable[[Key, Array], TrainState]  # (key, x [1, *f]: any record, for its shape)
    epoch: Callable[[TrainState, Records, Array], tuple[TrainState, EpochInfo]]  # (state, pool [N], index [m])


# --- targets ---------------------------------------------------------------------------------------------------------


class Answers(NamedTuple):
    """What a target's answers look like, as far as an adversary can tell from outside."""

    classes: int
    kind: Literal["probabilities", "labels", "top_k", "thresholded"] = "probabilities"
    digits: int | None = None  # decimal digits the answers are rounded to; None: full precision
    k: int | None = None  # of top_k: classes that are told; None: not known
    least: float | None = None  # the smallest probability above zero, where some are zero: nothing smaller is told


class Target(NamedTuple):
    """A black box: all that an adversary may touch."""

    ask: Callable[[Array], Array]  # x [b, *f] -> log-probabilities [b, c]
    answers: Answers
    traced: bool = True  # may be asked inside jit; False: one batched host call per question


Defense = Callable[[Array], Array]  # log-probabilities [b, c] -> log-probabilities [b, c]; defenses compose
Sampler = Callable[[Key, int], tuple[Records, Info]]  # shadow data from nothing but what the adversary has


# --- attacks ---------------------------------------------------------------------------------------------------------


class ReadFn(Protocol):
    """What an attack keeps of plain answers."""

    def __call__(self, log_p: Array, y: Array, /) -> Seen:
        """Read the answers about n records.

        Args:
            log_p: log-probabilities [n, c].
            y: int32 [n], the records' classes.

        Returns:
            Seen: a dict or a tuple of arrays, leaves [n, ...].
        """
        ...


class ObserveFn(Protocol):
    """How an attack observes a model, shadow or target: the only place where the black box is touched."""

    def __call__(self, key: Key, target: Target, records: Records, /) -> Seen:
        """Ask a model about records; by default ``read(target.ask(x), y)``.

        Args:
            key: of what is drawn; the same for shadows and target.
            target: the black box.
            records: [n].

        Returns:
            Seen, leaves [n, ...].
        """
        ...


class FitFn(Protocol):
    """How an attack learns from shadows."""

    def __call__(self, key: Key, seen: Seen, member: Array, population: Seen | None = None, /) -> State:
        """Learn to tell members from non-members.

        Args:
            key: of what is drawn.
            seen: of the shadows, leaves [S, n, ...].
            member: bool [S, n], who trained each of them.
            population: what was seen of records that trained no model, row 0 by the target and rows 1..S by the
                shadows; or None.

        Returns:
            State: whatever ``score`` reads. Attacks that have ``shadow_scores`` take ``boundary=`` as well.
        """
        ...


class ScoreFn(Protocol):
    """How an attack judges the target's records."""

    def __call__(self, state: State, seen: Seen, /) -> Array:
        """Score records: [n], larger = more likely a member, 0 = the decision boundary.

        Args:
            state: of ``fit``.
            seen: of the target, leaves [n, ...].
        """
        ...


class ShadowScoresFn(Protocol):
    """What shadows score when each is the target in turn, judged by the others (leave-one-out)."""

    def __call__(
        self, seen: Seen, member: Array, population: Seen | None, as_target: tuple[Seen, Seen | None] | None, /
    ) -> np.ndarray:
        """Score every shadow's records: [S, n], without a boundary; NaN where a shadow was not left out.

        Args:
            seen: of the shadows, leaves [S, n, ...].
            member: bool [S, n].
            population: as of ``fit``.
            as_target: (seen, population) of a shadow while it is the target, where they differ.
        """
        ...


class Attack(NamedTuple):
    """A membership inference attack, as supervised learning on shadows that were observed exactly as the target is."""

    observe: ObserveFn
    fit: FitFn
    score: ScoreFn
    read: ReadFn | None = None  # None: it must query adaptively
    # It compares a record with itself in other models (LiRA, RMIA): column j of every shadow is candidate j itself.
    per_example: bool = False
    # Of "in", "out", "population", "features", "queries", "trainer"; refused before any work where missing.
    needs: frozenset[str] = frozenset()
    shadow_scores: ShadowScoresFn | None = None  # of per-example attacks whose ``fit`` takes ``boundary=``
    # Its ``fit`` takes ``proxies=``, too: (seen, leaves [S, r, ...], and member, bool [S, r]) of other records, which
    # it needs where no shadow trained on a record that is asked about.
    proxies: bool = False


# Long work in parts: (what decides the work, NumPy arrays and JSON values) -> (name of a part, how to do it) -> the
# nested dict of arrays that the part gives, done now or found where an interrupted run has left it.
Remember = Callable[[Mapping[str, Any]], Callable[[str, Callable[[], dict]], dict]]


class Plan(NamedTuple):
    """Who trains on what: rows of indices into a pool."""

    train: Array  # [S, m] int32: the training set of each model
    test: Array  # [S, m'] int32: records that the model does not see
