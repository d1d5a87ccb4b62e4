"""LT-IQR beside LiRA: do records of the largest range of losses over epochs leak? (docs/results.md)

    python scripts/audit.py --dataset=location --num_models=64 --workdir=runs/location64
    python benchmarks/loss_traces.py runs/location64 --targets=4

Trains targets of a finished balanced audit again, with their own keys, and keeps every record's loss after each epoch.
Precision: of the members that a number puts first, the share that LiRA calls at .1 % FPR.
"""

import argparse
import dataclasses

import numpy as np

from mia_jax import data
from mia_jax.audits import BalancedConfig, stages, train_networks
from mia_jax.audits.balanced import plan
from mia_jax.audits.plans import balanced
from mia_jax.reports import results
from mia_jax.statistics import metrics, overlap, screens
from mia_jax.training import traces
from mia_jax.types import Records

SHARES = (0.01, 0.05)  # of the members


def main() -> None:
    """Print a line for each target and the means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", help="of a finished balanced audit of our own networks, by lira")
    parser.add_argument("--targets", type=int, default=4)
    given = parser.parse_args()
    finished = results.read(given.workdir)
    fields = {field.name for field in dataclasses.fields(BalancedConfig)} - {"attacks", "workdir"}
    known = {name: value for name, value in finished.results["config"].items() if name in fields}
    config = balanced.resolve(BalancedConfig(**known, attacks="loss"))
    pool, schema = data.load(config.dataset, data_dir=config.data_dir)
    setting = plan.set_up(config, pool, schema)
    keys = stages.keys(stages.stage_key(setting.root, "models"), config.num_models)
    rows = setting.candidates[setting.plan.train]
    model = train_networks.build_network(config, schema)
    trainer = train_networks.build_trainer(config, model, rows.shape[1])
    asked = Records(*(np.asarray(leaf)[setting.candidates] for leaf in pool))
    lines = []
    for place, target in enumerate(setting.targets[: given.targets]):
        losses = traces.fit_traced(trainer, model, keys[target], pool, rows[target], config.num_epochs, asked).losses
        member, lira = finished.scores["member"][place], finished.scores["score_lira"][place]
        called = overlap.calls(lira, member, 0.001)[member]
        line = {"called": called.mean(), "AUC of LT-IQR": metrics.auc(screens.trace_iqr(losses), member).value}
        for name, risk in {"LT-IQR": screens.trace_iqr(losses), "last loss": losses[-1], "first": losses[0]}.items():
            order = np.argsort(-risk[member])
            line |= {f"{name}, first {share:.0%}": called[order[: int(share * len(order))]].mean() for share in SHARES}
        lines.append(line)
        print({name: round(float(value), 3) for name, value in line.items()}, flush=True)
    print("means", {name: round(float(np.mean([line[name] for line in lines])), 3) for name in lines[0]})


if __name__ == "__main__":
    main()
