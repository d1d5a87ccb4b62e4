"""Artifacts that are not what was asked: files exchanged, sources and parameters changed, at random, hundreds of times.

What counts is the number of runs that end with other scores than a run from nothing, and say nothing of it.
"""

import importlib
import itertools
import os
import pathlib
import shutil
import sys
import warnings

import numpy as np
import pytest
from small_runs import C, F, records, scores, write_data

from mia_jax import audits, data
from mia_jax.audits.config import BalancedConfig, Config
from mia_jax.targets import answer_store, black_box
from mia_jax.types import InputError

pytestmark = pytest.mark.slow

NET = """
from flax import linen as nn
import exchanged_helper

class Net(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_classes)(exchanged_helper.hidden(nn.Dense(4)(x)))

def factory(num_classes, shape):
    return Net(num_classes)
"""
HELPERS = [
    f"from flax import linen as nn\ndef hidden(x):\n    return nn.{name}(x)\n" for name in ("tanh", "relu", "gelu")
]
TREES = [
    f"""
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
import exchanged_helper

forest = make_pipeline(FunctionTransformer(exchanged_helper.hidden), DecisionTreeClassifier(max_depth={depth}))
"""
    for depth in (2, 4)
]
COLUMNS = [f"def hidden(x):\n    return x[:, {columns}]\n" for columns in ("::2", ":8", "4:")]
VARIANTS = {
    "networks": [{"exchanged.py": NET, "exchanged_helper.py": helper} for helper in HELPERS],
    "classifiers": [
        {"exchanged.py": mine, "exchanged_helper.py": helper} for mine, helper in itertools.product(TREES, COLUMNS)
    ],
}
QUICK = dict(num_epochs=2, attack_steps=20)
FEW = dict(num_models=6, num_targets=3, population=40, num_records=80, attacks="loss,lira,rmia")


def paper(folder):
    own = dict(dataset=str(folder / "own.npz"), workdir=str(folder / "w"))
    return audits.run(Config(**own, num_shadows=3, model="exchanged:factory", **QUICK))


def networks(folder):
    own = dict(dataset=str(folder / "own.npz"), workdir=str(folder / "w"))
    return audits.run(BalancedConfig(**own, **FEW, model="exchanged:factory", **QUICK))


def classifiers(folder):
    own = dict(dataset=str(folder / "own.npz"), workdir=str(folder / "w"))
    return audits.run(BalancedConfig(**own, **FEW, target_kind="sklearn:exchanged.forest"))


@pytest.fixture
def here(tmp_path, monkeypatch, no_pages):
    """The current folder, with records, and modules that can be changed as if by an editor between two commands."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "own.npz")
    yield tmp_path
    forget()


def forget():
    for name in [name for name in sys.modules if name.startswith("exchanged")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def use(variant: dict[str, str]) -> None:
    forget()
    for name, content in variant.items():
        pathlib.Path(name).write_text(content)


def made(run, here, kept=None) -> bytes:
    """The scores of a run from nothing; its workdir may be kept elsewhere."""
    shutil.rmtree(here / "w", ignore_errors=True)
    run(here)
    if kept is not None:
        shutil.copytree(here / "w", kept)
    return scores(here / "w")


class Count:
    """Runs again, and counts."""

    def __init__(self):
        self.tried = self.silent = self.told = 0

    def again(self, run, here, expected: bytes) -> None:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            forget()
            try:
                run(here)
                right = scores(here / "w") == expected
            except Exception:  # a fault, but no wrong score
                right = True
        self.tried += 1
        self.told += bool(said)
        self.silent += not right and not said

    def show(self, what: str) -> None:
        print(f"\n{what}: silently wrong {self.silent} of {self.tried}; {self.told} warned")


@pytest.mark.parametrize(("run", "trials"), [(paper, 40), (networks, 80), (classifiers, 60)])
def test_files_exchanged(here, run, trials):
    """Two artifacts of a finished run, of one stage or of two, under each other's names; the scores are made again."""
    use(VARIANTS["classifiers" if run is classifiers else "networks"][0])
    expected = made(run, here, here / "kept")
    rng, count = np.random.default_rng(0), Count()
    for _ in range(trials):
        shutil.rmtree(here / "w")
        shutil.copytree(here / "kept", here / "w")
        files = sorted((here / "w").glob("*/*.npz"))
        weights = np.array([1.0 / sum(f.parent == g.parent for g in files) for f in files])  # stages alike
        one, other = (files[i] for i in rng.choice(len(files), 2, replace=False, p=weights / weights.sum()))
        swapped = one.read_bytes(), other.read_bytes()
        one.write_bytes(swapped[1])
        other.write_bytes(swapped[0])
        if one.parent.name != "scores" and other.parent.name != "scores":  # or nobody looks at them
            shutil.rmtree(here / "w" / "scores")
        count.again(run, here, expected)
    count.show(f"files exchanged, {run.__name__}")
    assert count.silent == 0 and count.tried == trials


