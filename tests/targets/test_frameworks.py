"""Trainers of other libraries, with the real libraries where they are installed."""

import importlib.util
import warnings

import jax
import numpy as np
import pytest

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.config import BalancedConfig, DeployedConfig
from mia_jax.targets import platforms
from mia_jax.targets.frameworks import heads
from mia_jax.types import InputError

N, F = 240, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, F)).astype(np.float32)
Y = ((X[:, 0] > 0).astype(int) + (X[:, 1] > 0) + RNG.integers(0, 2, N)) % 3
TWO = (X[:, 0] > 0).astype(int)
CLEAN = TWO + (X[:, 1] > 0)  # without noise
MEMBER = np.random.default_rng(1).permutation(N) < N // 2


# --- heads -----------------------------------------------------------------------------------------------------------


def test_a_head_is_read_as_what_it_is():
    logits = RNG.normal(size=(5, 3)) * 4
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(heads.probabilities(logits, "logits"), p)
    np.testing.assert_array_equal(heads.probabilities(p, "probabilities"), p)
    sigmoid = 1 / (1 + np.exp(-logits[:, :1]))
    for one in (logits[:, :1], logits[:, 0]):
        np.testing.assert_allclose(heads.probabilities(one, "logits"), np.hstack([1 - sigmoid, sigmoid]))
    np.testing.assert_allclose(heads.probabilities(sigmoid, "probabilities")[:, 1:], sigmoid)


def test_a_head_that_is_another_is_refused():
    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    with pytest.raises(InputError, match=r'gives probabilities already.* head="probabilities"'):
        heads.check(p, "logits", "the module")
    with pytest.raises(InputError, match='gives no probabilities: give head="logits"'):
        heads.check(p * 3, "probabilities", "the module")
    with pytest.raises(InputError, match="outputs of shape"):
        heads.check(p[None], "logits", "the module")


