"""results.json, schema 1: what a run was and what it found, as plain JSON values; ``write`` writes it, ``read`` reads
it. scores.npz beside it has the scores record by record.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import platform
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from mia_jax import sanitize
from mia_jax.reports import paper
from mia_jax.statistics import metrics
from mia_jax.storage import artifacts, places
from mia_jax.types import InputError, Schema

SCHEMA = 1


# --- the blocks ------------------------------------------------------------------------------------------------------


class Measure(TypedDict):
    """``metrics.Measure.json``: a value with its 95 % interval; or why there is none."""

    value: float | None
    low: NotRequired[float]
    high: NotRequired[float]
    reason: NotRequired[str]
    read: NotRequired[str]  # how, where there are several ways


class Dataset(TypedDict):
    """The records."""

    name: str
    title: str
    source: str  # official, local, synthesised or simulated
    digest: str
    records: int
    features: int
    classes: int
    class_counts: list[int]  # training records of the target, per class
    notes: list[str]
    class_names: NotRequired[list[str]]  # where labels were not 0, 1, ...


class Epsilon(TypedDict):
    """The accountant's epsilon of DP-SGD; None: infinite."""

    value: float | None
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int


class Target(TypedDict):
    """The model under audit."""

    kind: str  # nn, another library's platform, "a service", "saved predictions" or "a model in this process"
    train_records: int
    test_records: NotRequired[int]  # non-members that were asked about, of a deployed model
    test_accuracy: NotRequired[float]  # of classes
    train_accuracy: NotRequired[float]  # where it is known who is a member
    signal: NotRequired[str]  # what the one number per record is, where there are no classes
    test_signal: NotRequired[float]  # its mean over non-members; over all records where they are not known
    train_signal: NotRequired[float]  # over members
    title: NotRequired[str]
    model: NotRequired[str | None]  # the network
    epsilon: NotRequired[Epsilon]
    url: NotRequired[str]  # of a service, without its query
    answers: NotRequired[dict[str, Any]]  # ``types.Answers``
    assumed: NotRequired[str]  # what is taken for granted of the answers, in words
    read_as: NotRequired[list[str]]  # defenses that bring saved answers to the shadows' format
    records_asked: NotRequired[int]  # by all runs in this workdir
    unsteady: NotRequired[float]  # how far a probability was from the one before
    answers_of_earlier_runs: NotRequired[dict[str, Any]]


class Shadows(TypedDict):
    """The shadow models."""

    count: int
    data: NotRequired[str]  # what they were trained on, in words
    trainer: NotRequired[str]  # what trained them, where it is a user's
    train_records: NotRequired[int]
    train_accuracy: NotRequired[float]  # means over the shadows
    test_accuracy: NotRequired[float]
    models: NotRequired[int]  # of the balanced plan: with the target and its partner
    curves: NotRequired[dict[str, Any]]  # ``curves``
    synthesis: NotRequired[dict[str, Any]]  # SynthesisInfo of the method
    answers: NotRequired[dict[str, Any]]  # "defences" that make them answer as the target, and where these are "from"
    notes: NotRequired[list[str]]
    diverged: NotRequired[list[dict[str, Any]]]  # "model", from 1, and "what" became of it
    unused: NotRequired[int]  # left out beside those that diverged


class Attack(TypedDict, total=False):
    """What an attack came to; measures of several targets are means over them (``over_targets``)."""

    title: str
    short: str  # for narrow columns
    reason: str  # why there is no measure, where nobody told who is a member
    accuracy: Measure
    balanced_accuracy: Measure
    precision: Measure
    recall: Measure
    median_precision: Measure
    auc: Measure
    tpr_at_fpr: dict[str, Measure]
    per_record_tpr_at_fpr: dict[str, Measure]  # after ``record_calibration``, from 16 targets on
    ppv_at_prior: dict[str, Measure]
    per_class: list[dict[str, Any]]
    unscored: int
    l2: float  # of the attack networks of Shokri's attack
    targets: int
    auc_by_target: list[float | None]
    chosen_threshold: dict[str, dict[str, Measure]]
    by_shadows: dict[str, dict[str, Measure]]
    shadows: dict[str, Any]  # how the shadows of a deployed audit answered
    epsilon: dict[str, Any]  # the lower bound that the scores prove
    epsilon_gaussian: dict[str, Any]  # of canaries
    negative_control: Measure  # AUC of the same members on models that never saw the records


