"""Throughput of the client against a bare httpx loop that sends the same batches: rows a second, and the ratio.

    tests/real_servers.sh FOLDER            # once; prints the two variables to set
    python benchmarks/remote.py             # about two minutes

The bare loop encodes with orjson where it is installed, posts, and parses the answer into an array; with several in
flight it maps a thread pool over the batches. It checks nothing, keeps nothing and outlives no fault. Both sides take
turns, and the median over the turns is told: what else the machine does hits both.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import httpx
import numpy as np
import real_servers

from mia_jax.targets import remote
from mia_jax.targets.remote import protocols

CLASSES, FEATURES = 100, 600  # as Purchase-100 in the paper


def make_model(path):
    import joblib
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2000, FEATURES)).astype(np.uint8)
    joblib.dump(LogisticRegression(C=0.01, max_iter=500).fit(x, np.arange(2000) % CLASSES), path)


def bare(url, codec, field, x, batch, in_flight):
    """Seconds for all of x, and the probabilities."""
    with httpx.Client(timeout=60) as client:

        def one(i):
            reply = client.post(url, content=codec.encode(x[i : i + batch]), headers=codec.headers)
            value = protocols.loads(reply.content)
            return np.asarray(value["predictions"] if field == "predictions" else value["outputs"][0]["data"])

        one(0)  # as connect asks a probe
        began = time.perf_counter()
        starts = range(0, len(x), batch)
        if in_flight == 1:
            p = [one(i) for i in starts]
        else:
            with concurrent.futures.ThreadPoolExecutor(in_flight) as pool:
                p = list(pool.map(one, starts))
        return time.perf_counter() - began, np.concatenate([some.reshape(-1, CLASSES) for some in p])


def ours(url, x, batch, in_flight):
    options = remote.Options(rows_per_request=batch, in_flight=in_flight)
    with tempfile.TemporaryDirectory() as cache:
        target = remote.connect(url, np.zeros_like(x[:1]), cache=cache, options=options)
        began = time.perf_counter()
        log_p = target.ask(x)
        return time.perf_counter() - began, np.exp(log_p)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 256, 1024])
    parser.add_argument("--servers", nargs="+", default=["mlserver", "kserve"])
    arguments = parser.parse_args()
    sides = {
        "mlserver": (protocols.oip(), "outputs", "/infer"),
        "kserve": (protocols.INSTANCES, "predictions", ":predict"),
    }
    rng = np.random.default_rng(1)
    print(f"{'server':10}{'batch':>6}{'in flight':>10}{'bare rows/s':>13}{'ours rows/s':>13}{'ours / bare':>13}")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder, "model.joblib")
        make_model(model)
        for name in arguments.servers:
            codec, field, end = sides[name]
            python = real_servers.python_of(name, skip=sys.exit)
            with getattr(real_servers, name)(python, model, folder) as url:
                for batch in arguments.batches:
                    for in_flight in (1, 4):
                        rates = []
                        for turn in range(arguments.turns + 1):
                            # Other records each turn, in case a server remembers.
                            x = rng.integers(0, 2, (arguments.rows, FEATURES)).astype(np.uint8)
                            pair = [bare(url + end, codec, field, x, batch, in_flight), ours(url, x, batch, in_flight)]
                            np.testing.assert_allclose(pair[0][1], pair[1][1], rtol=1e-4, atol=1e-6)
                            if turn:  # the first one warms both up
                                rates.append([arguments.rows / seconds for seconds, _ in pair])
                        medians = [statistics.median(side) for side in zip(*rates, strict=True)]
                        ratio = statistics.median(b / a for a, b in rates)
                        found.append(dict(server=name, batch=batch, in_flight=in_flight, ratio=ratio))
                        print(
                            f"{name:10}{batch:6}{in_flight:10}{medians[0]:13,.0f}{medians[1]:13,.0f}{ratio:13.3f}",
                            flush=True,
                        )
    print(json.dumps({"lowest ratio": round(min(row["ratio"] for row in found), 3)}))


if __name__ == "__main__":
    main()
