"""What a user's records look like that they should not: an index or the labels among the features, channels first."""

import numpy as np

MISSING = (-999.0, -9999.0, -99999.0, -1e6)  # numbers that stand for none, as a rule
CHANNELS = (1, 3, 4)  # of images


def notes(x: np.ndarray, y: np.ndarray) -> tuple[str, ...]:
    """What is to be said of it, in sentences.

    Args:
        x: numbers [n, *f].
        y: int [n].
    """
    said = []
    if x.ndim == 4 and x.shape[1] in CHANNELS and x.shape[3] not in CHANNELS and min(x.shape[2:]) > 4:
        said.append(
            f"Records have shape {x.shape[1:]}, as images with their channels first; here channels are the last axis,"
            " and a network with convolutions would take columns for channels: np.moveaxis(x, 1, -1)."
        )
    if x.ndim != 2 or len(x) < 10:
        return tuple(said)
    steps = x[1:] - x[:-1].astype(np.float64) if x.dtype.kind == "u" else np.diff(x, axis=0)
    counts = np.flatnonzero((np.abs(steps) == 1).all(axis=0) & (steps == steps[0]).all(axis=0))
    if len(counts):
        said.append(
            f"Column {counts[0]} of x counts the rows, as the index of a table does: it tells the order of the file,"
            f" which often tells members; np.delete(x, {counts[0]}, axis=1) leaves it out."
        )
    own = np.flatnonzero((x == y[:, None]).all(axis=0))
    if len(own):
        said.append(
            f"Column {own[0]} of x is y itself: models need to learn nothing; np.delete(x, {own[0]}, axis=1) leaves it"
            " out."
        )
    for number in MISSING if x.dtype.kind in "if" else ():
        if (share := (x == number).mean(axis=0)).max() > 1e-3 and not ((x < 0) & (x != number)).any():
            said.append(
                f"{number:g} is in {int((share > 0).sum())} of {x.shape[1]} columns, whose other values are none below"
                " 0: as a rule it stands for what is missing; fill it in, or write np.nan for a model that takes such."
            )
    return tuple(said)
