"""Stages that resume: who is trained, who is found, and what names them."""

import contextlib
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import M, artifact_files, config

from mia_jax import data
from mia_jax.audits import common, stages, train_networks
from mia_jax.audits import config as configs
from mia_jax.audits.config import Config
from mia_jax.audits.options import recipe_of
from mia_jax.audits.types import Observation, Observers, Run, TrainingJob
from mia_jax.plans import splits
from mia_jax.progress import silent
from mia_jax.storage import artifacts
from mia_jax.targets import defenses, observation
from mia_jax.training import many, recipes
from mia_jax.types import Answers, Records, Target

ROOT = jax.random.key(3)
K = 3


# --- keys, names, trees ----------------------------------------------------------------------------------------------


def test_the_key_of_a_stage_depends_on_the_seed_and_its_name():
    words = [
        tuple(stages.key_words(stages.stage_key(jax.random.key(seed), name)))
        for seed in (0, 1)
        for name in ("a", "b", "c")
    ]
    assert len(set(words)) == 6
    assert words[0] == tuple(stages.key_words(stages.stage_key(jax.random.key(0), "a")))
    assert all(isinstance(word, int) for word in words[0])


def test_nested_dicts_become_flat_and_nested_again():
    tree = {"a": {"b": np.arange(2), "c": {"d": np.ones(1)}}, "e": np.zeros(3)}
    flat = stages.flat(tree)
    assert list(flat) == ["a/b", "a/c/d", "e"]
    back = stages.nested(flat)
    assert jax.tree.structure(back) == jax.tree.structure(tree)
    jax.tree.map(np.testing.assert_array_equal, back, tree)


TRAINED_BY = {
    "model": "logistic",
    "hidden": 9,
    "num_epochs": 9,
    "batch_size": 9,
    "learning_rate": 0.9,
    "learning_rate_decay": 0.9,
    "optimizer": "sgd",
    "l2": 0.9,
    "dropout": 0.9,
    "label_smoothing": 0.9,
    "mixup": 0.9,
    "early_stopping": 9,
    "dp_noise_multiplier": 0.9,
    "momentum": 0.9,
    "nesterov": True,
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 1e-3,
    "decay_biases": True,
    "grad_clip": 1.0,
    "ema": 0.9,
    "image_augmentation": "flip",
}
NOT_BY = {
    "seed": 9,
    "num_shadows": 9,
    "attack_steps": 9,
    "defenses": "top_k(1)",
    "chunk": 9,
    "dp_clip": 9.0,
    "k_max": 9,
}


def test_what_names_a_trained_network():
    """All that decides it, and nothing else: the key and the training set come on top, model by model."""
    plain = train_networks.training_description(Config(model="mlp"), "digest")
    for name, value in (TRAINED_BY | NOT_BY).items():
        changed = train_networks.training_description(Config(**({"model": "mlp"} | {name: value})), "digest")
        assert (changed != plain) == (name in TRAINED_BY), name
    assert train_networks.training_description(Config(model="mlp"), "other") != plain
    noisy = [
        train_networks.training_description(Config(model="mlp", dp_noise_multiplier=1.0, dp_clip=c), "")
        for c in (1.0, 2.0)
    ]
    assert noisy[0] != noisy[1]


def test_the_papers_learning_rate_decays():
    config = Config(optimizer="sgd", learning_rate=0.5, learning_rate_decay=0.1)
    optimizer = recipes.make_optimizer(recipe_of(config), steps=4)
    state = optimizer.init(jnp.zeros(1))
    for step in range(4):
        update, state = optimizer.update(jnp.ones(1), state)
        assert float(update[0]) == pytest.approx(-0.5 / (1 + 0.1 * step))


def test_defenses_end_at_one_floor():
    """Whichever comes last: what is hidden looks as a service's rounded zero does."""
    log_p = np.log(np.array([[0.6, 0.25, 0.1, 0.05]], np.float32))
    target = Target(lambda x: jnp.asarray(log_p), Answers(4))
    for text in ("round_to(2),top_k(2)", "top_k(2),round_to(2)"):
        defended = stages.defended(target, defenses.parse(text))
        told = np.asarray(defended.ask(np.zeros((1, 1))))
        np.testing.assert_allclose(told, np.log([[0.6, 0.25, 0.005, 0.005]]), rtol=1e-5)
        assert defended.answers == Answers(4, "top_k", 2, k=2)


