"""LiRA and RMIA scores of 256 models x 60,000 records, beside per-record SciPy loops as existing tools write them.

    python benchmarks/scoring.py [--models=256] [--records=60000] [--sample=2000]

Simulated answers (Gaussian scaled logits, balanced plan). Two tasks:

* one target: 254 shadows observed, fit (with the boundary) and score one model;
* every model in turn as the target, the others less its partner as its shadows (``leave_one_out.shadow_scores``),
  without a boundary.

The loops score one record at a time: LiRA a mean and a standard deviation per side and two ``scipy.stats.norm.logpdf``
per record, RMIA the share of the population's ratios that a record's ratio passes. They are timed on ``--sample``
records of one target, and that time is multiplied: marked "x". Both sides get arrays of the signal, in float32.

Times are CPU seconds: both sides run on one core, and what else the machine does counts less.
"""

import argparse
import time

import numpy as np
import scipy.stats

from mia_jax.attacks import ATTACKS, leave_one_out, lira, rmia


def world(models: int, records: int) -> tuple[np.ndarray, np.ndarray]:
    """phi float32 [K, n] and member bool [K, n], models in complementary pairs."""
    rng = np.random.default_rng(0)
    member = rng.random((models // 2, records)) < 0.5
    member = np.stack([member, ~member], axis=1).reshape(models, records)
    phi = rng.standard_normal((models, records), np.float32) + member * np.float32(1.5)
    phi += 2 * rng.standard_normal(records, np.float32)
    return phi, member


def loop_lira(own: np.ndarray, phi: np.ndarray, member: np.ndarray, records: range) -> np.ndarray:
    """phi and member are [n, S] here, record by record in memory, as suits a loop over records."""
    scores = []
    for i in records:
        inside, outside = phi[i, member[i]], phi[i, ~member[i]]
        log_in = scipy.stats.norm.logpdf(own[i], inside.mean(), inside.std() + 1e-30)
        scores.append(log_in - scipy.stats.norm.logpdf(own[i], outside.mean(), outside.std() + 1e-30))
    return np.array(scores)


def loop_rmia(own: np.ndarray, p: np.ndarray, member: np.ndarray, records: range) -> np.ndarray:
    def average(i):
        return (p[i, member[i]].mean() + p[i, ~member[i]].mean()) / 2

    ratios = own / ((p.mean(axis=1, where=member) + p.mean(axis=1, where=~member)) / 2)
    return np.array([np.mean(own[i] / average(i) / np.delete(ratios, i) >= 2.0) for i in records])


def best_of(f, times: int = 3) -> tuple[float, object]:
    took = []
    for _ in range(times):
        began = time.process_time()
        result = f()
        took.append(time.process_time() - began)
    return min(took), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("models", 256), ("records", 60_000), ("sample", 2_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    phi, member = world(args.models, args.records)
    log_p = -np.logaddexp(np.float32(0), -phi)
    phi_by_record, p_by_record, member_by_record = (
        np.ascontiguousarray(a.T) for a in (phi[2:], np.exp(log_p[2:]), member[2:])
    )
    sample = range(min(args.sample, args.records))
    scale = args.records / len(sample)
    print(f"{args.models} models x {args.records:,} records; loops on {len(sample):,} records of one target\n")
    print("attack  task          ours          loop            ratio")
    for name, leaf, parts, loop in (
        ("lira", phi, lira.steps(), lambda: loop_lira(phi[0], phi_by_record, member_by_record, sample)),
        ("rmia", log_p, rmia.steps(), lambda: loop_rmia(np.exp(log_p[0]), p_by_record, member_by_record, sample)),
    ):
        key = {"lira": "phi", "rmia": "log_p_y"}[name]
        attack = ATTACKS[name](10)
        slow, expected = best_of(loop, 1)
        slow *= scale

        def one(attack=attack, key=key, leaf=leaf):
            state = attack.fit(None, {key: leaf[2:]}, member[2:], None)
            return attack.score(state, {key: leaf[0]}) + state.boundary

        def every(parts=parts, key=key, leaf=leaf):
            return leave_one_out.shadow_scores(parts, {key: leaf}, member)

        fast, scores = best_of(one)
        check(name, scores, expected, args.records)
        print(f"{name:7s} one target    {fast:8.3f} s    {slow:10.1f} s x  {slow / fast:9.0f}")
        fast, scores = best_of(every, 1)
        check(name, scores[0], expected, args.records)
        slow *= args.models
        print(f"{name:7s} all {args.models:4d}      {fast:8.3f} s    {slow:10.1f} s x  {slow / fast:9.0f}")


def check(name: str, scores: np.ndarray, expected: np.ndarray, records: int) -> None:
    """Both sides computed the same thing."""
    if name == "rmia":
        scores = np.floor(scores * (records - 1) + 1e-9) / (records - 1)
    # float32 in the loops, float64 in ours
    np.testing.assert_allclose(scores[: len(expected)], expected, rtol=2e-3, atol=2e-3)


if __name__ == "__main__":
    main()
