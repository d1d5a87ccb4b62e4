"""Aerni, Zhang, Tramer, "Evaluations of Machine Learning Privacy Defenses are Misleading", CCS 2024 (arXiv 2404.17399):
canaries of several kinds, each of which leaks in its own way.

plain:        a record as it is, with its own label: what is told of everybody (their code: clean).
mislabelled:  a record with a label drawn from the other classes (label_noise): a model can only know it by heart.
ood:          out of distribution: a record whose attributes are each another record's, drawn one by one, with a label
              drawn from all classes. An image is noise, then. Theirs are images of ImageNet among CIFAR-10's, which
              tables have no like of.

Departure: theirs are 500 canaries of one kind in a set of models of its own; here kinds may share the models, a canary
in turn of each. The paper itself could not be read beyond its abstract: what is said of it is what its code does.
"""

from typing import NamedTuple

import jax
import numpy as np

from mia_jax.audits.stages import stage_key
from mia_jax.synthesis import attributes
from mia_jax.types import InputError, Key, Records, Schema

KINDS = ("plain", "mislabelled", "ood")
ALSO = {"clean": "plain", "mislabeled": "mislabelled"}  # other spellings


class Made(NamedTuple):
    """The pool with its canaries."""

    pool: Records  # [N]
    own: np.ndarray  # int32 [m], the labels that the canaries had; of one out of distribution, the one it was given
    kind: np.ndarray  # int [m], of each canary: a place in the list of kinds


def parse(text: str) -> tuple[str, ...]:
    """Kinds, from text as in "clean,mislabelled,ood".

    Raises:
        InputError: there is no such kind, or it is named twice.
    """
    names = [ALSO.get(name, name) for name in map(str.strip, text.split(","))]
    if wrong := [name for name in names if name not in KINDS]:
        raise InputError(f"`canary_kind={text}`: there is no kind {wrong[0]!r}; there are clean, mislabelled and ood")
    if len(set(names)) < len(names):
        raise InputError(f"`canary_kind={text}` names a kind twice")
    return tuple(names)


def make(root: Key, pool: Records, schema: Schema, canaries: np.ndarray, kinds: tuple[str, ...]) -> Made:
    """Turn records into canaries, each kind having as many, to one.

    Args:
        root: of the run.
        pool: [N].
        schema: of the pool.
        canaries: int [m], rows of the pool, in random order.
        kinds: as of ``parse``.
    """
    m, y = len(canaries), np.array(pool.y, np.int32)
    kind = np.arange(m) % len(kinds)
    own, x = y[canaries], pool.x
    away = np.asarray(jax.random.randint(stage_key(root, "labels"), (m,), 1, schema.num_classes), np.int32)
    for place, name in enumerate(kinds):
        mine = kind == place
        if name == "mislabelled":
            y[canaries[mine]] = ((own + away) % schema.num_classes)[mine]
        elif name == "ood":
            x = _mixed(stage_key(root, "ood"), np.array(x), canaries[mine], schema)
            label = jax.random.randint(stage_key(root, "ood labels"), (m,), 0, schema.num_classes)
            y[canaries[mine]] = np.asarray(label, np.int32)[mine]
            own[mine] = y[canaries[mine]]
    return Made(Records(x, y), own, kind)


def _mixed(key: Key, x: np.ndarray, rows: np.ndarray, schema: Schema) -> np.ndarray:
    """Records x [N, *f], in which those of ``rows`` have each attribute from a record of its own."""
    known = attributes.attributes(schema)
    flat = x.reshape(len(x), -1)
    donors = np.asarray(jax.random.randint(key, (len(rows), known.count), 0, len(x)))
    mixed = flat[donors[:, known.of], np.arange(flat.shape[1])]
    flat[rows] = mixed
    return flat.reshape(x.shape)