@pytest.mark.parametrize("name, library", [("torch", "torch"), ("keras", "keras"), ("huggingface", "transformers")])
def test_a_library_that_is_missing_is_named(name, library, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(InputError, match=f"platforms.{name} needs {library}: pip install {library}"):
        getattr(platforms, name)(lambda: None)


# --- PyTorch ---------------------------------------------------------------------------------------------------------

pytorch = pytest.mark.integration


@pytest.fixture
def torch():
    found = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
    found.set_num_threads(1)  # several spin, and wait for each other on a machine that does other things
    return found


def module(torch, outputs=3, end=None):
    layers = [torch.nn.Linear(F, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Dropout(0.2)]
    layers += [torch.nn.Linear(64, outputs), *([] if end is None else [end])]
    return torch.nn.Sequential(*layers)


@pytorch
@pytest.mark.parametrize("outputs, labels", [(3, CLEAN), (2, TWO), (1, TWO)])
@pytest.mark.parametrize("head", ["logits", "probabilities"])
def test_a_module_learns_with_every_head(torch, outputs, labels, head):
    end = None if head == "logits" else torch.nn.Sigmoid() if outputs == 1 else torch.nn.Softmax(dim=1)
    some = dict(epochs=15, batch_size=16, head=head, optimizer=lambda p: torch.optim.Adam(p, lr=1e-2))
    fit = mia.platforms.torch(lambda: module(torch, outputs, end), **some)
    predict = fit(X[:161], labels[:161], seed=3)  # the last of the batches has one record
    p = predict(X)
    assert p.shape == (N, max(2, outputs)) and p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert (p.argmax(axis=1) == labels).mean() > 0.85


@pytorch
@pytest.mark.parametrize("ends", ["Sigmoid", "Flatten", "function"])
def test_a_single_column_of_a_sigmoid_is_no_logit(torch, ends):
    def make():
        made = module(torch, 1, torch.nn.Sigmoid())
        if ends == "function":
            made.forward = lambda x: torch.sigmoid(made[:-1](x)).squeeze(1)
        return torch.nn.Sequential(made, torch.nn.Flatten(0)) if ends == "Flatten" else made

    with pytest.raises(InputError, match=r'as of a sigmoid: give head="probabilities", or leave the sigmoid out'):
        mia.platforms.torch(make, epochs=1)(X, TWO, seed=0)
    tanh = mia.platforms.torch(lambda: module(torch, 1, torch.nn.Tanh()), epochs=1)(X, TWO, seed=0)
    assert tanh(X).shape == (N, 2)


@pytorch
def test_a_module_is_asked_without_dropout_in_batches_and_trains_again_to_the_bit(torch):
    fit = mia.platforms.torch(lambda: module(torch), epochs=3, batch_size=32)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    predict = fit(X, Y, seed=5)
    assert torch.equal(torch.get_rng_state(), before)  # PyTorch's own random state is left alone
    np.testing.assert_array_equal(predict(X), fit(X, Y, seed=5)(X))
    assert not np.array_equal(predict(X), fit(X, Y, seed=6)(X))
    with torch.no_grad():
        whole = torch.softmax(predict.module.eval()(torch.as_tensor(X)), 1).numpy()
    np.testing.assert_allclose(predict(X), whole, atol=1e-6)
    few = mia.platforms.torch_predictor(predict.module.train(), batch_size=7)  # batch statistics would show
    np.testing.assert_allclose(few(X), whole, atol=1e-6)


@pytorch
def test_bits_and_tokens_are_what_a_module_takes(torch):
    class Words(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = torch.nn.Embedding(10, 8), torch.nn.Linear(8, 2)

        def forward(self, tokens):
            return self.out(self.table(tokens).mean(dim=1))

    tokens = RNG.integers(0, 10, (60, 4))
    assert mia.platforms.torch(Words, epochs=1)(tokens, TWO[:60], seed=0)(tokens).shape == (60, 2)
    bits = (X > 0).astype(np.uint8)
    assert mia.platforms.torch(lambda: module(torch), epochs=1)(bits, Y, seed=0)(bits).shape == (N, 3)


@pytorch
def test_answers_that_were_saved_may_be_tensors_of_bfloat16(torch):
    rng = np.random.default_rng(0)
    p, trained, y = rng.dirichlet([1, 1, 1], (5, 90)), rng.random((5, 90)) < 0.5, rng.integers(0, 3, 90)
    half = torch.as_tensor(p).to(torch.bfloat16)
    whole = half.float().numpy()
    saved = dict(labels=y, shadow_member=trained[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = [mia.infer("lira", target=q[0], shadows=q[1:], **saved) for q in (half, whole)]
        told = dict(shadow_member=trained[1:])
        found = [
            mia.audit(q[0], p[0], y, trained[0], shadows={"shadows": q[1:], **told}, attacks="lira")["lira"].auc
            for q in (half, whole)
        ]
    np.testing.assert_array_equal(*scores)
    assert found[0] == found[1]


def test_what_a_module_cannot_be_is_one_line(torch):
    trainer = mia.platforms.torch(lambda: module(torch, 3, torch.nn.Softmax(dim=1)), epochs=1)
    for shadows, message in (
        (trainer, 'gives probabilities already.*head="probabilities"'),
        (mia.platforms.torch(lambda: module(torch, 1), epochs=1), "one number for each record, and there is a label 2"),
        (mia.platforms.torch(lambda: torch.nn.Linear(3, 3), epochs=1), "raised RuntimeError: mat1 and mat2"),
        (module(torch), "returns is Tensor|trains nothing|PyTorch module|unexpected keyword"),
    ):
        with pytest.raises(InputError, match=message) as error:
            mia.audit(np.full((N, 3), 1 / 3, np.float32), X, Y, MEMBER, shadows=shadows, num_shadows=2, attacks="loss")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"PyTorch module.* give mia_jax\.platforms\.torch_predictor"):
        mia.audit(module(torch), X, Y, MEMBER)


@pytorch
def test_a_module_is_audited_alike_by_fit_by_predictions_and_by_a_plan(torch, tmp_path):
    fast = lambda parameters: torch.optim.Adam(parameters, lr=1e-2)  # noqa: E731
    fit = mia.platforms.torch(lambda: module(torch), epochs=40, batch_size=32, optimizer=fast)
    target = fit(X[MEMBER], Y[MEMBER], seed=99)
    names = "loss,lira,rmia,bavaria"
    by_fit = mia.audit(target, X, Y, MEMBER, shadows=fit, num_shadows=8, attacks=names)
    assert by_fit["rmia"].auc.value > 0.6 and by_fit.results["shadows"]["trainer"] == "PyTorch"
    plan = mia.plan(N, 8)
    p = [fit(X[plan.rows(k)], Y[plan.rows(k)], seed=int(plan.seeds[k]))(X) for k in range(8)]
    saved = dict(labels=Y, target=target(X), shadows=np.stack(p), shadow_member=plan.member, member=MEMBER)
    np.savez(tmp_path / "preds.npz", **saved)
    config = DeployedConfig(predictions=str(tmp_path / "preds.npz"), workdir=str(tmp_path / "w"), attacks=names)
    audits.run(config)
    with np.load(tmp_path / "w" / "scores.npz") as scores:
        assert {*scores.files} == {*by_fit.scores}
        for name in scores.files:
            np.testing.assert_array_equal(scores[name], by_fit.scores[name], err_msg=name)
    (tmp_path / "answers").mkdir()
    for k in range(8):
        np.save(tmp_path / "answers" / f"model-{k}.npy", p[k])
    collected = mia.collect(plan, tmp_path / "answers")
    by_plan = mia.audit(target, X, Y, MEMBER, shadows=collected, attacks=names)
    for name in by_fit.scores:
        np.testing.assert_array_equal(by_plan.scores[name], by_fit.scores[name], err_msg=name)


@pytorch
def test_a_data_set_is_audited_with_a_module_of_the_user_s(torch, tmp_path, monkeypatch):
    """``--trainer=module:fit`` in the balanced plan, which asks shadows questions of its own."""
    (tmp_path / "torch_mine.py").write_text(
        "import torch, mia_jax as mia\n"
        "from torch.nn import Linear, ReLU, Sequential\n"
        f"def net():\n    return Sequential(Linear({F}, 64), ReLU(), Linear(64, 3))\n"
        "fit = mia.platforms.torch(net, epochs=60, batch_size=32, optimizer=lambda p: torch.optim.Adam(p, lr=1e-2))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    np.savez(tmp_path / "mine.npz", x=X, y=Y)
    some = dict(num_models=6, num_targets=2, attacks="loss,rmia,label_only", num_queries=8, query_shadows=2)
    config = BalancedConfig(dataset="mine.npz", target_kind="torch_mine:fit", query_records=20, workdir="w", **some)
    results = audits.run(config)
    assert results["target"]["kind"] == "torch_mine:fit" and results["attacks"]["loss"]["auc"]["value"] > 0.55


# --- the others ------------------------------------------------------------------------------------------------------


def audited(shadows, x=X, y=Y, **given):
    """The audit of a target that the same trainer has made, and of whose members something shows."""
    platform = platforms.as_platform(shadows, int(y.max()) + 1)
    target = platform.fit(x[MEMBER], y[MEMBER], seed=7)
    found = mia.audit(target, x, y, MEMBER, shadows=shadows, num_shadows=4, attacks="loss,rmia", **given)
    assert found["loss"].auc.value > 0.55, found["loss"].auc
    return found


@pytest.mark.integration
@pytest.mark.parametrize("library, kind", [("xgboost", "XGBClassifier"), ("lightgbm", "LGBMClassifier")])
def test_boosted_trees(library, kind):
    pytest.importorskip(library)
    classifier = getattr(importlib.import_module(library), kind)
    quiet = {"verbose": -1} if library == "lightgbm" else {}
    found = audited(classifier(n_estimators=20, **quiet))
    assert found.results["shadows"]["trainer"] == f"{kind} of {library}"
    missing = X.copy()
    missing[3, 2] = np.nan
    audited(classifier(n_estimators=20, **quiet), missing)


@pytest.mark.integration
def test_pipelines_of_scikit_learn():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    missing = X.copy()
    missing[::7, 2] = np.nan
    audited(make_pipeline(SimpleImputer(), RandomForestClassifier(20)), missing)


@pytest.mark.integration
@pytest.mark.parametrize("outputs, labels", [(3, Y), (1, TWO)])
def test_keras_on_jax(outputs, labels):
    if importlib.util.find_spec("keras") is None:  # an import here would choose its backend
        pytest.skip("needs Keras: pip install keras")

    def make():
        import keras

        end = "softmax" if outputs > 1 else "sigmoid"
        return keras.Sequential([keras.Input((F,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(outputs, end)])

    with jax.numpy_rank_promotion("allow"):  # which our own code does without, and Keras does not
        _keras_audited(mia.platforms.keras(make, epochs=40, batch_size=32), labels)


@pytest.mark.integration
@pytest.mark.parametrize("outputs, labels", [(3, Y), (1, TWO)])
def test_a_keras_model_that_has_no_input_layer(outputs, labels):
    if importlib.util.find_spec("keras") is None:
        pytest.skip("needs Keras: pip install keras")

    def make():
        import keras

        end = "softmax" if outputs > 1 else "sigmoid"
        return keras.Sequential([keras.layers.Dense(16, "relu"), keras.layers.Dense(outputs, end)])

    with jax.numpy_rank_promotion("allow"):
        fit = mia.platforms.keras(make, epochs=2, batch_size=32)
        p = fit(X, labels, seed=2)(X)
        np.testing.assert_array_equal(p, fit(X, labels, seed=2)(X))
    np.testing.assert_allclose(p.sum(axis=-1), 1, atol=1e-5)


def _keras_audited(fit, labels):
    state = np.random.get_state()[1].copy()  # noqa: NPY002 (Keras seeds it)
    found = audited(fit, y=labels)
    import keras

    assert keras.backend.backend() == "jax" and found.results["shadows"]["trainer"] == "Keras"
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(fit(X, labels, seed=2)(X), fit(X, labels, seed=2)(X))


@pytest.mark.integration
def test_a_sequence_classifier_of_hugging_face(torch):
    transformers = pytest.importorskip("transformers", reason="needs Hugging Face: pip install transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        num_labels=3,
        pad_token_id=0,
    )
    tokens = RNG.integers(1, 50, (N, 8))
    tokens[:, 5:] *= RNG.random((N, 3)) < 0.5  # padded
    fit = mia.platforms.huggingface(
        lambda: transformers.AutoModelForSequenceClassification.from_config(config),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
        epochs=12,
    )
    found = audited(fit, tokens)
    assert found.results["shadows"]["trainer"] == "Hugging Face"
    predict = fit(tokens[:40], Y[:40], seed=1)
    with torch.no_grad():
        mask = torch.as_tensor(tokens != 0).long()
        outputs = predict.module.eval()(input_ids=torch.as_tensor(tokens), attention_mask=mask)
    np.testing.assert_allclose(predict(tokens), torch.softmax(outputs.logits, 1).numpy(), atol=1e-5)