@pytest.mark.parametrize(("run", "trials"), [(paper, 15), (networks, 30), (classifiers, 45)])
def test_sources_changed(here, run, trials):
    """The module that is named, one that it imports, a parameter: the workdir is of one variant, the run of another."""
    variants = VARIANTS["classifiers" if run is classifiers else "networks"]
    expected = []
    for number, variant in enumerate(variants):
        use(variant)
        expected.append(made(run, here, here / f"kept{number}"))
    assert len(set(expected)) == len(variants)
    rng, count = np.random.default_rng(1), Count()
    for _ in range(trials):
        old, new = rng.choice(len(variants), 2, replace=False)
        shutil.rmtree(here / "w")
        shutil.copytree(here / f"kept{old}", here / "w")
        use(variants[new])
        count.again(run, here, expected[new])
    count.show(f"sources changed, {run.__name__}")
    assert count.silent == 0 and count.tried == trials


def test_caches_and_answers_exchanged(here):
    """Decoded data sets under each other's names, and files of answers of two targets."""
    rng, count = np.random.default_rng(2), Count()
    x, y = records(300)["x"].repeat(50, axis=1), np.arange(300) % 100  # 600 columns, 100 classes, as Purchase has
    places = []
    for number in range(4):
        places.append(here / str(number))
        places[-1].mkdir()
        np.savez(
            places[-1] / "purchase100.npz",
            features=(x ^ (number % 2)) if number < 2 else np.roll(x, number, 1),
            labels=y,
        )
    plain = [data.load("purchase100", data_dir=place, cache_dir=here / "cache")[0].x for place in places]
    for _ in range(15):
        one, other = rng.choice(sorted((here / "cache").iterdir()), 2, replace=False)
        swapped = one.read_bytes(), other.read_bytes()
        one.write_bytes(swapped[1])
        other.write_bytes(swapped[0])
        said = []
        found = [
            data.load("purchase100", data_dir=p, cache_dir=here / "cache", notify=said.append)[0].x for p in places
        ]
        wrong = any(not np.array_equal(a, b) for a, b in zip(found, plain, strict=True))
        count.tried, count.told, count.silent = (
            count.tried + 1,
            count.told + bool(said),
            count.silent + (wrong and not said),
        )

    pull = rng.normal(size=(4, F, C))

    def target(k):
        def ask(rows):
            z = rows @ pull[k]
            return (z - np.log(np.exp(z).sum(axis=1, keepdims=True))).astype(np.float32)

        return black_box.Target(ask, black_box.Answers(C), traced=False)

    asked = rng.normal(size=(20, F)).astype(np.float32)
    for _ in range(15):
        shutil.rmtree(here / "answers", ignore_errors=True)
        one, other = rng.choice(4, 2, replace=False)
        for k in (one, other):
            black_box.cached(target(k), here / "answers", name=f"model {k}").ask(asked)
        a, b = (answer_store.store_path(here / "answers", f"model {k}") for k in (one, other))
        os.replace(a, here / "aside")
        os.replace(b, a)
        os.replace(here / "aside", b)
        count.tried += 1
        try:
            wrong = black_box.cached(target(one), here / "answers", name=f"model {one}").ask(asked) != target(one).ask(
                asked
            )
            count.silent += bool(wrong.any())
        except InputError:
            count.told += 1
    count.show("caches and answers exchanged")
    assert count.silent == 0 and count.tried == 30
