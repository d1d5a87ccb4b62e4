"""Models of Keras 3 on its backends, each in a process of its own: the first import of Keras chooses it."""

import importlib.util
import os
import subprocess
import sys

import pytest

import mia_jax as mia
from mia_jax.types import InputError

pytestmark = pytest.mark.integration
BACKENDS = ("jax", "torch")
COMMON = """
import warnings
import numpy as np
import keras
import mia_jax as mia

warnings.simplefilter("ignore")  # of Keras and the libraries under it
x = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
member = np.arange(120) < 60


def make():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(3, "softmax")])


def refused(call):
    try:
        call()
    except mia.InputError as error:
        print(error)
    else:
        print("not refused")
"""


def printed(backend, code):
    """What a script prints, whose Keras has this backend."""
    for library in ("keras", backend):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"needs {library}: pip install {library}")
    asked = {**os.environ, "KERAS_BACKEND": backend}
    found = subprocess.run([sys.executable, "-c", COMMON + code], env=asked, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_are_trained_and_asked(backend):
    """A Predictor, the model itself and what it answers have the same scores; a seed gives the same model again."""
    lines = printed(
        backend,
        """
fit = mia.platforms.keras(make, epochs=20, batch_size=20)
predict = fit(x[member], y[member], seed=1)
np.testing.assert_array_equal(predict(x), fit(x[member], y[member], seed=1)(x))
of = [mia.audit(each, x, y, member)["loss"].scores for each in (predict, predict.model, predict(x))]
np.testing.assert_allclose(of[1], of[0], atol=1e-5)
np.testing.assert_allclose(of[2], of[0], atol=1e-5)
found = mia.audit(predict, x, y, member, shadows=fit, num_shadows=2, attacks="rmia")
print(keras.backend.backend(), found.results["shadows"]["trainer"])
""",
    )
    assert lines[-1] == f"{backend} Keras"


def test_random_state_of_pytorch_is_as_before():
    lines = printed(
        "torch",
        """
import torch
before = torch.get_rng_state()
mia.platforms.keras(make, epochs=1)(x, y, seed=1)
print(bool((torch.get_rng_state() == before).all()))
""",
    )
    assert lines == ["True"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be_trained_is_refused_before_it_is(backend):
    lines = printed(
        backend,
        """
def compiled():
    model = make()
    model.compile("adam", "categorical_crossentropy")
    return model

def heads():
    inputs = keras.Input((6,))
    return keras.Model(inputs, [keras.layers.Dense(k, "softmax")(inputs) for k in (3, 2)])

def one_head():
    model = heads()
    return keras.Model(model.inputs, model.outputs[0])

class Subclass(keras.Model):  # which has no output_shape
    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(3, "softmax")

    def call(self, x):
        return self.last(x)

def trained(make, y=y):
    return mia.platforms.keras(make, epochs=1)(x, y, seed=0)(x)

model = make()
for call in (
    lambda: trained(compiled),
    lambda: trained(heads),
    lambda: trained(make, y + 1),
    lambda: trained(model),
    lambda: mia.audit(model, x, y, member, shadows=model, num_shadows=2),
):
    refused(call)
for moved in (one_head, Subclass, lambda: keras.models.clone_model(model)):
    print(trained(moved).shape)
""",
    )
    assert "compile it with sparse_categorical_crossentropy" in lines[0]
    assert "has 2 outputs" in lines[1] and "keras.Model(model.inputs, model.outputs[0])" in lines[1]
    assert lines[2] == "the model gives 3 classes, and there is a label 3: give it an output for each class"
    assert lines[3].endswith("give lambda: keras.models.clone_model(model)")
    assert lines[4].startswith("shadows is a Keras model") and "clone_model" in lines[4]
    assert lines[5:] == ["(120, 3)"] * 3


def test_shadows_that_are_a_module_of_pytorch():
    torch = pytest.importorskip("torch")
    x, y = [[0.0, 1.0], [1.0, 0.0]] * 4, [0, 1] * 4
    with pytest.raises(InputError, match=r"shadows is a PyTorch module.*mia_jax.platforms.torch\(make_module\)"):
        mia.audit(lambda x: [[0.5, 0.5]] * 8, x, y, [True, False] * 4, shadows=torch.nn.Linear(2, 2))
