"""A plan to train by, wherever the training is done: which records train each of K models, and with which seed."""

import os
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.data import npz, truths
from mia_jax.plans import splits
from mia_jax.storage import artifacts
from mia_jax.types import InputError


class TrainingPlan(NamedTuple):
    """Who trains on what, of K models and n records.

    ``plan.npz`` has the same arrays, and ``digest`` beside them; every language that reads .npy files reads them.
    """

    member: np.ndarray  # bool [K, n], true where the record trains the model
    seeds: np.ndarray  # int64 [K], 0 to 2**31 - 1: of each model's training

    @property
    def digest(self) -> str:
        """SHA-256 of ``member``, lower-case hex: who has it was trained by this plan."""
        return artifacts.array_digest(self.member)

    def rows(self, k: int) -> np.ndarray:
        """The records that train model k, ascending, int [m]."""
        return np.flatnonzero(self.member[k])

    def save(self, path: str | os.PathLike) -> None:
        """Write plan.npz, whole or not at all, in a folder that is made where it is missing.

        Raises:
            InputError: the path cannot be written.
        """
        try:
            arrays = {"member": self.member, "seeds": self.seeds, "digest": np.array(self.digest)}
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            artifacts.write_npz(pathlib.Path(path), arrays)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another path") from None

    def save_rows(self, folder: str | os.PathLike) -> None:
        """Write rows-000.txt, rows-001.txt, ...: for programs that read no .npz, the records of a model, one a line.

        Raises:
            InputError: the folder cannot be written.
        """
        path, width = pathlib.Path(folder), len(str(len(self.member) - 1))
        try:
            path.mkdir(parents=True, exist_ok=True)
            for k in range(len(self.member)):
                lines = "".join(f"{row}\n" for row in self.rows(k))
                (path / f"rows-{k:0{width}d}.txt").write_text(lines, encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}); choose another folder") from None


def load(path: str | os.PathLike) -> TrainingPlan:
    """Read plan.npz, or one of a user's own with ``member`` [K, n] and perhaps ``seeds`` [K].

    Raises:
        InputError: it cannot be read, or its arrays are none of a plan.
    """
    write = "mia_jax.plan(...).save(path)"
    arrays = npz.read_own(pathlib.Path(path), ("member", "seeds", "digest"), write, needed=("member",))
    member = arrays["member"]
    if member.ndim != 2 or not member.size or not truths.only(member):
        raise InputError(f"{path}: member is bool [K, n], true where the record trains the model; it is {member.shape}")
    seeds = arrays.get("seeds", np.arange(len(member)))
    if seeds.shape != (len(member),) or seeds.dtype.kind not in "iu":
        raise InputError(
            f"{path}: seeds are integers [{len(member)}], one for each model; they have shape {seeds.shape}"
        )
    found = TrainingPlan(member.astype(bool), seeds.astype(np.int64))
    if "digest" in arrays and str(arrays["digest"]) != found.digest:
        raise InputError(f"{path}: its digest is not that of its member: it was changed; write it anew with {write}")
    return found


def plan(num_records: int, num_models: int, *, train_size: int | None = None, seed: int = 0) -> TrainingPlan:
    """Draw who trains on what, for models that are trained elsewhere.

    Without a ``train_size``, models 2p and 2p + 1 train on complementary halves, so that every record trains half of
    the models, as LiRA and its heirs like it best. More models change nobody's records or seed.

    Args:
        num_records: n, the records that are asked about later.
        num_models: K; even, where they come in pairs.
        train_size: records that train each model, drawn for each alone: as many as trained the target. None: halves.
        seed: of all draws.

    Returns:
        A TrainingPlan: ``member`` [K, n], ``seeds`` [K], ``rows(k)``; ``save`` writes plan.npz.

    Raises:
        InputError: sizes that cannot be.

    >>> import mia_jax as mia
    >>> plan = mia.plan(num_records=1000, num_models=8)
    >>> len(plan.rows(0)), (plan.member.sum(axis=0) == 4).all()
    (500, np.True_)
    """
    for name, value, least in (("num_records", num_records, 2), ("num_models", num_models, 1)):
        if value < least:
            raise InputError(f"{name}={value} must be at least {least}")
    key = jax.random.key(seed)
    if train_size is None:
        rows = splits.balanced(key, num_records, num_models).train
    elif 0 < train_size < num_records:
        rows = np.asarray(jax.lax.map(lambda k: _draw(key, k, num_records)[:train_size], jnp.arange(num_models)))
    else:
        raise InputError(
            f"train_size={train_size} must lie between 1 and {num_records - 1}: of {num_records:,} records some train a"
            " model and others do not"
        )
    member = splits.membership_matrix(splits.Plan(rows, rows), num_records)
    seeds = [np.random.SeedSequence((seed, k)).generate_state(1)[0] >> 1 for k in range(num_models)]
    return TrainingPlan(member, np.array(seeds, np.int64))


def _draw(key: jax.Array, k: jax.Array, size: int) -> jax.Array:
    return jax.random.permutation(jax.random.fold_in(key, k), size)
