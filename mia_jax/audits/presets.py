"""The paper's settings, by data set."""

import re
from typing import Any

# Sizes of training sets and numbers of shadows are the paper's (section VI). Its optimizer (SGD, learning rate 1e-3,
# decay 1e-7, up to 100 or 200 epochs, batch size not told) is not enough: Adam 1e-3, batches of 100, 100 epochs are
# ours.
PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": dict(num_shadows=100, train_size=15_000, model="cnn"),
    # The largest of the paper's sizes that leaves as many records again for disjoint shadows.
    "cifar100": dict(num_shadows=100, train_size=10_520, model="cnn"),
    "purchase": dict(num_shadows=20, train_size=10_000),
    "location": dict(num_shadows=60, train_size=1_200),
    "texas": dict(num_shadows=10, train_size=10_000),
    "mnist": dict(num_shadows=50, train_size=10_000),
    "adult": dict(num_shadows=20, train_size=10_000),
}


OTHERS = dict(num_shadows=20, model="mlp")  # for everybody's own data, and where a preset is silent


def preset(dataset: str) -> dict[str, Any]:
    """The settings for a data set where the user gives none; ``purchase20`` and the like share Purchase's."""
    return OTHERS | PRESETS.get("purchase" if re.fullmatch(r"purchase\d*", dataset) else dataset, {})
