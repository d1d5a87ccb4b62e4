"""Say whether models have unlearned records, beside models that never saw them, from saved answers.

mia-jax unlearning --answers=unlearned.npz --out=unlearning.json

The file holds unlearned [K, n, c], what each of K models answers about n records after it unlearned some of them, and
retrained [R, n, c], the same of models that never saw these; labels int [n]; forgotten bool [K, n], true where a model
was trained on the record and forgot it (left out: all); original as unlearned, before, if you like. In place of answers
and labels, one number per record [K, n] will do, larger where a model fits it better. mia_jax.unlearning is the same.
Arrays that seem not to belong together are a doubt, with which the verdict begins.
"""

import pathlib
from collections.abc import Callable

from absl import flags

from mia_jax import cli

FLAGS = flags.FLAGS
WRITE = "np.savez(path, unlearned=p, retrained=q, labels=y, forgotten=m)"


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags; returns what to do once they are read."""
    del argv
    flags.DEFINE_string("answers", None, "the .npz of the models' answers", required=True)
    flags.DEFINE_integer("targets", None, "unlearned models that are judged, the first (default: 8, or half of them)")
    flags.DEFINE_string("out", None, "a .json to write the measures to")
    return _unlearning


def _unlearning() -> None:
    from mia_jax.audits.unlearning import unlearning
    from mia_jax.data import npz
    from mia_jax.storage.files import write_json
    from mia_jax.types import InputError

    path, out = pathlib.Path(FLAGS.answers).expanduser(), None if FLAGS.out is None else pathlib.Path(FLAGS.out)
    if out is not None and (out.suffix != ".json" or not out.parent.is_dir()):
        raise InputError(f"--out={out} must be a .json in a folder that is there")
    wanted = ("unlearned", "retrained", "labels", "forgotten", "original")
    with npz.of_user(path, WRITE):
        arrays = npz.read(path, wanted, needed=wanted[:2])
        arrays = {name: npz.numbers(array, name) for name, array in arrays.items()}
    try:
        found = unlearning(
            arrays["unlearned"],
            arrays["retrained"],
            arrays.get("labels"),
            forgotten=arrays.get("forgotten"),
            original=arrays.get("original"),
            targets=FLAGS.targets,
        )
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None
    cli.show(str(found))
    if out is not None:
        write_json(out, found.json())
        cli.show(f"\nMeasures: {out}")
