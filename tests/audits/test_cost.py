"""What a run will take: the arithmetic on injected timings, and a real run beside its prediction."""

import dataclasses
import json

import jax
import pytest
from small_runs import LOGISTIC, config

from mia_jax.audits import bounds, cost, pipeline, shared_runs
from mia_jax.audits.balanced import scores as judging
from mia_jax.audits.config import BalancedConfig, CanaryConfig
from mia_jax.audits.cost import Affine, Attacking, Observing, Prediction, Training
from mia_jax.audits.flags import Sharing
from mia_jax.progress import silent
from mia_jax.training import parallel
from mia_jax.types import InputError

TRAINING = Training(compiling=5.0, chunk=4, around=0.5, epoch=Affine(0.1, 1e-3))


def prediction(**changed) -> Prediction:
    given = dict(
        title="models",
        total=16,
        missing=10,
        m=900,
        epochs=20,
        training=TRAINING,
        observing={
            "all": Observing(16, 2000, 3.0, Affine(1.0, 1e-3)),
            "some": Observing(3, 100, 1.0, Affine(0.0, 0.01)),
        },
        attacking={"lira": Attacking(40, 2000, Affine(0.01, 1e-5))},
        uncounted=["boundary"],
        memory=bounds.Bound(1e9, 1e3, 2000),
        disk={"of networks": 3_000_000, "of scores": 0},
        shards=[3, 4, 3],
    )
    return Prediction(**(given | changed))


def test_a_line_through_two_measurements():
    assert Affine.through((100, 1.1), (300, 1.3)) == pytest.approx((1.0, 0.001))
    assert Affine.through((100, 1.0), (300, 0.9)) == (1.0, 0.0)  # noise: no negative seconds
    assert Affine.through((100, 0.1), (300, 0.9)) == pytest.approx((0.0, 0.004))
    assert Affine.through((50, 1.0), (50, 1.0)) == (0.0, 0.02)


@pytest.mark.parametrize("long, times", [(60.0, 3), (0.0, 2)])
def test_long_work_is_done_no_oftener_than_is_needed(monkeypatch, long, times):
    """Label-only attacks on a CNN were timed for more than nine minutes, of half an hour that they take."""
    monkeypatch.setattr(cost, "LONG", long)
    done = []
    compiling, seconds = cost.timed(lambda: done.append(1))
    assert len(done) == times and compiling >= 0 and seconds >= 0


def test_seconds_are_those_of_the_steps():
    """Three chunks of 4 and 20 epochs of a second each; two chunks of 8 models observed; 40 fits of 30 ms."""
    seconds = prediction().seconds()
    assert seconds["training"] == pytest.approx(5 + 3 * (0.5 + 20 * 1.0))
    assert seconds["observing"] == pytest.approx((3 + 2 * 3.0) + (1 + 1.0))
    assert seconds["attacks"] == pytest.approx(40 * 0.03)
    assert prediction(missing=0, training=None).seconds()["training"] == 0


def test_what_is_printed():
    lines = "\n".join(prediction().lines())
    assert (
        "10 of 16 models are to be trained, 6 are there: 3 times 4 at once, 20 epochs of 900 records, 1 s each" in lines
    )
    assert "each of 3 shards         26 s for 4 models at most" in lines
    assert "Not counted" in lines and "boundary" in lines
    assert "Memory: 1 GB at most: 1 GB, and 1 kB for each of 2,000 records" in lines
    assert "Disk: 3 MB more (3 MB of networks)" in lines
    assert [cost.duration(s) for s in (0.0123, 9.0, 100, 600, 8000, 9e5)] == [
        "0.012 s", "9 s", "100 s", "10.0 min", "2.2 h", "10.4 days",
    ]  # fmt: skip


def test_the_bound_of_memory_grows_with_records_and_not_with_models():
    given = dict(record=100, devices=2, seen=20, targets=8, attacks=10)
    small, large = bounds.balanced(60_000, **given), bounds.balanced(1_000_000, **given)
    assert small.constant == large.constant and small.each == large.each
    assert large.total - small.total == pytest.approx(940_000 * small.each)


@pytest.mark.integration
@pytest.mark.parametrize("attacks", ["lira", "rmia_offline"])
def test_fits_are_those_of_the_run(own, tmp_path, no_pages, monkeypatch, attacks):
    given = BalancedConfig(dataset=str(own), workdir=str(tmp_path / "w"), num_models=12, num_targets=6, attacks=attacks)
    fitted, fit_and_score = [], judging.fit_and_score

    def counted(key, attack, observed, target, shadows):
        fitted.append((attack, len(shadows)))
        return fit_and_score(key, attack, observed, target, shadows)

    monkeypatch.setattr(judging, "fit_and_score", counted)
    pipeline.run(given)
    assert sorted(count for _, count in fitted) == sorted(judging.fits(fitted[0][0], shadows=10, targets=6))


@pytest.mark.integration
def test_scores_are_there_of_the_very_configuration_alone(own, tmp_path, no_pages, monkeypatch):
    """Another number of targets was foretold to take no time; and those that lie in a bucket were not seen."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem
    monkeypatch.setattr(memory, "store", {})
    monkeypatch.setattr(memory, "pseudo_dirs", [""])
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "one"))
    given = BalancedConfig(dataset=str(own), workdir="memory://b/run", num_models=4, num_targets=1, attacks="lira")
    pipeline.run(given)
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "another"))
    assert pipeline.predict(given).seconds()["attacks"] == 0
    assert pipeline.predict(dataclasses.replace(given, num_targets=2)).seconds()["attacks"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["balanced", "train"])
def test_a_prediction_lies_within_a_factor_of_two(own, tmp_path, kind):
    """On cores that nobody else uses; what is there is taken off, nothing is written, nothing is named otherwise."""
    options = dict(num_epochs=200, hidden=64)
    given = config(own, tmp_path / "w", num_shadows=11, attacks="confidence", **options)
    if kind == "balanced":
        given = BalancedConfig(
            dataset=str(own), workdir=str(tmp_path / "w"), num_models=12, attacks="lira,rmia", **options
        )
    told = pipeline.predict(given)
    assert told.missing == 12 and not (tmp_path / "w").exists()
    jax.clear_caches()  # the run compiles for itself, as a command does
    parallel.program.cache_clear()
    results = pipeline.run(given, page=False)
    took = results["seconds"]["shadows"] + results["seconds"].get("target", 0)
    foretold = told.seconds()["training"]
    assert took / 2 < foretold < 2 * took or abs(foretold - took) < 3  # seconds, of a run that takes hardly more
    again = pipeline.predict(given)
    assert again.missing == 0 and again.seconds()["training"] == again.seconds()["attacks"] == 0
    assert not any(again.disk.values())
    assert json.loads((tmp_path / "w" / "config.json").read_text()).keys().isdisjoint({"plan_only"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda own, w: CanaryConfig(dataset=own, workdir=w, canaries=32), "train many models"),
        (
            lambda own, w: BalancedConfig(dataset=own, workdir=w, num_models=4, num_targets=2, target_kind=LOGISTIC),
            "target_kind=",
        ),
        (lambda own, w: config(own, w, shadow_data="marginal"), "shadow_data=marginal"),
    ],
)
def test_what_cannot_be_told_is_refused_in_a_line(own, tmp_path, given, said):
    with pytest.raises(InputError, match=said) as error:
        sharing = Sharing(None, "local", 8, {}, {}, None)
        shared_runs.predict(given(str(own), str(tmp_path / "w")), sharing, notify=lambda line: None, progress=silent)
    assert "\n" not in str(error.value)