class Blind(TypedDict):
    """How well members are told from others by the records alone."""

    auc: Measure
    tpr_at_fpr: dict[str, Measure]
    told: bool | None  # None: it could not run
    records: NotRequired[int]
    features: NotRequired[int]
    columns: NotRequired[list[dict[str, Any]]]  # those that tell most alone


class PolicyRule(TypedDict):
    """A rule of a policy, and what the run says to it."""

    rule: str  # where it stands in the policy
    asks: str  # in words
    status: str  # met, not met or undecided
    found: str  # in words
    limit: NotRequired[float]
    value: NotRequired[float]  # the largest, where any is known
    attack: NotRequired[str]  # that has it


class PolicyBlock(TypedDict):
    """The policy that a run was judged by (``audits/policy.py``)."""

    file: str  # its name, without folders
    sha256: str  # of its text, which is policy.toml beside results.json
    title: str
    status: str  # not met, if any rule is; else undecided, if any is; else met
    end: str  # of intervals, that must not exceed a limit
    confidence: float  # of these
    rules: list[PolicyRule]


class Blocks(TypedDict):
    """What an audit came to."""

    dataset: Dataset
    target: Target
    shadows: Shadows
    attacks: dict[str, Any]  # name -> Attack
    paper: dict[str, Any]  # "rows": the paper's numbers
    classes_without_rows: NotRequired[list[int]]  # for which Shokri's attack has no network
    exposure: NotRequired[dict[str, Any]]  # ``per_record.summarize``
    canaries: NotRequired[dict[str, Any]]
    doubts: NotRequired[list[str]]  # whether labels, target and shadows belong together
    blind: NotRequired[Blind]  # where somebody else decided who is a member
    screens: NotRequired[dict[str, Any]]  # ``screens.block``
    overlap: NotRequired[dict[str, Any]]  # ``overlap.block``
    discoveries: NotRequired[dict[str, Any]]  # ``false_discoveries.block``
    subgroups: NotRequired[list[dict[str, Any]]]  # ``subgroups.block``
    policy: NotRequired[PolicyBlock]  # where it was judged by one


class Results(Blocks):
    """results.json: what an audit came to, how it was made, on what and when."""

    schema: int
    plan: NotRequired[str]  # balanced, deployed or canaries; none: the paper's
    command: str
    date: str
    machine: str
    config: dict[str, Any]
    versions: dict[str, str]
    devices: list[str]
    seconds: dict[str, float]  # step -> how long it took, whenever it was done


class Finished(NamedTuple):
    """A run's folder."""

    results: Results
    scores: dict[str, np.ndarray]
    digest: str  # of scores.npz, SHA-256


# --- written and read ------------------------------------------------------------------------------------------------


def write(workdir: artifacts.Workdir, results: Results, scores: Mapping[str, np.ndarray]) -> None:
    """Write scores.npz, with an array [n] or [T, n] for each column, and results.json; each whole or not at all."""
    workdir.claim()  # some runs have no artifact, and a folder with scores alone would be somebody's
    artifacts.write_npz(workdir.path / "scores.npz", scores)
    artifacts.write_json(workdir.path / "results.json", results)


def read(workdir: str | os.PathLike | places.Address) -> Finished:
    """Read results.json and scores.npz; every text in them is harmless then.

    Raises:
        InputError: a file is missing or cannot be read, or it is of another schema.
    """
    folder = places.place(workdir)
    try:
        raw = places.read(folder, "scores.npz")
        results = printable(json.loads(places.read(folder, "results.json").decode()))
        with np.load(io.BytesIO(raw), allow_pickle=False) as f:
            scores = {name: f[name] for name in f.files}
    except InputError:  # of an object store
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{folder} holds no finished run ({error}); run mia-jax train or mia-jax audit to its end first"
        ) from error
    if results.get("schema") != SCHEMA:
        raise InputError(
            f"{folder / 'results.json'} has schema {results.get('schema')}, not {SCHEMA}; run the command again"
        )
    return Finished(results, scores, hashlib.sha256(raw).hexdigest())


