"""Records of one set that are another's, a little changed: the same customers a year later.

Of any sample a record's nearest is hardly ever far nearer than the second nearest. In a set that holds the record
itself, a little changed, it is; families, and rows of one person, are as near within a set. NumPy and scikit-learn.
"""

import numpy as np

from mia_jax.types import Array

ASKED, LEAST = 2048, 60  # records whose nearest are looked for; records of a set, of fewer of which nothing is told
COLUMNS = 64  # of more, random sums are compared
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
    from sklearn.neighbors import NearestNeighbors  # not before it is needed: importing mia_jax is cheap

    rng = np.random.default_rng(0)
    asked = np.sort(rng.permutation(len(own))[:ASKED])
    spread = np.nanstd(own[asked].astype(np.float64), axis=0)
    varied = np.flatnonzero(spread > 0)
    if not len(varied):
        return 0.0
    sums = np.eye(len(varied)) if len(varied) <= COLUMNS else rng.normal(size=(len(varied), COLUMNS))

    def placed(rows: np.ndarray) -> np.ndarray:
        return np.nan_to_num(rows[:, varied].astype(np.float64) / spread[varied]) @ sums

    def alone(among: np.ndarray, rows: np.ndarray, first: int) -> np.ndarray:
        far = NearestNeighbors(n_neighbors=first + 2).fit(placed(among)).kneighbors(placed(own[rows]))[0]
        return far[:, first] < NEARER * far[:, first + 1]

    few = np.sort(rng.permutation(len(own))[: len(other)])  # or a cluster has one record there, and several here
    across, within = alone(other, asked, 0), alone(own[few], few[:ASKED], 1)  # a record is its own nearest
    more = float(across.mean() - within.mean())
    sure = more > ERRORS * np.sqrt((across.mean() + within.mean()) / len(asked))
    return more if sure and more >= MORE else 0.0
