"""What a run needs of memory at least, looked at before it trains anything: networks that cannot fit are refused."""

import jax
import numpy as np

from mia_jax.attacks import shokri
from mia_jax.audits import train_networks
from mia_jax.audits.config import AuditConfig
from mia_jax.data import limits
from mia_jax.models import networks
from mia_jax.training import parallel
from mia_jax.types import InputError, Schema

COPIES = 4  # of an attack network's parameters: themselves, the gradient, Adam's two moments


def check_networks(config: AuditConfig, schema: Schema, m: int) -> None:
    """Refuse networks that do not fit the records, cannot be trained as asked, or do not fit into the memory.

    Args:
        config: of the networks.
        schema: of the records.
        m: training records of one network.

    Raises:
        InputError: it names the setting. Nothing is computed to find out.
    """
    if config.lanes and jax.default_backend() == "cpu":
        raise InputError(f"`lanes` is for accelerators: CPUs train {parallel.LANES} networks per program; leave it out")
    model = train_networks.build_network(config, schema)
    trainer = train_networks.build_trainer(train_networks.fitting(config, schema.shape, m), model, m)
    x = jax.ShapeDtypeStruct((1, *schema.shape), networks.natural(schema))
    state = jax.eval_shape(trainer.init, jax.eval_shape(lambda: jax.random.key(0)), x)
    one = _bytes(state.params) + _bytes((state.params, state.opt_state))  # the gradient, and what is updated
    smaller = f"`hidden={config.hidden}`" if config.model in ("mlp", "cnn") else f"`model={config.model}`"
    refuse(parallel.LANES * one, f"training {parallel.LANES} networks at once with {smaller}", "a smaller one")


def check_attack_networks(config: AuditConfig, num_classes: int) -> None:
    """Refuse attack networks of the paper's attack, and steps of theirs, that do not fit into the memory.

    Raises:
        InputError: it names the setting.
    """
    seen = num_classes if num_classes <= shokri.WIDE else shokri.SEEN
    parameters = config.attack_hidden * (seen + 3) + 2
    refuse(
        4 * parameters * COPIES * shokri.LANES,
        f"training {shokri.LANES} attack networks at once with `attack_hidden={config.attack_hidden}`",
        "fewer units",
    )
    rows = min(num_classes, shokri.BLOCK) * config.attack_batch_size  # small classes are repeated to fill a step
    refuse(4 * rows * (seen + 1), f"a step of `attack_batch_size={config.attack_batch_size}`", "fewer rows")


def refuse(needed: int, what: str, instead: str) -> None:
    """Raises InputError where ``needed`` bytes are more than there are."""
    if needed > (free := _free()):
        raise InputError(
            f"{what} takes at least {limits.amount(needed)} of memory, and {limits.amount(int(free))} are free:"
            f" give {instead}"
        )


def _free() -> float:
    """Bytes that are free where networks are trained; infinity where nobody tells."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return limits.free_memory()


def _bytes(tree) -> int:
    """Of the arrays of a tree of shapes; keys of random numbers and the like are too small to count."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended)]
    return sum(int(np.prod(leaf.shape, dtype=object)) * leaf.dtype.itemsize for leaf in leaves)
