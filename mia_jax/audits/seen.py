"""What is seen of many models: held where it is little, else an artifact of each model that is read in parts.

Whether it is held is told by its size alone (``bounds.HELD``), so nobody is asked; attacks compute the same from both.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mia_jax.audits import bounds, sharing, stages
from mia_jax.audits.types import Observation, Run
from mia_jax.storage import artifacts, stored
from mia_jax.storage.artifacts import Artifact
from mia_jax.targets import observation
from mia_jax.training import many, parallel
from mia_jax.types import DiskError, Params, Records, Seen, Target

CURVES = {"loss", "accuracy"}  # of a network's artifact, by epoch, beside its parameters
CHUNK = 8  # networks that are observed together
MOST = 2**10  # bytes that an attack sees of one network and record, as probabilities of 256 classes


def question(asked: Observation, index: np.ndarray, model: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the answers of a model about these rows [n] of the pool: who is asked, about what, and how."""
    observers = asked.observers
    return {
        "model": model,
        "records": artifacts.array_digest(np.asarray(asked.pool.y), index),
        "look": {**observers.description, "key": stages.key_words(observers.key)},
        "worn": [defense.name for defense in observers.defenses],
    }


def one_model(asked: Observation, to_target: Callable[[Params], Target], params: Params, n: int) -> Any:
    """What the observers would see of one network and n records: shapes, leaves [n, ...]; nothing is computed."""
    observers, pool = asked.observers, asked.pool
    x, y = (jax.ShapeDtypeStruct((n, *np.shape(leaf)[1:]), leaf.dtype) for leaf in pool)

    def see(params, key, x, y):
        return observation.observe(key, observers.by_name, to_target(params), Records(x, y))

    return jax.eval_shape(see, params, observers.key, x, y)


