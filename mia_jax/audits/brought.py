"""What an audit of a model in this process is given by its caller."""

from typing import Any, NamedTuple

import numpy as np

from mia_jax.data.groups import Grouping


class Brought(NamedTuple):
    """What an audit of a model in this process is given."""

    model: Any  # whatever answers: ``predictors.answers``
    x: Any  # records [n, *f], in the type that the model takes
    y: np.ndarray  # int32 [n]; with a signal, whatever is predicted [n, ...]
    member: np.ndarray | None  # bool [n], where it is known
    population: tuple[Any, np.ndarray] | None  # records that trained no model [p, *f], and their labels
    trainer: Any = None  # what trains the shadows: ``platforms.as_platform``
    shadows: np.ndarray | None = None  # probabilities [S, n, c], that were given
    shadow_member: np.ndarray | None = None  # bool [S, n], who trained those
    signal: Any = (
        None  # (prediction, y) -> [n], the name of one, or a ``Signal``, where predictions are no probabilities
    )
    digest: str = ""  # of the file that all of this is from, if it is from one
    notes: tuple[str, ...] = ()  # what was made of labels and answers, in sentences
    class_names: tuple[str, ...] = ()  # of classes 0, 1, ..., where labels were not these numbers
    group: Grouping | None = None  # of the records, by a column of the user's

    @property
    def has_shadows(self) -> bool:
        """Whether there are shadows, or something to train them."""
        return self.trainer is not None or self.shadows is not None
