"""The nouns of an audit. No logic lives here.

An audit is one sentence: a plan says who trains on what and who is the target; models are trained or found; all are
observed alike; attacks are fitted on the shadows and score the target; scores are evaluated; results are shown.
``audits/pipeline.py`` runs these steps in this order; an ``AuditPlan`` has a function for each.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from mia_jax.audits.config import AuditConfig
from mia_jax.data.groups import Grouping
from mia_jax.plans.shards import Shard
from mia_jax.progress import Progress
from mia_jax.reports.results import Blocks
from mia_jax.rows import Rows
from mia_jax.storage.artifacts import Workdir
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.targets.observation import Observer
from mia_jax.types import Array, Key, Records, Schema, Seen, Target

Notify = Callable[[str], None]  # told a line at each step, for the user

C = TypeVar("C", bound=AuditConfig)  # the configuration of one kind of audit
Setting = TypeVar("Setting")  # records, checked, and who trains on what
Extra = TypeVar("Extra")  # what a plan needs besides: the target, the shadows' data
Observed = TypeVar("Observed")  # what was seen of target and shadows
Scored = TypeVar("Scored")  # what the attacks made of it


class Run(NamedTuple, Generic[C]):
    """What every step of an audit is given: what to do, where, and whom to tell."""

    config: C  # resolved: presets filled in, values checked
    given: C  # as it was given: a URL in it may have a query with a key, which nothing shows
    workdir: Workdir
    root: Key  # of everything random; a step's own is ``stages.stage_key(root, its name)``
    notify: Notify
    progress: Progress
    seconds: dict[str, float]  # step -> how long it took, whenever it was done; for results.json
    shard: Shard | None = None  # of the models, that this process makes; None: it makes what is missing, and goes on


# --- training and observing ------------------------------------------------------------------------------------------


class TrainingJob(NamedTuple):
    """K models to be trained alike, each on rows of one pool."""

    title: str  # what they are, for people, in the plural where they are several: "shadow models"
    config: AuditConfig  # how: our own network or whose, its optimizer, the defenses in training
    schema: Schema  # of the records
    pool: Records  # [N]
    digest: str  # of the pool
    keys: Key  # [K]
    train: np.ndarray | Rows  # int32 [K, m], rows of the pool; -1: none, for a row that trains fewer


class Observers(NamedTuple):
    """Who observes models, and how; many observers share one forward pass."""

    key: Key  # the same for shadows and target: what an observer draws for a record, it draws everywhere
    by_name: Mapping[str, Observer]
    defenses: tuple[AnswerDefense, ...]  # that the models put their answers through
    description: Mapping[str, Any]  # JSON values that tell the observers


class Observation(NamedTuple):
    """Records that some of K trained models are asked about."""

    observers: Observers
    pool: Records  # [N]
    index: Array  # int32 [K', n], rows of the pool that each of the models is asked about
    which: Array | None = None  # [K'], the models; None: all
    in_parts: bool = False  # where it is much, what is seen may be ``Rows``: whoever reads it reads a row at a time


class Observe(Protocol):
    """How trained models are observed."""

    def __call__(self, *observations: Observation) -> list[dict[str, Seen]]:
        """Make observations, all of one model at once: another library's is trained when it is first observed.

        Returns:
            Of each observation, name of the observer -> seen, NumPy leaves [K', n, ...].

        Raises:
            Diverged: a model's numbers are not finite.
        """
        ...


class Models(NamedTuple):
    """Trained models, as far as an audit needs them; K of them."""

    names: list[str]  # of each, the digest of what made it
    target: Callable[[int], Target]  # the k-th, without defenses at its answers
    observe: Observe
    seconds: Callable[[], float]  # what training took, whenever it was done
    spent: Callable[[], float]  # of it, what was spent inside ``observe`` in this process
    curves: tuple[np.ndarray, np.ndarray] | None  # loss and accuracy [K, epochs], where there is such a thing
    # Of those whose training diverged: model -> what became of it, in words. Other libraries' models show it when they
    # are observed.
    lost: Mapping[int, str]

    @property
    def left(self) -> np.ndarray:
        """The others, int [K']."""
        return np.array([k for k in range(len(self.names)) if k not in self.lost], int)


class Trained(NamedTuple, Generic[Extra]):
    """What training has made, or found in the workdir."""

    models: Models  # shadows; in the balanced plan all models, for canaries the one
    title: str  # what they are, for people: "shadow models"
    extra: Extra  # what one plan needs besides: the target, the shadows' data; or None
    which: np.ndarray  # [K], which of the models that were trained these are: those that have not diverged
    choose: Callable[[np.ndarray], np.ndarray] = lambda sound: sound  # of models that have not diverged, those to use
    least: int = 1  # models without which the audit cannot go on
    left_out: Mapping[str, Any] = {}  # what results.json says of the others, if there are any


# --- plans -----------------------------------------------------------------------------------------------------------


class AuditPlan(NamedTuple, Generic[C, Setting, Extra, Observed, Scored]):
    """One kind of audit: a function for each step of ``audits/pipeline.py``.

    name:      "plan" of results.json; None: the paper's.
    resolve:   fill in presets; refuse what contradicts itself, before any work. Raises InputError.
    prepare:   load records, check that all can work, decide who trains on what. Raises InputError.
    train:     the models, trained or found in the workdir, and what else the attacker comes by.
    observe:   what attacks need to see of target and shadows. Called again with fewer models where some diverged.
    attack:    attacks fitted on the shadows score the target.
    summarize: measures, and what else results.json and scores.npz say.
    """

    name: str | None
    resolve: Callable[[C], C]
    prepare: Callable[[Run[C]], Setting]
    train: Callable[[Run[C], Setting], Trained[Extra]]
    observe: Callable[[Run[C], Setting, Trained[Extra]], Observed]
    attack: Callable[[Run[C], Setting, Observed], Scored]
    summarize: Callable[[Run[C], Setting, Trained[Extra], Observed, Scored], "Summary"]


class Summary(NamedTuple):
    """What an audit came to."""

    settings: Mapping[str, Any]  # "config" of results.json, but for the workdir
    blocks: Blocks  # of results.json
    scores: Mapping[str, np.ndarray]  # scores.npz
    group: Grouping | None = None  # of the records, by a column of the user's
