"""What steps of an audit have in common: keys, names, seconds, parts that are kept, folders of arrays."""

import contextlib
import functools
import time
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mia_jax import attacks
from mia_jax.audits.types import Models, Observation
from mia_jax.storage import artifacts
from mia_jax.targets import black_box, defenses
from mia_jax.targets.defenses import AnswerDefense
from mia_jax.types import Key, Remember, Seen, Target

VERSION = 1  # of what artifacts mean: raise it when the same description would give other numbers


def _no_observation(*observations: Observation) -> list[dict[str, Seen]]:
    raise AssertionError("there is no model to observe")


def _no_target(k: int) -> Target:
    raise AssertionError("there is no model to ask")


NO_MODELS = Models([], _no_target, _no_observation, lambda: 0.0, lambda: 0.0, None, {})


def stage_key(root: Key, stage: str) -> Key:
    """The key of a stage: its random numbers depend on its name, not on what ran before."""
    return jax.random.fold_in(root, zlib.crc32(stage.encode()))


def keys(key: Key, count: int) -> Key:
    """Keys of so many models: the k-th does not depend on how many there are."""
    return jax.vmap(lambda k: jax.random.fold_in(key, k))(np.arange(count))


def key_words(key: Key) -> list[int]:
    """A key as JSON."""
    return [int(word) for word in np.asarray(jax.random.key_data(key)).reshape(-1)]


def defended(target: Target, chosen: Sequence[AnswerDefense]) -> Target:
    """The target behind defenses, which share one floor of probabilities, and what its answers look like then."""
    if not chosen:
        return target
    together = defenses.compose(chosen)
    return black_box.defend(target, together, answers=together.after(target.answers))


@contextlib.contextmanager
def timed(seconds: dict[str, float], stage: str) -> Generator[None]:
    """Note how long the block took."""
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def trained_before(count: int, total: int, title: str, where: Any) -> str:
    """The line on models that are taken from a workdir: settings may have changed that no name of theirs holds."""
    return (
        f"{title}: {count} of {total} are taken from {where}, trained before; what training reads from files or the"
        " environment may have changed since: another workdir trains them anew"
    )


def remembering(workdir: artifacts.Workdir, stage: str, done: Callable[[float], Any]) -> Remember:
    """Parts of long work as artifacts of a stage; ``done`` is told of each, and what it took an earlier run."""

    def remember(about: Mapping[str, Any]):
        described = {name: artifacts.array_digest(v) if isinstance(v, np.ndarray) else v for name, v in about.items()}
        described |= {"stages": VERSION, "jax": jax.__version__, "backend": jax.default_backend()}
        described |= {"source": attacks.sources([about["attack"]])} if "attack" in about else {}

        def kept(part: str, work: Callable[[], dict]) -> dict:
            cached = workdir.load(stage, {**described, "part": part})
            if cached is not None:
                done(cached.info["seconds"])
                return nested(cached.arrays)
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
    """The inverse of ``flat``: {"a/b": x} as {"a": {"b": x}}; arrays [...] of any shape."""
    out: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        functools.reduce(lambda tree, folder: tree.setdefault(folder, {}), folders, out)[name] = array
    return out
