"""Records of one set that are another's, a little changed: the same customers a year later.

Of any sample a record's nearest is hardly ever far nearer than the second nearest. In a set that holds the record
itself, a little changed, it is; families, and rows of one person, are as near within a set. NumPy and scikit-learn.
"""

import numpy as np

from mia_jax.types import Array

ASKED, LEAST = 2048, 60  # records whose nearest are looked for; records of a set, of fewer of which nothing is told
COLUMNS = 64  # of more, random sums are compared
LITTLE = 0.5  # of the median column's spread, below which a column counts as if it varied so
NEARER = 0.5  # of the distance to the second nearest, that the nearest's is below
MORE, ERRORS = 0.2, 6.0  # share of records of which that is so, more than within their own set; in standard errors, too


def note(x: Array, known: Array, called: tuple[str, str], move: str) -> str | None:
    """What is to be said of records that are known ones, a little changed, in sentences; None: nothing.

    Args:
        x: records [N, *f], numbers.
        known: records [n, *f].
        called: what both are called.
        move: what to do.
    """
    if not (found := share(x, known)):
        return None
    return (
        f"About {found:.0%} of {called[1]} seem to be in {called[0]}, a little changed (their nearest there is nearer"
        f" than half as far as the second nearest, as within {called[1]} it is not): a later version of the same"
        f" records, or augmented ones? {move}"
    )


def share(x: Array, known: Array) -> float:
    """Which share of the known records have a changed one among x, about; 0 where chance may be why.

    Args:
        x: records [N, *f], numbers.
        known: records [n, *f].
    """
    other, own = (np.asarray(each).reshape(len(each), -1) for each in (x, known))
    if min(len(other), len(own)) < LEAST:
        return 0.0
    rng = np.random.default_rng(0)
    asked = np.sort(rng.permutation(len(own))[:ASKED])
    few = np.sort(rng.permutation(len(own))[: len(other)])  # or a cluster has one record there, and several here
    spread = np.nanstd(own[asked].astype(np.float64), axis=0)
    varied = np.flatnonzero(spread > 0)
    if not len(varied):
        return 0.0
    least = LITTLE * np.median(spread[varied])  # pixels that hardly vary are no larger for it
    scales = [spread[varied], np.maximum(spread[varied], least)]
    sums = np.eye(len(varied)) if len(varied) <= COLUMNS else rng.normal(size=(len(varied), COLUMNS))

    def found(scale: np.ndarray) -> float:
        def placed(rows: np.ndarray) -> np.ndarray:
            return np.nan_to_num(rows[:, varied].astype(np.float64) / scale) @ sums

        across = _alone(placed(other), placed(own[asked]), 0)
        within = _alone(placed(own[few]), placed(own[few[:ASKED]]), 1)  # a record is its own nearest
        more = across - within
        return more if more >= max(MORE, ERRORS * np.sqrt((across + within) / len(asked))) else 0.0

    return max(map(found, scales))


def _alone(among: np.ndarray, rows: np.ndarray, first: int) -> float:
    """The share of records [k, f] whose nearest, from the ``first`` on, is far nearer than the one after it."""
    from sklearn.neighbors import NearestNeighbors  # not before it is needed: importing mia_jax is cheap

    far = NearestNeighbors(n_neighbors=first + 2).fit(among).kneighbors(rows)[0]
    return float((far[:, first] < NEARER * far[:, first + 1]).mean())
