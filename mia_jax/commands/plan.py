"""Write who trains on what: a plan for models that are trained elsewhere, on a cluster or in another language.

mia-jax plan --num_records=50000 --num_models=64 --out=plan.npz

plan.npz holds member (bool [K, n], true where the record trains the model), seeds (int [K]) and digest. Train model k
on the records of row k, ask it about all n records in their order, and save what it answers, [n, c], as
answers/model-k.npy. A folder of such files, with plan.npz, labels.npy and target.npy beside them, is audited as it is:

mia-jax audit --predictions=answers
"""

import pathlib
from collections.abc import Callable
from typing import Any

from absl import flags

from mia_jax import cli

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags; returns what to do once they are read."""
    del argv
    flags.DEFINE_integer("num_records", None, "records that are asked about later", required=True)
    flags.DEFINE_integer("num_models", 64, "models; in complementary pairs unless there is a --train_size")
    flags.DEFINE_integer(
        "train_size", None, "records that train each model, as many as trained the target (default: half)"
    )
    flags.DEFINE_integer("seed", 0, "of all draws", lower_bound=0)
    flags.DEFINE_string("out", "plan.npz", "the .npz to write")
    flags.DEFINE_string(
        "rows", None, "a folder for text files, too: rows-00.txt has the records of model 0, one a line"
    )
    return _plan


def _plan() -> None:
    from mia_jax.plans import training_plan
    from mia_jax.types import InputError

    out = pathlib.Path(FLAGS.out)
    if out.suffix != ".npz":
        raise InputError(f"--out={out} must end with .npz")
    plan = training_plan.plan(FLAGS.num_records, FLAGS.num_models, train_size=FLAGS.train_size, seed=FLAGS.seed)
    if out.exists() and not _holds(out, plan):
        raise InputError(
            f"{out} is there, and is another plan, by which models may have been trained, or no plan: give another"
            " --out, or remove it"
        )
    plan.save(out)
    if FLAGS.rows is not None:
        plan.save_rows(FLAGS.rows)
    each = int(plan.member[0].sum())
    cli.show(f"{out}: {FLAGS.num_models} models, each on {each:,} of {FLAGS.num_records:,} records")


def _holds(path: pathlib.Path, plan: Any) -> bool:
    """Whether a file holds this plan."""
    from mia_jax.plans import training_plan
    from mia_jax.types import InputError

    try:
        return training_plan.load(path).digest == plan.digest
    except InputError:
        return False
