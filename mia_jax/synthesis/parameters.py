"""The parameters of Algorithm 1 (Shokri et al. 2017, section V-C), and their defaults."""

from typing import NamedTuple

# How the k features of a proposal change. random: to a uniform value, which may be the one they had, so that about a
# half of k bits change. flip: bits flip, categories become another; numbers and pixels take a uniform value.
REDRAWS = ("random", "flip")
REDRAW_HELP = (
    "search: what redrawn attributes become: random (any value, for a bit perhaps the one it had) or flip (bits the"
    " other value, categories another, as the paper is said to do; with half the k_max it costs as many queries)"
)


class Parameters(NamedTuple):
    """Of Algorithm 1, by the paper's names, and one of ours."""

    k_max: int = 128  # features redrawn at first
    k_min: int = 4  # and at least
    conf_min: float = 0.2  # a record with less confidence is not sampled
    rej_max: int = 10  # proposals rejected in a row before k is halved
    iter_max: int = 1000  # queries before a search fails
    give_up: int = 10  # failed searches in a row before a class is given up
