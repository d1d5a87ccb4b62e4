"""``mia_jax.audit`` where an attack trains further shadows, as CMIA does in each of its rounds."""

import functools

import jax
import numpy as np
import pytest
from test_one_call import RNG, TARGET, C, N, S, X, Y, audit, fit

import mia_jax as mia
from mia_jax.attacks import lira
from mia_jax.audits.config import InProcessConfig
from mia_jax.audits.deployed import answer_formats, cascade, infer
from mia_jax.audits.types import Run
from mia_jax.progress import silent
from mia_jax.types import InputError


def cascaded():
    """An audit that lacks shadows alone, and a fit of models that remember so well that CMIA goes on."""
    rng = np.random.default_rng(0)
    x, y, member = rng.normal(size=(700, 4)), np.arange(700) % C, rng.permutation(700) < 350
    of = {row.tobytes(): int(label) for row, label in zip(x, y, strict=True)}

    def train(x_own, y_own, *, seed):
        known, shift = {row.tobytes() for row in x_own}, np.random.default_rng(seed).normal(size=C) / 3

        def predict(asked):
            inside = np.array([row.tobytes() in known for row in np.asarray(asked)])
            right = np.eye(C)[[of[row.tobytes()] for row in np.asarray(asked)]]
            z = right * (1 + 2 * inside[:, None]) + shift + np.asarray(asked)[:, :C] / 3
            return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

        return predict

    some = dict(attacks="lira_fixed,cmia", num_shadows=6, cascade_shadows=4, cascade_false_negatives=200)
    return functools.partial(mia.audit, train(x[member], y[member], seed=1), x, y, member, **some), train


@pytest.mark.filterwarnings("ignore:The shadows")  # are in doubt after so few epochs
@pytest.mark.integration
@pytest.mark.parametrize("shadows", ["fit", "nn"])
def test_an_attack_trains_further_shadows_where_something_trains_them(tmp_path, shadows):
    """CMIA with a user's fit and with networks of ours; a second call finds what was trained."""
    (plain, train), told = cascaded(), []
    more = {} if shadows == "fit" else dict(num_epochs=3, hidden=8)
    call = functools.partial(plain, notify=told.append, workdir=tmp_path, **more)
    trainer = train if shadows == "fit" else "nn"
    result = call(shadows=trainer)
    assert "An attack trains 4 models of its own, on 332 records each" in told  # (700 - 35) // 2
    assert result["cmia"].auc.value is not None
    made = sorted((tmp_path / ("answers" if shadows == "fit" else "models")).iterdir())
    assert len(made) == 6 + 4
    again = call(shadows=trainer)
    assert sorted(made[0].parent.iterdir()) == made and again["cmia"].auc == result["cmia"].auc


@pytest.mark.integration
def test_a_shadow_that_is_lost_takes_no_attack_along_that_trains_others():
    """Its partner is left out, too; that was refused, once all shadows were trained, as if nothing could train."""
    trained = []

    def loses_one(x, y, *, seed):
        model, lost = fit(x, y, seed=seed), len(trained) == 1
        trained.append(seed)
        return lambda asked: model(asked) * (np.nan if lost else 1)

    result = audit(attacks="lira,cmia", shadows=loses_one, num_shadows=S, cascade_rounds=1)
    assert [*result] == ["lira", "cmia"] and result.results["shadows"]["count"] == S - 2 and len(trained) == S


@pytest.mark.integration
def test_a_round_whose_models_answer_no_number_ends_the_cascade():
    """As in a balanced audit; the whole audit was refused, after all that was trained."""
    (call, train), told = cascaded(), []

    def loses(x, y, *, seed):
        model = train(x, y, seed=seed)
        return lambda asked: model(asked) * (np.nan if len(x) == 332 else 1)  # the first round's train on 350

    result = call(shadows=loses, notify=told.append)
    assert "An attack trains 4 models of its own, on 332 records each" in told
    assert sum("shadow model 4 of 4" in line and "going on without it" in line for line in told) == 1
    assert result["cmia"].auc.value is not None


def test_shadows_that_answer_no_number_end_the_audit_with_the_next_move():
    with pytest.raises(InputError, match=r"no shadow model is left \(shadow model 1 of 6: .*\): lower the learning"):
        audit(shadows=lambda x, y, *, seed: lambda asked: np.full((len(asked), C), np.nan), num_shadows=S)


def test_a_round_of_which_no_network_is_left_ends_the_cascade():
    """As in a balanced audit; it was a TypeError."""
    config = InProcessConfig(brought=None)
    run = Run(config, config, None, jax.random.key(0), lambda line: None, silent, {})
    asked, none = infer.Answered(Y, TARGET(X), np.zeros((0, N, C))), (np.zeros((0, N, C)), np.zeros(0, int))
    formats = answer_formats.of_saved(TARGET(X), TARGET(X)[None], common=True)
    retrain = cascade.retraining(run, lambda run, key, member: none, asked, formats)
    kept, seen = retrain(run.root, np.eye(2, N, dtype=bool), lira.lira(C).observe)
    assert len(kept) == 0 and seen == {}


def test_without_a_trainer_no_attack_trains_shadows():
    with pytest.raises(InputError, match="cmia needs models to train"):
        audit(attacks="cmia")
    answered = {"shadows": RNG.dirichlet(np.ones(C), (4, N)), "shadow_member": RNG.random((4, N)) < 0.5}
    with pytest.raises(InputError, match=r"cmia needs trainer, which plain answers do not give; .* can run"):
        audit(attacks="cmia", shadows=answered)
