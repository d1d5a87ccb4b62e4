"""What a service answers that are no probabilities: percentages, counts, logarithms, sigmoids, logits."""

import numpy as np

from mia_jax.targets.other_numbers import OVER_RECORDS, TURNED, beginning, mistaken_for


def told(values: np.ndarray) -> str:
    """What it is, and what to serve instead.

    Args:
        values: finite answers [b, c], or [b, 1] of the second of two classes.
    """
    if values.shape[1] == 1 and values.min() >= 0:
        return (
            f"its answers are one number for each record, from {values.min():.4g} to {values.max():.4g}: no"
            " probabilities of the second class, nor logits, of which some are below 0; of percentages serve each / 100"
        )
    example = beginning(values[0])
    match kind := mistaken_for(values):
        case "percentages" | "counts, or quantized scores":
            return f"its answers look like {kind} ({example}): serve probabilities, which sum to 1"
        case _ if kind in TURNED:
            return f"its answers look like {kind} ({example}): serve the probabilities themselves"
        case _ if kind == OVER_RECORDS:
            return (
                f"its answers look like {kind} of a question (columns sum to 1, rows do not: {example}): serve a"
                " softmax over the classes, the last axis"
            )
        case "sigmoids":
            return (
                f"its answers are a probability for each class that do not sum to 1 ({example} sums to"
                f" {values[0].sum():.4g}), as several sigmoids give them: serve a softmax over the classes"
            )
    return (
        f"its answers look like logits ({example} is negative somewhere, or does not sum to 1): serve probabilities,"
        " as by a softmax (of one output: a sigmoid) at the end of the served model"
    )
