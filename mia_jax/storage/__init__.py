"""The workdir: stages on disk as artifacts, named by what made them; locks; what the operating system refuses."""

from mia_jax.storage.artifacts import Artifact, Workdir, open_workdir

__all__ = ["Artifact", "Workdir", "open_workdir"]
