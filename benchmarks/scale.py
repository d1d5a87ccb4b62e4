"""Peak memory and seconds of balanced audits by the number of models S and of records n: SIMULATED, small networks.

    python benchmarks/scale.py                    # six points, three CPU minutes on 2 cores
    python benchmarks/scale.py --scale=tiny       # four, for the test
    python benchmarks/scale.py --points=1024x60000,256x1000000 --held=268435456    # sizes of one's own

Each point is a process of its own (``resource.getrusage``: the largest resident set), which trains S networks (20
numbers, 8 hidden units, 10 classes, one epoch), observes them on n records and attacks two of them by LiRA and RMIA.
What is known of all models is held up to 256 MB of each kind and lies in files above that (``audits/bounds.py``); here
``--held`` is 1 MB, so that runs which end within minutes do what large ones do. ``--held=1e18`` holds all of it.
Lines are fitted by least squares; what is beyond the points is EXTRAPOLATED, and called so.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

POINTS = {
    "full": [(16, 20000), (64, 20000), (256, 20000), (16, 80000), (64, 80000), (16, 240000)],
    "tiny": [(4, 600), (8, 600), (4, 1200), (8, 1200)],
}
HELD = 2.0**20
POPULATION, FEATURES, CLASSES = 500, 20, 10


def main() -> None:
    """Run the points one after the other, print a table and the lines, draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=[*POINTS], default="full")
    parser.add_argument("--points", help="S x n, as in 1024x60000,256x1000000")
    parser.add_argument("--held", type=float, default=HELD, help="bytes of each kind that are held of all models")
    parser.add_argument("--plot", help="a .png to draw")
    parser.add_argument("--point", help=argparse.SUPPRESS)  # S x n in this process
    given = parser.parse_args()
    if given.point:
        print(json.dumps(one_point(*_sizes(given.point), given.held)))
        return
    points = [_sizes(text) for text in given.points.split(",")] if given.points else POINTS[given.scale]
    print(f"{'S':>6} {'n':>9} {'peak MB':>8} {'bound MB':>9} {'wall s':>7} {'CPU s':>7}", flush=True)
    found = []
    for models, n in points:
        found.append(_in_a_process(models, n, given.held))
        row = found[-1]
        sizes = f"{row['peak'] / 1e6:8.0f} {row['bound'] / 1e6:9.0f} {row['wall']:7.1f} {row['cpu']:7.1f}"
        print(f"{models:6} {n:9,} {sizes}", flush=True)
    for line in lines(found):
        print(line)
    if given.plot:
        draw(found, pathlib.Path(given.plot))


def _sizes(text: str) -> tuple[int, int]:
    models, _, n = text.partition("x")
    return int(models), int(n)


def _in_a_process(models: int, n: int, held: float) -> dict[str, float]:
    command = [sys.executable, __file__, f"--point={models}x{n}", f"--held={held}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{models} x {n:,} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def one_point(models: int, n: int, held: float) -> dict[str, float]:
    """An audit in this process: what it took."""
    from mia_jax import cli

    devices = cli.use_every_core()
    import resource  # not on Windows

    from mia_jax.audits import bounds, pipeline
    from mia_jax.audits.config import BalancedConfig

    bounds.HELD = int(held)
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        y = rng.integers(0, CLASSES, n + POPULATION).astype(np.int32)
        x = (rng.normal(size=(CLASSES, FEATURES))[y] + 2 * rng.normal(size=(len(y), FEATURES))).astype(np.float32)
        np.savez(f"{folder}/simulated.npz", x=x, y=y)
        del x, y
        config = BalancedConfig(
            dataset=f"{folder}/simulated.npz",
            workdir=f"{folder}/run",
            num_models=models,
            num_targets=2,
            num_records=n,
            population=POPULATION,
            hidden=8,
            num_epochs=1,
            batch_size=1000,
            attacks="lira,rmia",
        )
        began = time.perf_counter()
        pipeline.run(config, page=False)
        wall = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    bound = bounds.balanced(n, 4 * FEATURES + 4, devices, 24, 2, 2)
    return {
        "models": models,
        "n": n,
        "peak": used.ru_maxrss * 1024.0,
        "bound": bound.total,
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
    }


def _column(found: list[dict[str, float]], name: str) -> np.ndarray:
    return np.array([row[name] for row in found], float)


def lines(found: list[dict[str, float]]) -> list[str]:
    """Fits over the points, in words."""
    models, n = _column(found, "models"), _column(found, "n")
    peak, cpu = _column(found, "peak"), _column(found, "cpu")
    out = []
    if len({*zip(models, n, strict=True)}) < 4:
        return out
    scale = np.array([1, 1e4, 1e2, 1e6])  # so that no column is lost beside another
    terms = np.stack([np.ones_like(n), n, models, models * n], axis=1) / scale
    constant, by_n, by_models, by_both = np.linalg.lstsq(terms, peak, rcond=None)[0] / scale
    start, each, both = np.linalg.lstsq(terms[:, [0, 2, 3]], cpu, rcond=None)[0] / scale[[0, 2, 3]]
    out.append(
        f"peak memory = {constant / 1e6:.0f} MB + {by_n:.0f} bytes n + {by_models / 1e3:.0f} kB S"
        f" + {by_both:.2f} bytes S n"
    )
    out.append(f"CPU seconds = {start:.1f} + {1e3 * each:.1f} ms S + {1e6 * both:.2f} us S n")
    for s, m in ((1024, 60_000), (256, 1_000_000)):
        size, took = constant + by_n * m + by_models * s + by_both * s * m, start + each * s + both * s * m
        out.append(f"EXTRAPOLATED to {s:,} models x {m:,} records: {size / 1e9:.2f} GB, {took / 60:.0f} CPU minutes")
    return out


def draw(found: list[dict[str, float]], path: pathlib.Path) -> None:
    """Peak memory against n and against S, and seconds against S n: a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models, n = _column(found, "models"), _column(found, "n")
    peak, cpu = _column(found, "peak") / 1e6, _column(found, "cpu")
    few, small = models == models.min(), n == n.min()
    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    panels = (
        (n[few], peak[few], f"records n ({models.min():.0f} models)", "peak memory, MB"),
        (models[small], peak[small], f"models S ({n.min():,.0f} records)", "peak memory, MB"),
        (models * n, cpu, "models x records", "CPU seconds"),
    )
    for axis, (x, y, name, what) in zip(axes, panels, strict=True):
        axis.plot(x, y, "o", color="#1f5fa8")
        if len({*x}) > 1:
            ends = np.array([0, x.max()])
            axis.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color="#1f5fa8", linewidth=1)
        axis.set(xlabel=name, ylabel=what, ylim=(0, 1.15 * y.max()), xlim=(0, None))
    figure.suptitle("Balanced audits of SIMULATED records, small networks", fontsize=10)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
