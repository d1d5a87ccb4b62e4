"""The parameters of Algorithm 1 (Shokri et al. 2017, section V-C), and their defaults."""

from typing import NamedTuple


class Parameters(NamedTuple):
    """Of Algorithm 1, by the paper's names, and one of ours."""

    k_max: int = 128  # features redrawn at first
    k_min: int = 4  # and at least
    conf_min: float = 0.2  # a record with less confidence is not sampled
    rej_max: int = 10  # proposals rejected in a row before k is halved
    iter_max: int = 1000  # queries before a search fails
    give_up: int = 10  # failed searches in a row before a class is given up
