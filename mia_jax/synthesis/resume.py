"""Algorithm 1 as a stage: its state lies in the workdir; an interrupted search goes on and ends with the same bytes."""

import time
from typing import Any

import jax
import numpy as np

from mia_jax.progress import Progress, silent
from mia_jax.storage import artifacts
from mia_jax.synthesis import search as algorithm
from mia_jax.synthesis.step import Results, Searches
from mia_jax.types import Key, MiaError, Records, Schema, Target

VERSION = 2  # of what a saved search means: raise it when the same description would give other records


def search(
    workdir: artifacts.Workdir,
    description: artifacts.Description,
    key: Key,
    target: Target,
    schema: Schema,
    num_records: int,
    *,
    max_queries: int | None = None,
    progress: Progress = silent,
    every: float = 10.0,
    **options: Any,
) -> tuple[Records, algorithm.SynthesisInfo]:
    """``search.search``, going on from what the workdir holds of it.

    Args:
        workdir: where the state is kept, as an artifact of the stage "search".
        description: JSON values that tell the target, and whatever else decides its answers.
        key, target, schema, num_records, options: as of ``search.search``; they are part of the artifact's name.
        max_queries: as there. It counts earlier runs, and is not part of the name: a larger budget goes on.
        progress: shows records found, queries asked and the time left.
        every: seconds between two writings of the state; the most that an interruption costs.

    Raises:
        InputError: as ``search.search``.
    """
    described = {
        **description,
        "version": VERSION,
        "key": [int(word) for word in np.asarray(jax.random.key_data(key))],
        "schema": artifacts.digest({"shape": schema.shape, "fields": schema.fields, "classes": schema.num_classes}),
        "num_records": num_records,
        "options": {k: v.tolist() if hasattr(v, "tolist") else v for k, v in options.items()},
    }
    with workdir.taking_turns("search", described):  # processes that share the workdir find what the first has found
        kept = workdir.load("search", described)
        state = None if kept is None else artifacts.from_arrays(_TEMPLATE, kept.arrays)
        found = 0 if state is None else int(state.results.done.sum())
        last, written = None, time.monotonic()

        def write() -> None:
            if last is not None:
                workdir.save("search", described, artifacts.to_arrays(last))

        with progress("synthesis", num_records) as advance:
            advance(found)

            def on_step(state: algorithm.State) -> None:
                nonlocal found, last, written
                before, found = found, int(np.asarray(state.results.done).sum())
                advance(found - before, f"{found:,} records, {int(state.queries):,} queries")
                last = state
                if time.monotonic() - written >= every:
                    write()
                    written = time.monotonic()

            try:
                result = algorithm.search(
                    key, target, schema, num_records, max_queries=max_queries, state=state, on_step=on_step, **options
                )
            except MiaError:  # a host target that does not answer: it was asked between two steps, whose state is whole
                write()
                raise
        write()
        return result


_LEAF: Any = 0  # of a template of which the structure is all that is read
_TEMPLATE = algorithm.State(
    _LEAF, Searches(*[_LEAF] * len(Searches._fields)), Results(*[_LEAF] * len(Results._fields)), _LEAF
)