def test_a_target_without_defenses_is_itself():
    _, target = trace_only()
    assert stages.defended(target, ()) is target
    defended = stages.defended(target, defenses.parse("label_only"))
    assert defended.answers.kind == "labels"
    assert np.exp(defended.ask(jnp.zeros((1, 2))))[0].max() == pytest.approx(1)


def trace_only():
    from mia_jax.targets.black_box import as_target
    from mia_jax.types import Model

    model = Model(lambda key, x: None, lambda params, x, key=None: x)
    return model, as_target(model, None, 2)


# --- our own networks ------------------------------------------------------------------------------------------------


@pytest.fixture
def world(own, tmp_path):
    """What ``networks`` and ``platform_models`` take, but for the workdir; and a folder."""
    pool, schema = data.load(own)
    plan = splits.shokri(stages.stage_key(ROOT, "plan"), len(pool.y), M, K)
    keys = jax.vmap(lambda k: jax.random.fold_in(ROOT, k))(jnp.arange(K))
    return tmp_path / "w", pool, schema, plan, keys


def train(world, which=slice(None), progress=silent, **changed):
    path, pool, schema, plan, keys = world
    given = configs.resolve(dataclasses.replace(config("own.npz", path), **changed))
    with artifacts.open_workdir(path, {}) as workdir:
        run = Run(given, given, workdir, ROOT, lambda line: None, progress, {})
        job = TrainingJob("models", given, schema, pool, schema.digest, keys[which], np.asarray(plan.train)[which])
        yield common.train_models(run, job)


@contextlib.contextmanager
def trained(*args, **kwargs):
    with contextlib.contextmanager(train)(*args, **kwargs) as models:
        yield models


OBSERVERS = Observers(jax.random.key(0), {"summary": observation.summary}, (), {"observers": ["summary"]})


def observed(models, pool, index, which=None, observers=OBSERVERS):
    """What the observer ``summary`` sees."""
    [seen] = models.observe(Observation(observers, pool, index, which))
    return seen["summary"]


def test_networks_are_trained_once(world, monkeypatch):
    path, pool, _, plan, _ = world
    steps = []
    with trained(world, progress=lambda title, total: contextlib.nullcontext(steps.append)) as models:
        seen = observed(models, pool, plan.test)
    assert sum(steps) == K * 3  # epochs
    assert models.seconds() > 0 and models.spent() == 0
    assert [curve.shape for curve in models.curves] == [(K, 3), (K, 3)]
    assert seen["correct"].shape == (K, M)
    written = artifact_files(path)
    monkeypatch.setattr(many, "fit_chunks", None)
    with trained(world) as again:
        assert again.names == models.names and again.seconds() == models.seconds()
        looked = observed(again, pool, plan.test)
        jax.tree.map(np.testing.assert_array_equal, looked, seen)
        one = observed(again, pool, plan.test[2:], np.array([2]))
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[2]), one, seen)
        log_p = np.asarray(again.target(2).ask(pool.x[plan.test[2]]))
        np.testing.assert_array_equal(log_p.argmax(axis=1) == pool.y[plan.test[2]], seen["correct"][2])
    assert artifact_files(path) == written


def test_only_what_is_missing_is_trained_and_to_the_same_bits(world, monkeypatch):
    """The networks of a chunk that was cut short are trained in other company than before."""
    path = world[0]
    with trained(world) as models:
        params = {name: dict(np.load(path / name)) for name in artifact_files(path)}
    lost = sorted(artifact_files(path), key=artifact_files(path).get)[1]
    (path / lost).unlink()
    asked = []
    fit = many.fit_chunks
    monkeypatch.setattr(many, "fit_chunks", lambda *a, **k: asked.append(len(a[1])) or fit(*a, **k))
    with trained(world) as again:
        assert asked == [1] and again.names == models.names
    for name, arrays in dict(np.load(path / lost)).items():
        if name != "__meta__":
            np.testing.assert_array_equal(arrays, params[lost][name])


