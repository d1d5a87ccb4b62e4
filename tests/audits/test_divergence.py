"""Training that goes wrong: which model diverged is told when it happens, and a run goes on without its shadows.

The networks that diverge are real: their factory gives some keys a parameter that is infinite.
"""

import json

import jax
import numpy as np
import optax
import pytest
from small_runs import C, F, N, config, own_module, records

from mia_jax import audits
from mia_jax.attacks import shokri
from mia_jax.audits import train_networks
from mia_jax.audits.config import BalancedConfig, CanaryConfig, DeployedConfig
from mia_jax.audits.divergence import Diverged
from mia_jax.models import networks
from mia_jax.training import many, parallel, single
from mia_jax.types import InputError, Records

MINE = """
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from sklearn.linear_model import LogisticRegression


class Unlucky(nn.Module):
    num_classes: int
    share: float

    @nn.compact
    def __call__(self, x):
        start = lambda key, shape: jnp.where(jax.random.uniform(key) < self.share, jnp.inf, jnp.zeros(shape))
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1)) + self.param("start", start, (1, self.num_classes))


def some(num_classes, shape):
    return Unlucky(num_classes, .4)


def all(num_classes, shape):
    return Unlucky(num_classes, 1.)


class Moody(LogisticRegression):
    def predict_proba(self, x):
        p = super().predict_proba(x)
        return p * np.nan if self.random_state % 3 == 0 else p
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's module in the current folder; its name."""
    return own_module(tmp_path, monkeypatch, MINE)


def plain_json(workdir):
    """results.json, which holds finite numbers alone, and the page."""
    return json.loads((workdir / "results.json").read_text(), parse_constant=pytest.fail), (
        workdir / "report.html"
    ).read_text()


# --- which, and when -------------------------------------------------------------------------------------------------


def test_the_epoch_is_that_of_the_first_loss_that_is_no_number():
    loss = np.array([[1.0, 0.5, 0.2], [1.0, np.nan, np.nan], [np.inf, 1.0, 1.0], [1.0, 1.0, 1.0]], np.float32)
    params = {"a": np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, np.nan]], np.float32), "b": np.zeros((4, 2, 2))}
    assert many.diverged(params, loss).tolist() == [0, 2, 1, 3]


@pytest.mark.integration
def test_a_chunk_that_is_lost_ends():
    model, epochs = networks.mlp(3, (4,)), []
    trainer = single.make_trainer(model, optax.sgd(1e38), 5)
    pool = Records(np.eye(6, dtype=np.float32), np.arange(6, dtype=np.int32) % 3)

    def epoch(state, pool, index):
        jax.debug.callback(lambda e: epochs.append(int(e)), state.epoch)
        return trainer.epoch(state, pool, index)

    keys, index = jax.random.split(jax.random.key(0), 2), np.tile(np.arange(6), (2, 1))
    params, info = many.fit_many(trainer._replace(epoch=epoch), keys, pool, index, 50)
    assert info.loss.shape == (2, 50) and (many.diverged(params, info.loss) > 0).all()
    assert max(epochs) < 10


# --- the paper's run -------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_a_run_goes_on_without_shadows_that_diverged(mine, own, tmp_path):
    told = []
    given = config(own, tmp_path / "run", model=f"{mine}:some", num_shadows=6)
    results = audits.run(given, notify=told.append)
    lost = [entry["model"] for entry in results["shadows"]["diverged"]]
    assert 1 <= len(lost) < 6 and results["shadows"]["count"] == 6 - len(lost)
    lines = [line for line in told if "diverged" in line]
    assert [f"shadow model {k} of 6 diverged in epoch 1 of 3" in line for k, line in zip(lost, lines, strict=True)]
    assert all("lower `learning_rate=0.001`" in line for line in lines)
    assert f"Going on with {6 - len(lost)} of 6 shadow models" in told
    held, page = plain_json(tmp_path / "run")
    assert held["attacks"] == json.loads(json.dumps(results["attacks"]))
    assert (f"number {lost[0]} diverged in epoch 1 of 3" in page and "plays no part" in page) or "play no part" in page
    first = (tmp_path / "run" / "scores.npz").read_bytes()
    again = []
    audits.run(given, notify=again.append)  # trains nothing, and still says so
    assert (tmp_path / "run" / "scores.npz").read_bytes() == first
    assert [line for line in again if "diverged" in line] == lines


