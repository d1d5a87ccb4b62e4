"""Statistics beside jax-privacy's CanaryScoreAuditor: intervals from 10,000 + 10,000 scores, and bounds on epsilon.

    pip install jax-privacy==2.0.0               # optional: the rows beside ours
    python benchmarks/audit_statistics.py          # about a minute

Scores are simulated: Gaussian, members at distance 1. Sides take turns, and medians over the turns are told;
jax-privacy resamples with a thread per core, ours with one.
"""

import argparse
import functools
import importlib.metadata
import os
import time

import numpy as np

from mia_jax.statistics import epsilon, metrics, one_run, resampling

SIZE, RESAMPLES, RATES = 10_000, 1000, (0.1, 0.01, 0.001)
CANARIES, GUESSES, RIGHT, DELTA = 10_000, 2000, 1500, 1e-5


def audit():
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.normal(1, 1, SIZE), rng.normal(0, 1, SIZE)])
    return score, np.arange(2 * SIZE) < SIZE


def ours():
    score, member = audit()
    counts = metrics.call(score, member, 1.0)

    def intervals():
        metrics.auc(score, member)
        for rate in RATES:
            metrics.tpr_at_fpr(score, member, rate)

    return {
        "bootstrap of AUC and TPR at three FPRs": functools.partial(
            resampling.bootstrap, score, member, RATES, resamples=RESAMPLES
        ),
        "bootstrap of AUC": functools.partial(resampling.bootstrap, score, member, (), resamples=RESAMPLES),
        "interval of TPR at FPR 1 %": functools.partial(metrics.tpr_at_fpr, score, member, 0.01),
        "the report's intervals: AUC and TPR at three FPRs": intervals,
        "joint beta, one threshold": functools.partial(epsilon.joint_beta, counts),
        "Clopper-Pearson, one threshold": functools.partial(epsilon.clopper_pearson, counts),
        "one run (Steinke)": functools.partial(one_run.steinke, CANARIES, GUESSES, RIGHT, delta=DELTA),
        "one run, Gaussian f-DP": functools.partial(one_run.gaussian, CANARIES, GUESSES, RIGHT, delta=DELTA),
    }


def theirs():
    from jax_privacy import auditing

    score, member = audit()
    auditor = auditing.CanaryScoreAuditor(score[member], score[~member])
    draws = auditing.BootstrapParams(RESAMPLES, seed=0)
    fixed = auditing.Explicit(1.0)
    tail = np.r_[np.ones(RIGHT), np.full(RIGHT, -1.0)], np.r_[np.ones(GUESSES - RIGHT), np.full(CANARIES, -1.0)]
    one = auditing.CanaryScoreAuditor(tail[0], tail[1][: CANARIES - len(tail[0])])  # RIGHT of GUESSES above 0
    above = auditing.Explicit(0.0)

    def area():
        auditor.attack_auroc(bootstrap_params=draws)

    def rate(fpr):
        auditor.tpr_at_given_fpr(fpr, bootstrap_params=draws)

    def all_four():
        area()
        for fpr in RATES:
            rate(fpr)

    return {
        "bootstrap of AUC and TPR at three FPRs": all_four,
        "bootstrap of AUC": area,
        "interval of TPR at FPR 1 %": functools.partial(rate, 0.01),
        "the report's intervals: AUC and TPR at three FPRs": all_four,
        "Clopper-Pearson, one threshold": lambda: auditor.epsilon_clopper_pearson(0.05, threshold_strategy=fixed),
        "one run (Steinke)": lambda: one.epsilon_one_run(0.05, DELTA, threshold_strategy=above),
        "one run, Gaussian f-DP": lambda: one.epsilon_one_run_fdp(0.05, DELTA, threshold_strategy=above),
    }


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    sides = {"ours": ours()}
    try:
        sides["jax-privacy"] = theirs()
    except ImportError:
        print("jax-privacy is not installed: its column is left out. pip install jax-privacy==2.0.0")
    versions = f"numpy {np.__version__}, scipy {importlib.metadata.version('scipy')}"
    if "jax-privacy" in sides:
        versions += f", jax-privacy {importlib.metadata.version('jax-privacy')}"
    print(f"{os.cpu_count()} cores, {versions}; {SIZE:,} + {SIZE:,} simulated scores, {RESAMPLES:,} resamples\n")
    print(f"{'what':52}" + "".join(f"{side:>16}" for side in sides) + f"{'times':>9}")
    for name in sides["ours"]:
        taken = {}
        for turn in range(turns + 1):
            for side, rows in sides.items():
                if name in rows and (
                    turn or side == "ours"
                ):  # a warm-up for ours alone: theirs has no caches that last
                    spent = seconds(rows[name])
                    taken.setdefault(side, []).append(spent) if turn else None
        middle = {side: float(np.median(spent)) for side, spent in taken.items()}
        row = f"{name:52}" + "".join(f"{1e3 * middle[s]:13.2f} ms" if s in middle else f"{'-':>16}" for s in sides)
        if len(middle) == 2:
            row += f"{middle['jax-privacy'] / middle['ours']:9.1f}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
