"""The attacks of a finished balanced audit by the number of shadow models, as tables of docs/results.md.

    python scripts/audit.py --dataset=location --num_models=64 --workdir=runs/location64
    python benchmarks/attacks_by_shadows.py runs/location64

All attacks of a row have the same targets, shadows and records: means over the targets and 95 % intervals, which cover
other models and other records. Those that need no shadows but for a threshold stand in the last column only.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from mia_jax.reports import results

COUNTS = (1, 2, 4, 16)
MEASURES = {"auc": "AUC", "tpr": "TPR at 1 % FPR"}


def shown(measure: Mapping[str, Any] | None) -> str:
    """A measure with its interval, as the documents have it."""
    if not measure:
        return ""
    if measure.get("value") is None:
        return "not resolvable"
    if "low" not in measure:
        return f"{measure['value']:.3f}"
    return f"{measure['value']:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"


def table(found: Mapping[str, Any], key: str) -> list[str]:
    """A table's lines: attacks by their measure with all shadows, the largest first."""
    attacks, most = found["attacks"], found["shadows"]["count"]
    whole = {n: b["auc"] if key == "auc" else b["tpr_at_fpr"]["0.01"] for n, b in attacks.items()}
    counts = [count for count in COUNTS if count < most]
    order = sorted(attacks, key=lambda name: -(whole[name]["value"] or 0.0))
    lines = [f"| {MEASURES[key]} | {' | '.join(map(str, counts))} | {most} |", "|---" * (len(counts) + 2) + "|"]
    for name in order:
        few = attacks[name].get("by_shadows", {})
        cells = [shown(few.get(str(count), {}).get(key)) for count in counts]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {shown(whole[name])} |")
    return lines


def together(found: Mapping[str, Any]) -> list[str]:
    """What any, most and all attacks find, beside the best one alone."""
    block = found["overlap"]
    lines = [
        f"| called at {block['rate']:g} FPR each, by | members | non-members | best attack with as many |",
        "|---" * 4 + "|",
    ]
    for name in ("any", "most", "all"):
        one = block[name]
        lines.append(f"| {name} | {shown(one['tpr'])} | {shown(one['fpr'])} | {one['best_alone']:.3f} |")
    return lines


def main() -> None:
    """Print the tables of a workdir."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", help="of a finished balanced audit")
    found: Mapping[str, Any] = results.read(parser.parse_args().workdir).results
    for key in MEASURES:
        print("\n".join(table(found, key)), end="\n\n")
    if "overlap" in found:
        print("\n".join(together(found)), end="\n\n")
    for rate, measure in found.get("screens", {}).get("tail_tnr", {}).items():
        print(f"tail TNR at {rate}: {shown(measure) or measure.get('reason')}")


if __name__ == "__main__":
    main()
