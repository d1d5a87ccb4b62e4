"""Names of classes and categories that are one in two spellings: Köln, köln and "Köln."."""

import unicodedata
from collections.abc import Sequence

from mia_jax import sanitize


def bare(name: str) -> str:
    """A name without what spellings differ by: case, white space, punctuation at its ends."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())
    return text.strip(".,;:!?'\" ") or text


def doubt(names: Sequence[str], what: str) -> str:
    """What is to be said of names that seem to be one, in a sentence; "" where none do.

    Args:
        names: all different.
        what: they are names of, in words: classes, categories.
    """
    first: dict[str, str] = {}
    pairs = [(first[bare(name)], name) for name in names if first.setdefault(bare(name), name) != name]
    if not pairs:
        return ""
    more = f" ({len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
    return (
        f"{sanitize.line(pairs[0][0], 40)} and {sanitize.line(pairs[0][1], 40)} are two {what}{more}, though their"
        " names differ by case, spaces or punctuation only: write them alike if they are one."
    )
