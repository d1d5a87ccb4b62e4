"""The numbers of Shokri et al. 2017, as data: what a report puts beside its own.

Accuracies, precisions and recalls are fractions. ``None``: the paper does not say.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """A target of the paper, and what it came to there; None: not told."""

    setting: str
    train_accuracy: float | None = None
    test_accuracy: float | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    source: str = ""


TABLE_I = (
    Row("Google Prediction API", 0.999, 0.656, source="Table I"),
    Row("Amazon ML (10 passes, L2 1e-6)", 0.941, 0.468, source="Table I"),
    Row("Amazon ML (100 passes, L2 1e-4)", 1.00, 0.504, source="Table I"),
    Row("local network", 0.830, 0.670, source="Table I"),
)

TABLE_II = {
    name: Row("Google Prediction API", train, test, precision=precision, source="Table II")
    for name, train, test, precision in (
        ("adult", 0.848, 0.842, 0.503),
        ("mnist", 0.984, 0.928, 0.517),
        ("location", 1.000, 0.673, 0.678),
        ("purchase2", 0.999, 0.984, 0.505),
        ("purchase10", 0.999, 0.866, 0.550),
        ("purchase20", 1.000, 0.781, 0.590),
        ("purchase50", 1.000, 0.693, 0.860),
        ("purchase100", 0.999, 0.659, 0.935),
        ("texas", 0.668, 0.517, 0.657),
    )
}

# Mitigation -> (test accuracy of the target, then accuracy, precision and recall of the attack) on Purchase-100 and on
# Texas; all against the local network. None: the paper has no such row.
_MITIGATED = {
    "none": ((0.66, 0.92, 0.87, 1.00), (0.55, 0.83, 0.77, 0.95)),
    "top 3": ((0.66, 0.92, 0.87, 0.99), (0.55, 0.83, 0.77, 0.95)),
    "top 1": ((0.66, 0.89, 0.83, 1.00), (0.55, 0.82, 0.76, 0.95)),
    "label only": ((0.66, 0.66, 0.60, 0.99), (0.55, 0.73, 0.67, 0.93)),
    "3 digits": ((0.66, 0.92, 0.87, 0.99), (0.55, 0.83, 0.77, 0.95)),
    "1 digit": ((0.66, 0.89, 0.83, 1.00), (0.55, 0.81, 0.75, 0.96)),
    "temperature 5": ((0.66, 0.88, 0.86, 0.93), (0.55, 0.79, 0.77, 0.83)),
    "temperature 20": ((0.66, 0.84, 0.83, 0.86), (0.55, 0.76, 0.76, 0.76)),
    "L2 1e-4": ((0.68, 0.87, 0.81, 0.96), (0.56, 0.80, 0.74, 0.92)),
    "L2 5e-4": (None, (0.57, 0.73, 0.69, 0.86)),
    "L2 1e-3": ((0.72, 0.77, 0.73, 0.86), (0.56, 0.66, 0.64, 0.73)),
    "L2 5e-3": (None, (0.35, 0.52, 0.52, 0.53)),
    "L2 1e-2": ((0.63, 0.53, 0.54, 0.52), None),
}
MITIGATIONS: dict[str, dict[str, Row]] = {  # data set -> mitigation -> row
    name: {
        mitigation: Row("local network", None, *row, "Table III")
        for mitigation, numbers in _MITIGATED.items()
        if (row := numbers[column]) is not None
    }
    for column, name in enumerate(("purchase100", "texas"))
}
TABLE_III = {name: rows["none"] for name, rows in MITIGATIONS.items()}  # without mitigation

_SHADOW_DATA = "section VI, effect of the shadow training data; precision over all classes"
SHADOW_DATA: dict[str, dict[str, Row]] = {  # data set -> what the shadows were trained on -> row
    name: {
        kind: Row("Google Prediction API", precision=precision, source=_SHADOW_DATA)
        for kind, precision in precisions.items()
    }
    for name, precisions in {
        "purchase100": {"real": 0.935, "marginal": 0.795, "search": 0.896},
        "location": {"real": 0.678, "noise 10 %": 0.666, "noise 20 %": 0.613},
    }.items()
}
QUERIES_PER_RECORD = 156  # to the target, on Purchase, by Algorithm 1

TEXAS_CLASSES = {"overall precision, above": 0.6, "classes": 20, "their precision, above": 0.85}

CIFAR_SIZES = {  # training records of the target and of each shadow
    "cifar10": (2_500, 5_000, 10_000, 15_000),
    "cifar100": (4_600, 10_520, 19_920, 29_540),
}
CIFAR = {  # section VI-B: the largest training set of each; precision is the median over the classes
    "cifar10": Row(
        "CNN, 15,000 training records", None, 0.6, precision=0.74, source="section VI-B, median over classes"
    ),
    "cifar100": Row(
        "CNN, 29,540 training records", None, 0.2, precision=0.988, source="section VI-B, median over classes"
    ),
}


def rows(dataset: str) -> list[Row]:
    """What the paper reports for a data set, local network first; empty for other people's data."""
    local = [TABLE_III[dataset]] if dataset in TABLE_III else []
    if dataset == "purchase100":
        local.append(TABLE_I[-1])
    return local + [table[dataset] for table in (TABLE_II, CIFAR) if dataset in table]
