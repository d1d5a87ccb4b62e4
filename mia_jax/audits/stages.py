"""What stages that resume have in common: keys, names and folders of arrays, and how models are looked at.

``train_networks.py`` trains our own networks, ``train_platforms.py`` those of other libraries; both give ``Models``,
which is all that an audit needs of a target and its shadows: who they are, each as a black box, and what observers saw
of them.
"""

import functools
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax import attacks
from mia_jax.storage import artifacts
from mia_jax.targets import black_box, defenses
from mia_jax.targets.observation import Observer
from mia_jax.types import Defense, Key, Remember, Seen, Target

VERSION = 1  # of what artifacts mean: raise it when the same description would give other numbers


class Models(NamedTuple):
    """Trained models, as far as an audit needs them; K of them."""

    names: list[str]  # of each, the digest of what made it
    target: Callable[[int], Target]  # the k-th, without defenses at its answers
    # (Look, pool, index [K', n], which [K'] = all) -> name -> seen, NumPy leaves [K', n, ...]
    look: Callable[..., dict[str, Seen]]
    seconds: Callable[[], float]  # what training took, whenever it was done
    spent: Callable[[], float]  # of it, what was spent inside ``look`` in this process
    curves: tuple[np.ndarray, np.ndarray] | None  # loss and accuracy [K, epochs], where there is such a thing
    # Of those whose training diverged: model -> what became of it, in words. Other libraries' models show it when they
    # are looked at.
    lost: Mapping[int, str]


class Look(NamedTuple):
    """How models are looked at."""

    key: Key  # the same for shadows and target: what an observer draws for a record, it draws everywhere
    observers: Mapping[str, Observer]
    worn: tuple[Defense, ...]  # by the models, at their answers
    description: Mapping[str, Any]  # JSON values that tell the observers


def stage_key(root: Key, stage: str) -> Key:
    """The key of a stage: its random numbers depend on its name, not on what ran before."""
    return jax.random.fold_in(root, zlib.crc32(stage.encode()))


def key_words(key: Key) -> list[int]:
    """A key as JSON."""
    return [int(word) for word in np.asarray(jax.random.key_data(key)).reshape(-1)]


def wear(target: Target, worn: tuple[Defense, ...]) -> Target:
    """The target behind defenses, at the one floor that they end at together, and what its answers look like then."""
    if not worn:
        return target
    together = defenses.compose(worn)
    return black_box.defend(target, together, answers=together.after(target.answers))


def remembering(workdir: artifacts.Workdir, stage: str, done: Callable[[float], Any]) -> Remember:
    """Parts of long work as artifacts of a stage; ``done`` is told of each, and what it took an earlier run."""

    def remember(about: Mapping[str, Any]):
        described = {name: artifacts.array_digest(v) if isinstance(v, np.ndarray) else v for name, v in about.items()}
        described |= {"stages": VERSION, "jax": jax.__version__, "backend": jax.default_backend()}
        described |= {"source": attacks.sources([about["attack"]])} if "attack" in about else {}

        def kept(part: str, work: Callable[[], dict]) -> dict:
            held = workdir.load(stage, {**described, "part": part})
            if held is not None:
                done(held.info["seconds"])
                return nested(held.arrays)
            began = time.perf_counter()
            made = work()
            workdir.save(stage, {**described, "part": part}, flat(made), seconds=time.perf_counter() - began)
            done(0.0)
            return made

        return kept

    return remember


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts of arrays as one, for an artifact: {"a": {"b": x}} as {"a/b": x}."""
    out: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        out |= flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return out


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of ``flat``."""
    out: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        functools.reduce(lambda tree, folder: tree.setdefault(folder, {}), folders, out)[name] = array
    return out