@pytest.mark.parametrize("changed", [dict(learning_rate=1e38, optimizer="sgd"), dict(l2=1e38, optimizer="sgd")])
def test_a_target_that_diverged_ends_the_run_in_a_line(own, tmp_path, changed):
    with pytest.raises(
        Diverged, match=r"^the target model diverged in epoch \d of 3: .*lower `learning_rate="
    ) as error:
        audits.run(config(own, tmp_path / "run", **changed))
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    assert ("l2" in changed) == ("`l2=1e+38`" in str(error.value))


@pytest.mark.integration
def test_attack_networks_that_diverge_end_the_run_in_a_line(own, tmp_path):
    with pytest.raises(InputError, match=r"attack networks? of class 0.*lower attack_learning_rate"):
        audits.run(config(own, tmp_path / "run", attack_learning_rate=1e38))


@pytest.mark.integration
def test_a_strength_with_which_attack_networks_diverge_is_not_chosen():
    rng = np.random.default_rng(0)
    y, member = np.tile(np.arange(40) % 2, (4, 1)), np.tile(np.arange(40) < 20, (4, 1))
    p = np.where(np.eye(2)[y] > 0, 0.6 + 0.3 * member[..., None], 0.4 - 0.3 * member[..., None])
    seen = {"log_p": np.log(p + 0.01 * rng.random(p.shape)).astype(np.float32), "y": y}
    before = shokri.STRENGTHS
    try:
        shokri.STRENGTHS = (float("inf"), 1e-3)
        state = shokri.shokri(2, num_steps=50).fit(jax.random.key(0), seen, member)
    finally:
        shokri.STRENGTHS = before
    assert state.l2 == 1e-3


# --- other plans -----------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_balanced_a_diverged_model_takes_its_partner_along(mine, own, tmp_path):
    told = []
    given = BalancedConfig(
        dataset=str(own), workdir=str(tmp_path / "run"), model=f"{mine}:some", num_models=16, num_targets=2,
        num_epochs=2, attacks="lira,loss",
    )  # fmt: skip
    results = audits.run(given, notify=told.append)
    shadows = results["shadows"]
    lost = {entry["model"] - 1 for entry in shadows["diverged"]}
    gone = lost | {k ^ 1 for k in lost}
    assert lost and shadows["models"] == 16 - len(gone) >= 4 and shadows["unused"] == len(gone) - len(lost)
    assert f"Going on with {16 - len(gone)} of 16 models" in told
    _, page = plain_json(tmp_path / "run")
    assert "no part: number" in page
    member = np.load(tmp_path / "run" / "scores.npz")["member"]
    assert member.shape == (2, shadows and len(np.load(tmp_path / "run" / "scores.npz")["label"]))


@pytest.mark.integration
def test_balanced_with_too_few_models_left_ends_in_a_line(mine, own, tmp_path):
    given = BalancedConfig(
        dataset=str(own), workdir=str(tmp_path / "run"), model=f"{mine}:all", num_models=4, num_targets=1, num_epochs=2,
        attacks="loss",
    )  # fmt: skip
    with pytest.raises(Diverged, match=r"^model 1 of 4 diverged in epoch 1 of 2, and 3 more of 4: .*lower `learning"):
        audits.run(given)


@pytest.mark.integration
def test_canaries_of_a_model_that_diverged_end_in_a_line(own, tmp_path):
    given = CanaryConfig(
        dataset=str(own), workdir=str(tmp_path / "run"), canaries=20, num_epochs=2, hidden=4, model="mlp",
        learning_rate=1e38, optimizer="sgd",
    )  # fmt: skip
    with pytest.raises(Diverged, match=r"^the model diverged in epoch \d of 2: .*lower `learning_rate=1e\+38`"):
        audits.run(given)


@pytest.mark.integration
def test_another_platform_s_model_that_answers_nan_is_left_out(mine, own, tmp_path):
    told = []
    given = config(own, tmp_path / "run", target_kind=f"sklearn:{mine}.Moody", model=None, num_shadows=6, seed=2)
    results = audits.run(given, notify=told.append)
    lost = [entry["model"] for entry in results["shadows"]["diverged"]]
    assert lost and results["shadows"]["count"] == 6 - len(lost)
    assert sum("gives an answer that is none: it is null, or NaN for every class" in line for line in told)
    first = (tmp_path / "run" / "scores.npz").read_bytes()
    (tmp_path / "run" / "scores.npz").unlink()
    audits.run(given)
    assert (tmp_path / "run" / "scores.npz").read_bytes() == first


