"""Open Inference replies whose outputs are not one tensor of probabilities, row by row."""

import json

import numpy as np
import pytest
import services

from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.targets import black_box
from mia_jax.targets.remote import Options, answers_one_number, connect
from mia_jax.types import InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

FAST = Options(timeout=5.0, backoff=0.001, retries=1, in_flight=2)
N, F = 60, 6
X = np.random.default_rng(0).normal(size=(N, F))


def model(x, c):
    z = x @ np.random.default_rng(1).normal(size=(F, c))
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def tensor(name, p, shape=None, datatype="FP64"):
    return {"name": name, "shape": list(shape or p.shape), "datatype": datatype, "data": p.reshape(-1).tolist()}


def serving(outputs, c=10, strict=False):
    """A server of ``outputs(p)``; a strict one refuses to be asked for an output of a name that it has not."""

    def respond(body, number):
        asked = json.loads(body)
        x = np.reshape(asked["inputs"][0]["data"], asked["inputs"][0]["shape"])
        given = outputs(model(x, c))
        if strict and {o["name"] for o in asked.get("outputs", [])} - {o["name"] for o in given}:
            return services.reply({"error": "unexpected inference output"}, "400 Bad Request")
        return services.reply({"model_name": "m", "outputs": given})

    return services.raw(respond, path="/v2/models/m")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("c", [2, 10, 16])  # 16: as many as records of the probe
@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (lambda p: [tensor("p", p.T, p.shape)], "stand column by column .*: send them row by row"),
        (lambda p: [tensor("p", p.T)], r"\[classes, records\], \d+ x 16 for 16 records: transpose them"),
    ],
)
def test_another_layout_is_told_by_its_name(outputs, said, c, strict):
    said = said if c != 16 else "column by column"
    with serving(outputs, c, strict) as url, pytest.raises(black_box.TargetError, match=said) as error:
        connect(url, X, options=FAST)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


@pytest.mark.parametrize("digits", [1, 2, 16])
@pytest.mark.parametrize("c", [2, 3, 10, 16])
def test_row_by_row_is_read_whatever_is_rounded(c, digits):
    with serving(lambda p: [tensor("p", np.round(p, digits))], c) as url:
        p = np.exp(connect(url, X, options=FAST).ask(X))
    assert np.abs(p - model(X, c)).max() <= 10.0**-digits + 1e-6


def test_outputs_that_are_no_distribution_anyhow_are_told_as_before():
    with serving(lambda p: [tensor("p", np.sqrt(p))]) as url, pytest.raises(black_box.TargetError, match="sigmoids"):
        connect(url, X, options=FAST)


@pytest.mark.parametrize("c", [2, 12])
@pytest.mark.parametrize("called", ["class_{}", "prob{}"])
def test_an_output_for_each_class_is_read_by_its_number(c, called):
    def outputs(p):
        return [tensor(called.format(k), p[:, k]) for k in sorted(range(c), key=str)]

    with serving(outputs, c, strict=True) as url:
        target = connect(url, X, options=FAST)
        np.testing.assert_allclose(target.ask(X), np.log(model(X, c)), atol=1e-5)
        assert target.answers.classes == c and not answers_one_number(target)


def test_an_output_for_each_class_that_has_no_number_is_refused():
    def outputs(p):
        return [tensor(name, p[:, [k]]) for k, name in enumerate(["cat", "dog", "eel"])]

    with serving(outputs, 3) as url, pytest.raises(black_box.TargetError, match=r"3 outputs .*\('cat', 'dog', 'eel'\)"):
        connect(url, X, options=FAST)


def beside(p):
    return [tensor("label", p.argmax(axis=1), datatype="INT64"), tensor("score", p.max(axis=1))]


def test_a_label_beside_its_score_is_read_as_the_best_of_classes():
    with serving(beside) as url:
        log_p = connect(url, X, num_classes=10, options=FAST).ask(X)
        with pytest.raises(InputError, match=r"its best label and that label's score .*number of classes"):
            connect(url, X, options=FAST)
    right = model(X, 10)
    assert (log_p.argmax(axis=1) == right.argmax(axis=1)).all()
    np.testing.assert_allclose(np.exp(log_p.max(axis=1)), right.max(axis=1), atol=1e-5)


@pytest.mark.parametrize("own", [False, True])
def test_of_two_classes_the_score_is_that_of_the_second_or_of_the_label(own):
    def outputs(p):
        return beside(p) if own else [beside(p)[0], tensor("score", p[:, 1])]

    with serving(outputs, 2) as url:
        np.testing.assert_allclose(connect(url, X, options=FAST).ask(X), np.log(model(X, 2)), atol=1e-5)


def test_an_audit_of_labels_beside_scores_asks_for_the_number_of_classes(tmp_path):
    np.savez(tmp_path / "mine.npz", x=X, y=np.arange(N) % 10, member=np.arange(N) >= 30)
    with serving(beside) as url, pytest.raises(InputError, match="number of classes"):
        audits.run(DeployedConfig(target=url, data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run")))
