"""The numbers of Shokri et al. 2017, as data: what a report puts beside its own.

Accuracies, precisions and recalls are fractions. ``None``: the paper does not say.
"""

from typing import NamedTuple


class Row(NamedTuple):
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

TABLE_III = {  # without mitigation; the local network
    "purchase100": Row("local network", None, 0.66, 0.92, 0.87, 1.00, "Table III"),
    "texas": Row("local network", None, 0.55, 0.83, 0.77, 0.95, "Table III"),
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