@pytest.mark.integration
def test_shadows_of_somebody_s_model_that_diverged_are_left_out(mine, tmp_path):
    from mia_jax.targets import black_box, server

    pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")
    data = records(120)
    np.savez(tmp_path / "mine.npz", **data, member=np.arange(120) < 40)
    pull = np.random.default_rng(0).normal(size=(F, C))

    def ask(x):
        z = np.asarray(x, np.float64) @ pull
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    told = []
    with server.serve(black_box.Target(ask, black_box.Answers(C), traced=False), (F,)) as url:
        given = DeployedConfig(
            target=url + server.paths()["vertex"], data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run"),
            model=f"{mine}:some", num_shadows=6, num_epochs=2, attacks="loss,lira_offline",
        )  # fmt: skip
        results = audits.run(given, notify=told.append)
    lost = results["shadows"]["diverged"]
    assert lost and results["shadows"]["count"] == 6 - len(lost)
    assert "no part: number" in plain_json(tmp_path / "run")[1]


# --- memory ----------------------------------------------------------------------------------------------------------


def failing(trainer, at_most, error):
    """The trainer, whose epoch runs out of memory where more networks than that are trained at once."""
    at_once = set()

    def fit_chunk(*args):
        part = args[3]
        at_once.add(part.stop - part.start)
        if part.stop - part.start > at_most:
            raise error
        return kept(*args)

    kept = many._fit_chunk
    return fit_chunk, at_once


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(MemoryError(), marks=pytest.mark.integration),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes."),
    ],
)
def test_where_the_memory_ends_chunks_are_halved(error, monkeypatch):
    model = networks.mlp(3, (4,))
    trainer = single.make_trainer(model, optax.adam(1e-2), 5)
    pool = Records(np.eye(6, dtype=np.float32), np.arange(6, dtype=np.int32) % 3)
    run = trainer, jax.random.split(jax.random.key(0), 7), pool, np.tile(np.arange(6), (7, 1)), 2
    whole = many.fit_many(*run, chunk=7)
    fit_chunk, at_once = failing(trainer, 3, error)
    monkeypatch.setattr(many, "_fit_chunk", fit_chunk)
    with pytest.warns(UserWarning, match=r"not memory enough for 7 networks at once: going on with 3; chunk=3"):
        halved = many.fit_many(*run, chunk=7)
    assert at_once == {7, 3, 1}
    jax.tree.map(np.testing.assert_array_equal, halved, whole)


@pytest.mark.filterwarnings("ignore:there is not memory enough")
def test_where_two_networks_are_too_much_a_line_names_the_flags(own, tmp_path, monkeypatch):
    fit_chunk, at_once = failing(None, 0, MemoryError())
    monkeypatch.setattr(many, "_fit_chunk", fit_chunk)
    with pytest.raises(parallel.OutOfMemory, match=r"smaller batch.*smaller network") as error:
        audits.run(BalancedConfig(dataset=str(own), workdir=str(tmp_path / "run"), num_models=8, num_epochs=1))
    assert error.value.exit_code == 2 and min(at_once) == parallel.LANES


def test_other_errors_are_not_taken_for_memory():
    def broken(part, at_once):
        raise ValueError("no")

    with pytest.raises(ValueError, match=r"^no$"):
        list(parallel.in_chunks(broken, 8, 4))


@pytest.mark.integration
def test_a_batch_is_at_most_the_training_set(own, tmp_path, no_pages):
    told = []
    big = audits.run(config(own, tmp_path / "big", batch_size=10**9), notify=told.append)
    all_at_once = audits.run(config(own, tmp_path / "all", batch_size=N // 4))
    assert (
        told.count(f"`batch_size=1000000000` is above the {N // 4} training records: each step takes all of them") == 1
    )
    assert big["attacks"] == all_at_once["attacks"]


def test_a_batch_above_a_set_that_coins_thin_out_is_told_with_both_numbers(own, tmp_path):
    """700 was said beside "trained on 606 records"."""
    told = []
    train_networks.fitting(config(own, tmp_path, batch_size=2000), (4,), 700, told.append, 606)
    assert told == [
        "`batch_size=2000` is above the 700 records that may train, of which 606 do: each step takes all of them"
    ]
