"""What the paper's attack costs and finds on many classes: CPU seconds of one core, and AUC, on SIMULATED answers.

    taskset -c 0 python benchmarks/many_classes.py --classes 200,500,1000 --seen 32

20 records a class, half of them members, and 4 shadows and the target, whose logits are those of classes that resemble
each other: a record's class is favoured, and others as far as they resemble it. Members' are higher in the true class,
and all of theirs are a little steeper. Each number of classes is a process of its own, so that compilation counts.
"""

import argparse
import os
import subprocess
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def world(num_classes, per_class=20, models=5, seed=0):
    """Log-probabilities [models, n, c], labels [n] and members [models, n]; SIMULATED."""
    import numpy as np
    from scipy import special

    rng = np.random.default_rng(seed)
    place = rng.standard_normal((num_classes, 12)) / 12**0.5
    y = np.arange(num_classes * per_class) % num_classes
    member = rng.random((models, len(y))) < 0.5
    own = place[y] + 0.3 * rng.standard_normal((len(y), 12))  # a record is harder or easier for all models
    log_p = np.empty((models, len(y), num_classes), np.float32)
    for k in range(models):
        z = 4 * own @ place.T + rng.standard_normal((len(y), num_classes))
        z[np.arange(len(y)), y] += 2 + 1.5 * member[k]
        log_p[k] = special.log_softmax(z * (1 + 0.25 * member[k])[:, None], axis=1)
    return log_p, y.astype(np.int32), member


def measure(num_classes, seen):
    import jax
    import numpy as np

    from mia_jax.attacks import shokri
    from mia_jax.statistics import metrics

    shokri.SEEN = seen
    log_p, y, member = world(num_classes)
    attack = shokri.shokri(num_classes)
    read = [jax.tree.map(np.asarray, attack.read(one, y)) for one in log_p]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *read[1:])
    wall, cpu = time.perf_counter(), time.process_time()
    state = attack.fit(jax.random.key(0), stacked, member[1:])
    score = attack.score(state, read[0])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    areas = [metrics.auc(s, member[0]) for s in (score, log_p[0][np.arange(len(y)), y])]
    told = " | ".join(f"{area.value:.3f}" for area in areas)
    inputs = seen if num_classes > shokri.WIDE else "whole answers"
    print(f"| {num_classes} | {inputs} | {cpu:.0f} | {wall:.0f} | {told} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default="200,500,1000", help="numbers of classes")
    parser.add_argument("--seen", type=int, default=32, help="probabilities that networks see of more than 128 classes")
    given = parser.parse_args()
    numbers = given.classes.split(",")
    if len(numbers) == 1:
        return measure(int(numbers[0]), given.seen)
    print("| classes | networks see | CPU seconds | wall clock | AUC | AUC of confidence alone |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for number in numbers:
        subprocess.run([sys.executable, __file__, "--classes", number, "--seen", str(given.seen)], check=True)


if __name__ == "__main__":
    main()
