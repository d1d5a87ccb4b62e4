"""The whole attack on a scikit-learn model behind a real MLServer (v2) and a real KServe (V1), over loopback.

``tests/real_servers.sh FOLDER`` installs them and prints the two variables that these tests need.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import real_servers

from mia_jax.attacks import ATTACKS
from mia_jax.plans import splits
from mia_jax.targets import black_box, platforms
from mia_jax.targets.remote import Options, connect, protocols, replies
from mia_jax.types import Records

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

CLASSES, FEATURES, N, MODELS = 5, 30, 300, 8
KEY = jax.random.key(0)
TRIED = ("shokri", "confidence", "modified_entropy", "lira", "rmia")

SERVERS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("mlserver", "kserve")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A scikit-learn target as a file and itself, its pool, and which half of that trained it.

    And attacks, as they were learned on shadows of its kind: name -> (attack, state).
    """
    if not any(f"MIA_JAX_{name.upper()}_PYTHON" in os.environ for name in ("mlserver", "kserve")):
        real_servers.python_of("mlserver", skip=pytest.skip)  # now, and not after everything is trained
    import joblib
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (N, FEATURES)).astype(np.uint8)
    y = np.argmax(x @ rng.normal(size=(FEATURES, CLASSES)) + 3 * rng.gumbel(size=(N, CLASSES)), axis=1)
    records = Records(x, y.astype(np.int32))
    plan = splits.balanced(KEY, N, MODELS)
    member = splits.membership_matrix(plan, N)
    recipe = LogisticRegression(C=100.0, max_iter=300)
    model = LogisticRegression(C=100.0, max_iter=300).fit(x[member[0]], y[member[0]])
    path = tmp_path_factory.mktemp("model") / "model.joblib"
    joblib.dump(model, path)
    rows = plan.train[2:]  # model 0 is the target, and its partner would give it away
    shadows = list(platforms.sklearn(recipe, CLASSES).fit_many(records, rows, seeds=range(len(rows))))
    learned = {}
    for name in TRIED:
        attack = ATTACKS[name](CLASSES)
        seen = [attack.observe(KEY, shadow, records) for shadow in shadows]
        state = attack.fit(KEY, jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen), member[2:], None)
        learned[name] = attack, state
    return path, model, records, member[0], learned


@pytest.fixture(scope="module")
def urls(world, tmp_path_factory):
    """Starts each server once, when the first test asks for it."""
    import contextlib

    with contextlib.ExitStack() as stack:
        started = {}

        def start(name):
            python = real_servers.python_of(name, skip=pytest.skip)
            if name not in started:
                run = getattr(real_servers, name)
                started[name] = stack.enter_context(run(python, world[0], tmp_path_factory.mktemp(name)))
            return started[name]

        yield start


@pytest.mark.parametrize("name", SERVERS)
def test_the_attack_over_the_wire_scores_as_it_does_in_process(urls, world, name):
    _, model, records, member, learned = world
    local = black_box.from_callable(model.predict_proba, CLASSES)
    served = connect(urls(name), records.x, options=Options(rows_per_request=64))
    assert served.answers.classes == CLASSES and served.answers.kind == "probabilities"
    for title, (attack, state) in learned.items():
        here, there = (np.asarray(attack.score(state, attack.observe(KEY, t, records))) for t in (local, served))
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5, err_msg=title)
        assert here[member].mean() > here[~member].mean()  # and there is something to be found


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64, bool])
def test_answers_do_not_depend_on_how_records_are_written(urls, world, name, dtype):
    _, model, records, *_ = world
    x = records.x
    log_p = connect(urls(name), x.astype(dtype), options=Options(rows_per_request=100)).ask(x.astype(dtype))
    np.testing.assert_allclose(log_p, model.predict_log_proba(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SERVERS)
def test_a_wrong_width_is_one_line(urls, world, name):
    with pytest.raises(black_box.TargetError, match="HTTP 500") as error:
        connect(urls(name), world[2].x[:, :7], options=Options(backoff=0.01))
    assert "\n" not in str(error.value)


@pytest.mark.mlserver
def test_a_server_that_gives_labels_only_is_understood(urls, world):
    import httpx

    _, model, records, *_ = world
    codec = protocols.oip(output=None)
    reply = httpx.post(urls("mlserver") + "/infer", content=codec.encode(records.x), headers=codec.headers)
    decoded = codec.decode(reply.content, N)
    reading = replies.learn(decoded, CLASSES)
    assert reading.answers.kind == "labels"
    np.testing.assert_array_equal(replies.read(decoded, N, reading).argmax(1), model.predict(records.x))
