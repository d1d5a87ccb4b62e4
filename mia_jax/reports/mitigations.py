"""What mitigations did, and what they cost, as this library measured them; no number is of the run being reported."""

from typing import NamedTuple


class Measured(NamedTuple):
    """A mitigation on one data set: what the model was worth and what the attack found, without it and with it."""

    mitigation: str
    how: str  # the flags that ask for it here, and what it changes
    data: str
    test_accuracy: tuple[float, float]  # without, with
    attack: str  # the attack and its measure
    found: tuple[float, float]  # without, with
    source: int  # of SOURCES


SOURCES = (
    "python scripts/reproduce.py --scale=cpu --experiment=table3 (docs/REPRODUCTION.md), 2 cores, CPU, 2026-11-25",
    "python scripts/reproduce.py --scale=cpu --experiment=train_size (docs/REPRODUCTION.md), 2 cores, CPU, 2026-11-26",
    "python scripts/audit.py --dataset=location --num_models=32 --dp_noise_multiplier=4.4 (docs/results.md), and the"
    " same without noise (docs/measurements.md), 2 cores, CPU, AMD EPYC, 2026-11-27",
)
PURCHASE, TEXAS = "Purchase-100, simulated records", "Texas hospital stays, simulated records"
SHOKRI = "Shokri et al., accuracy"
MEASURED = (
    Measured("Labels alone", "--defenses=label_only", PURCHASE, (0.666, 0.666), SHOKRI, (0.879, 0.667), 1),
    Measured("Labels alone", "--defenses=label_only", TEXAS, (0.545, 0.545), SHOKRI, (0.822, 0.727), 1),
    Measured("One decimal digit", "--defenses=round_to(1)", PURCHASE, (0.666, 0.665), SHOKRI, (0.879, 0.789), 1),
    Measured("The three best classes", "--defenses=top_k(3)", PURCHASE, (0.666, 0.666), SHOKRI, (0.879, 0.879), 1),
    Measured("Weight decay", "--l2=1e-3", PURCHASE, (0.666, 0.755), SHOKRI, (0.879, 0.753), 1),
    Measured("Weight decay", "--l2=1e-3", TEXAS, (0.545, 0.546), SHOKRI, (0.822, 0.643), 1),
    Measured("Much weight decay", "--l2=1e-2", PURCHASE, (0.666, 0.308), SHOKRI, (0.879, 0.538), 1),
    Measured(
        "Three times the data", "7,500 records for 2,500", "CIFAR-10", (0.471, 0.569), "Shokri et al., precision",
        (0.804, 0.770), 2,
    ),
    Measured(
        "Noise (DP-SGD)", "--dp_noise_multiplier=4.4, 100 epochs: epsilon at most 1.96", "Location", (0.636, 0.310),
        "strongest attack, AUC", (0.975, 0.592), 3,
    ),
)  # fmt: skip
