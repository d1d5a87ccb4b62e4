"""Check a folder of evidence: every file against its manifest, and nothing more or less.

mia-jax verify runs/location-1a2b3c4d/evidence

Says what was verified in one line; a file that was changed, is missing or does not belong there is one line with its
name, and exit code 2. Digests tell a change and not who made it: check a signature of manifest.json with the program
that made it (gpg --verify, minisign -V, cosign verify-blob), or compare the digest with one that you were told.
"""

from collections.abc import Callable

from absl import flags

from mia_jax import cli

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags; returns what to do once they are read."""
    if len(argv) > 1 and not argv[1].startswith("-"):
        argv[1] = f"--folder={argv[1]}"  # it may stand alone, as the file of other programs that check digests
    flags.DEFINE_string(
        "folder",
        None,
        "folder of the evidence, or the workdir that holds it, or its address, as s3://bucket/run",
        required=True,
    )
    return _verify


def _verify() -> None:
    from mia_jax import evidence

    cli.show(str(evidence.verify(FLAGS.folder)))
