"""Evidence of a finished audit: its files, a manifest with their digests, a one-page annex; ``verify`` checks them.

It is for whoever was not there: a reviewer, an output checker, a regulator.
"""

from mia_jax.evidence.manifest import FOLDER, Evidence, digest, write
from mia_jax.evidence.verification import Verified, verify

__all__ = ["FOLDER", "Evidence", "Verified", "digest", "verify", "write"]
