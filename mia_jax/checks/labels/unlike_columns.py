"""Whether a target favors other classes than its shadows do, whatever the record: corrected priors, a class's weight.

Each class's mean log-probability, less the mean over other models, is nearly 0 of models that were trained alike. NumPy
and SciPy; never imports jax.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from mia_jax.types import Array

LEVEL = 1e-3  # of the prediction interval
LEAST = 4  # shadows
WORTH = 0.25  # nats, root mean square over classes, that are worth a word
CLIP = 1e-7  # probabilities below it are taken for this
ROWS = 4096


def notes(target: Array, shadows: Array | Sequence[Array]) -> tuple[str, ...]:
    """What is to be said of such a target, in a sentence.

    Args:
        target: probabilities [n, c].
        shadows: probabilities [S, n, c], answered in the same format.
    """
    if len(shadows) < LEAST:
        return ()
    some = slice(None, None, max(1, len(target) // ROWS))
    each = np.stack(
        [np.log(np.maximum(np.asarray(p)[some].astype(np.float64), CLIP)).mean(axis=0) for p in (target, *shadows)]
    )
    each -= each.mean(axis=1, keepdims=True)  # how sure a model is of everything is told otherwise
    rest = each[1:]
    own = each[0] - rest.mean(axis=0)
    theirs = (rest - rest.mean(axis=0)) * len(rest) / (len(rest) - 1)  # each less the mean of the others
    size, sizes = np.sqrt((own**2).mean()), np.sqrt((theirs**2).mean(axis=1))
    freedom = 2 * (sizes**2).mean() ** 2 / max((sizes**2).var(ddof=1), 1e-12)  # of classes that vary on their own
    freedom = max(1.0, min(freedom, len(own) - 1) / 1.5)
    far = np.sqrt(stats.f.isf(LEVEL, freedom, freedom * (len(rest) - 1)) * (sizes**2).mean())
    if size < max(WORTH, 1.5 * sizes.max(), far):
        return ()
    most, least = int(own.argmax()), int(own.argmin())
    return (
        f"The target favors other classes than the shadows do, whatever the record: {most} most (log p is"
        f" {own[most]:.2f} higher) and {least} least ({-own[least]:.2f} lower; counted from 0), where a shadow is"
        f" {sizes.max():.2f} from the others at most: its priors may have been corrected, or its classes weighted,"
        " or the one trained on noisier labels than the others. Train, and correct, the shadows as the target was.",
    )