def test_a_network_does_not_depend_on_the_others(world):
    with trained(world) as models:
        names, written = models.names, artifact_files(world[0])
    with trained(world, slice(1, 2)) as one:
        assert one.names == names[1:2]
    assert artifact_files(world[0]) == written


# --- other platforms -------------------------------------------------------------------------------------------------


PLATFORM = """
from sklearn.linear_model import LogisticRegression

FITS = []

class Counting(LogisticRegression):
    def fit(self, x, y):
        FITS.append(len(y))
        return super().fit(x, y)
"""


@pytest.fixture
def counting(tmp_path, monkeypatch):
    (tmp_path / "counting_platform.py").write_text(PLATFORM)
    monkeypatch.syspath_prepend(tmp_path)
    import counting_platform

    counting_platform.FITS.clear()
    return counting_platform.FITS


COUNTING = dict(target_kind="sklearn:counting_platform.Counting")


def test_another_library_is_asked_once(world, counting):
    path, pool, _, plan, _ = world
    with trained(world, **COUNTING) as models:
        assert counting == []  # until it is observed
        seen = observed(models, pool, plan.test)
        assert counting == [M] * K and models.curves is None
        assert models.seconds() == models.spent() > 0
    with trained(world, **COUNTING) as again:
        looked = observed(again, pool, plan.test)
        jax.tree.map(np.testing.assert_array_equal, looked, seen)
        assert counting == [M] * K
        assert again.seconds() == models.seconds() and again.spent() == 0
    assert len(artifact_files(path, "answers")) == K


def test_another_librarys_models_are_trained_once_for_all_that_is_asked(world, counting):
    """A deployed audit asks its shadows twice, and a balanced audit its models up to seven times."""
    path, pool, _, plan, _ = world
    with trained(world, **COUNTING) as models:
        asked = Observation(OBSERVERS, pool, plan.test), Observation(OBSERVERS, pool, plan.train[1:], np.array([1, 2]))
        of_test, of_train = models.observe(*asked)
        assert counting == [M] * K and len(artifact_files(path, "answers")) == K + 2
        np.testing.assert_array_equal(of_test["summary"]["confidence"], observed(models, pool, plan.test)["confidence"])
        assert of_train["summary"]["confidence"].shape == (2, M) and counting == [M] * K
    assert models.seconds() == models.spent()


def test_another_librarys_models_are_missed_one_by_one(world, counting):
    path, pool, _, plan, _ = world
    with trained(world, **COUNTING) as models:
        observed(models, pool, plan.test)
    (path / min(artifact_files(path))).unlink()
    with trained(world, **COUNTING) as again:
        observed(again, pool, plan.test)
        assert len(counting) == K + 1
        assert again.seconds() > again.spent() > 0


def test_other_questions_are_not_answered_from_the_same_file(world, counting):
    path, pool, _, plan, _ = world
    with trained(world, **COUNTING) as models:
        plain = observed(models, pool, plan.test)
        defended = observed(
            models, pool, plan.test, observers=OBSERVERS._replace(defenses=defenses.parse("round_to(1)"))
        )
        other = observed(models, pool, plan.train)
        one = observed(models, pool, plan.test[2:], np.array([2]))
    assert not np.array_equal(plain["confidence"], defended["confidence"])
    assert not np.array_equal(plain["confidence"], other["confidence"])
    np.testing.assert_array_equal(one["confidence"][0], plain["confidence"][2])
    assert len(artifact_files(path, "answers")) == 3 * K


def test_time_is_the_training_alone(world, counting, monkeypatch):
    _, pool, _, plan, _ = world
    observe = observation.observe

    def slow(*args):
        time.sleep(0.3)
        return observe(*args)

    monkeypatch.setattr(observation, "observe", slow)
    with trained(world, **COUNTING) as models:
        began = time.perf_counter()
        observed(models, Records(*map(jnp.asarray, pool)), plan.test)
        assert models.seconds() < time.perf_counter() - began - 0.3 * K