def bytes_of(shapes: Any) -> int:
    """Bytes of a tree of shapes, or of arrays [...]."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def of_networks(
    run: Run,
    asked: Observation,
    descriptions: Sequence[Mapping[str, Any]],
    params: Callable[[np.ndarray], Params],
    to_target: Callable[[Params], Target],
) -> dict[str, Seen]:
    """What is seen of networks: leaves [K', n, ...], arrays where they are small, else ``Rows``.

    Args:
        run: its workdir keeps what is not held.
        asked: of K' of the networks.
        descriptions: of all networks.
        params: (numbers of networks [k]) -> their parameters, leaves [k, ...].
        to_target: a Target of one network's parameters.
    """
    which = np.arange(len(descriptions)) if asked.which is None else np.asarray(asked.which, int)
    index = np.asarray(asked.index)

    ask = observation.asking(asked.observers.by_name, to_target)

    def see(some: np.ndarray, pool: Records) -> Iterator[tuple[slice, dict[str, Seen]]]:
        chosen = which[some]
        yield from observation.observe_chunks(
            asked.observers.key, ask, lambda part: params(chosen[part]), pool, index[some], chunk=CHUNK
        )

    if asked.in_parts and index.size * len(asked.observers.by_name) > bounds.HELD // MOST:
        shapes = one_model(asked, to_target, jax.tree.map(lambda leaf: leaf[0], params(which[:1])), index.shape[1])
        if len(which) * bytes_of(shapes) > bounds.HELD:
            return _on_disk(run, asked, which, descriptions, shapes, see)
    seen = [one for _, one in see(np.arange(len(which)), asked.pool)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *seen)


def _on_disk(
    run: Run,
    asked: Observation,
    which: np.ndarray,
    descriptions: Sequence[Mapping[str, Any]],
    shapes: Any,
    see: Callable[[np.ndarray, Records], Iterator[tuple[slice, dict[str, Seen]]]],
) -> dict[str, Seen]:
    """Observe the networks of which no artifact is there; ``see``: (places among ``which``, pool) -> what is seen."""
    index = np.asarray(asked.index)
    names = [question(asked, index[i], descriptions[k]) for i, k in enumerate(which)]
    found: dict[int, Artifact] = {}

    def is_there(i: int) -> bool:
        if (artifact := run.workdir.in_parts("seen", names[i])) is not None:
            found[i] = artifact
        return artifact is not None

    missing = [i for i in range(len(which)) if not is_there(i)]
    pool = parallel.replicate(Records(*asked.pool)) if missing else asked.pool
    with run.progress("models observed", len(missing)) as advance:

        def by_others(i: int) -> bool:
            there = is_there(i)
            advance(there)
            return there

        for batch in sharing.batches(run, "seen", missing, names, by_others, lambda: CHUNK):
            for part, seen in see(np.array(batch), pool):
                leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(seen)]
                for lane, i in enumerate(batch[part]):
                    arrays, where = _once([np.ascontiguousarray(leaf[lane]) for leaf in leaves])
                    run.workdir.save("seen", names[i], arrays, leaves=where)
                    found[i] = run.workdir.located("seen", names[i], Artifact(arrays, {"leaves": where}))
                    advance(1)
    return stacked([found[i] for i in range(len(which))], shapes)


def _once(leaves: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Leaves [n, ...] of which attacks see several alike, each once; and the name of each leaf's."""
    arrays: dict[str, np.ndarray] = {}
    where = []
    for leaf in leaves:
        like = (name for name, one in arrays.items() if one.dtype == leaf.dtype and one.tobytes() == leaf.tobytes())
        where.append(next(like, str(len(arrays))))
        arrays.setdefault(where[-1], leaf)
    return arrays, where


def stacked(found: Sequence[Artifact], shapes: Any) -> dict[str, Seen]:
    """What is seen of K models, artifacts of ``_once`` that are read in parts: a tree like ``shapes``, of Rows."""
    each = [[artifact.arrays[name] for name in artifact.info["leaves"]] for artifact in found]
    return jax.tree.unflatten(
        jax.tree.structure(shapes), [stored.stack(list(leaf)) for leaf in zip(*each, strict=True)]
    )


# --- the parameters of networks --------------------------------------------------------------------------------------


class Parameters:
    """Of K networks, each an artifact: held where all of them are small, else read again when they are needed."""

    def __init__(self, workdir: artifacts.Workdir, descriptions: Sequence[Mapping[str, Any]], template: Params):
        """No network yet.

        Args:
            workdir: where the artifacts are.
            descriptions: of all networks.
            template: parameters of one, as shapes.
        """
        self._workdir, self._descriptions, self._template = workdir, descriptions, template
        self.diverged = np.zeros(len(descriptions), int)  # the epoch in which each did; 0: it did not
        self._held: dict[int, dict[str, np.ndarray]] | None = {}
        if len(descriptions) * bytes_of(template) > bounds.HELD:
            self._held = None

    def slim(self, k: int, artifact: Artifact) -> Artifact:
        """The k-th network's artifact without its parameters, which are kept here, or on disk."""
        params = {name: array for name, array in artifact.arrays.items() if name not in CURVES}
        if self._held is not None:
            self._held[k] = params
        one = jax.tree.map(lambda leaf: leaf[None], artifacts.from_arrays(self._template, params))
        self.diverged[k] = many.diverged(one, artifact.arrays["loss"][None])[0]
        return artifact._replace(arrays={name: artifact.arrays[name] for name in CURVES})

    def __call__(self, which: np.ndarray) -> Params:
        """Of these networks [k], leaves [k, ...]."""
        each = [artifacts.from_arrays(self._template, self._arrays(int(k))) for k in which]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *each)

    def _arrays(self, k: int) -> Mapping[str, np.ndarray]:
        if self._held is not None:
            return self._held[k]
        artifact = self._workdir.load("models", self._descriptions[k])
        if artifact is None:
            raise DiskError(
                f"network {k + 1} of {len(self._descriptions)} is gone from {self._workdir}: the same command"
                " trains it again"
            )
        return artifact.arrays
