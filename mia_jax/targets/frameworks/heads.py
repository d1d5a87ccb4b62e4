"""What a network's last layer gives, as probabilities: logits or probabilities, a column for each class or only one."""

import importlib.util
from typing import Literal

import numpy as np
from scipy import special

from mia_jax.types import InputError

Head = Literal["logits", "probabilities"]


def installed(module: str, package: str, who: str) -> None:
    """Raises InputError where a library is not installed."""
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{who} needs {package}: pip install {package}")


def check(outputs: np.ndarray, head: Head, who: str) -> None:
    """Refuse outputs [b, c], [b, 1] or [b] that are plainly not what ``head`` says.

    Raises:
        InputError: "logits" that are all distributions, "probabilities" that are none, or another shape.
    """
    if outputs.ndim not in (1, 2) or 0 in outputs.shape:
        raise InputError(
            f"{who} gives outputs of shape {outputs.shape}: a head gives [b, c], or [b, 1] for two classes"
        )
    if not np.isfinite(outputs).all():  # it diverged, which is said elsewhere
        return
    inside = bool((outputs >= 0).all() and (outputs <= 1).all())
    whole = outputs.ndim == 1 or outputs.shape[1] == 1 or bool(np.allclose(outputs.sum(axis=1), 1, atol=1e-3))
    if head == "logits" and inside and whole and outputs.ndim == 2 and outputs.shape[1] > 1:
        raise InputError(
            f'{who} gives probabilities already, as of a softmax: give head="probabilities", or leave the softmax out'
        )
    if head == "probabilities" and not (inside and whole):
        raise InputError(f'{who} gives no probabilities: give head="logits", or end in a softmax or a sigmoid')


def probabilities(outputs: np.ndarray, head: Head) -> np.ndarray:
    """Outputs [b, c] as probabilities [b, c]; one column, [b, 1] or [b], is class 1 of two."""
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        one = outputs.reshape(len(outputs))
        if head == "probabilities":
            return np.stack([1 - one, one], axis=1)
        return special.softmax(np.stack([np.zeros_like(one), one], axis=1), axis=1)
    return outputs if head == "probabilities" else special.softmax(outputs, axis=1)