# --- made ------------------------------------------------------------------------------------------------------------

PACKAGES = ("mia-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "tensorflow-datasets")


def printable(value: Any) -> Any:
    """JSON values, every text in them ``sanitize.harmless``: names of files may hold anything, not UTF-8 alone."""
    if isinstance(value, str):
        return sanitize.harmless(value)
    if isinstance(value, Mapping):
        return {printable(name): printable(each) for name, each in value.items()}
    return [printable(each) for each in value] if isinstance(value, list | tuple) else value


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """The machine in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def dataset(schema: Schema, title: str, records: int, class_counts: np.ndarray) -> Dataset:
    """The ``dataset`` block. ``class_counts`` [c]: training records of the target per class."""
    return {
        "name": printable(schema.name),
        "title": printable(title),
        "source": schema.source,
        "digest": schema.digest,
        "records": int(records),
        "features": int(np.prod(schema.shape)),
        "classes": int(schema.num_classes),
        "class_counts": [int(count) for count in class_counts],
        "notes": list(schema.notes),
        **({"class_names": [printable(name) for name in schema.class_names]} if schema.class_names else {}),
    }


def curves(loss: np.ndarray, accuracy: np.ndarray) -> dict[str, Any]:
    """Learning curves over models: mean, lowest and highest of [S, epochs] at each epoch."""

    def band(values: np.ndarray) -> dict[str, list[float]]:
        return {
            name: [float(v) for v in f(values, axis=0)]
            for name, f in (("mean", np.mean), ("low", np.min), ("high", np.max))
        }

    return {"epoch": list(range(1, loss.shape[1] + 1)), "loss": band(loss), "accuracy": band(accuracy)}


def attack(
    scores: np.ndarray,
    member: np.ndarray,
    label: np.ndarray,
    num_classes: int,
    title: str,
    *,
    no_boundary: str | None = None,
    judged: np.ndarray | None = None,
) -> dict[str, Any]:
    """One attack's block; records without a score (NaN: their class had no shadow rows) are counted, not guessed.

    Args:
        scores: [n], larger = more likely a member.
        member: bool [n].
        label: int [n], the records' classes.
        num_classes: c.
        title: of the attack, for people.
        no_boundary: why 0 is no boundary of these scores; what depends on one has no value then, and this reason.
        judged: bool [n], where only on some records it is fair to judge calls by the boundary, as those that it was not
            chosen on; None: on all.
    """
    scored = ~np.isnan(scores)
    block = metrics.evaluate(scores[scored], member[scored], label[scored], num_classes)
    if judged is not None:
        rest = scored & judged
        calls = metrics.evaluate(scores[rest], member[rest], label[rest], num_classes)
        block = {**block, **{key: calls[key] for key in BY_BOUNDARY}}
    if no_boundary:
        block = _without_boundary(block, metrics.Measure(None, reason=no_boundary).json())
    return {"title": title, **block, "unscored": int((~scored).sum())}


BY_BOUNDARY = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "median_precision",
    "ppv_at_prior",
    "per_class",
)  # of a block, what depends on the boundary


def _without_boundary(block: Mapping[str, Any], absent: dict[str, Any]) -> dict[str, Any]:
    at: dict[str, Any] = dict.fromkeys(("accuracy", "balanced_accuracy", "precision", "recall"), absent)
    at |= {"median_precision": absent, "ppv_at_prior": dict.fromkeys(block["ppv_at_prior"], absent)}
    at["per_class"] = [{**row, "precision": absent, "recall": absent} for row in block["per_class"]]
    return {**block, **at}


def paper_rows(name: str) -> list[dict[str, Any]]:
    """The paper's numbers for a data set."""
    return [row._asdict() for row in paper.rows(name)]


def summarize_shadows(count: int, train_records: int, train: np.ndarray, test: np.ndarray, **more: Any) -> Any:
    """The ``shadows`` block: mean accuracies over the shadows.

    Args:
        count: S.
        train_records: of each.
        train, test: [S], accuracies in [0, 1] on training and on test records.
        more: further keys of the block.
    """
    return {
        "count": count,
        "train_records": train_records,
        "train_accuracy": float(np.mean(train)),
        "test_accuracy": float(np.mean(test)),
        **more,
    }
