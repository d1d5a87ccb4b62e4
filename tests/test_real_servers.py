"""The whole attack on a scikit-learn model behind a real MLServer (v2) and a real KServe (V1), over loopback.

``tests/real_servers.sh FOLDER`` installs them and prints the two variables that these tests need.
"""

import jax
import numpy as np
import pytest
import real_servers

from mia_jax import targets
from mia_jax.remote import Options, connect
from mia_jax.types import Records

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

CLASSES, FEATURES, SHADOWS, M = 5, 30, 4, 150

SERVERS = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("mlserver", "kserve")]


def population(n, rng):
    x = rng.integers(0, 2, (n, FEATURES)).astype(np.uint8)
    centres = np.random.default_rng(7).normal(size=(FEATURES, CLASSES))
    return Records(x, np.argmax(x @ centres + 3 * rng.gumbel(size=(n, CLASSES)), axis=1).astype(np.int32))


def fit(records):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=100.0, max_iter=300).fit(records.x, records.y)


def as_target(model):
    return targets.from_callable(model.predict_proba, CLASSES)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A target and its shadows, each with as many non-members as members; the target as a file too."""
    import joblib

    rng = np.random.default_rng(0)
    sides = [population(2 * M, rng) for _ in range(1 + SHADOWS)]
    models = [fit(Records(side.x[:M], side.y[:M])) for side in sides]
    path = tmp_path_factory.mktemp("model") / "model.joblib"
    joblib.dump(models[0], path)
    return path, models, sides


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
    from mia_jax.attacks import ATTACKS

    _, models, sides = world
    served = connect(urls(name), sides[0].x, options=Options(rows=64))
    assert served.answers.classes == CLASSES and served.answers.kind == "probabilities"
    member = np.broadcast_to(np.arange(2 * M) < M, (SHADOWS, 2 * M))
    for attack in (ATTACKS["confidence"](CLASSES), ATTACKS["confidence"](CLASSES, per_class=True)):
        key = jax.random.key(0)
        seen = [attack.observe(key, as_target(m), s) for m, s in zip(models[1:], sides[1:], strict=True)]
        state = attack.fit(key, jax.tree.map(lambda *leaves: np.stack(leaves), *seen), member, None)
        here, there = (attack.score(state, attack.observe(key, t, sides[0])) for t in (as_target(models[0]), served))
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-6)
        assert here[:M].mean() > here[M:].mean() + 0.05  # and there is something to be found


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64, bool])
def test_answers_do_not_depend_on_how_records_are_written(urls, world, name, dtype):
    _, models, sides = world
    x = sides[0].x
    log_p = connect(urls(name), x.astype(dtype), options=Options(rows=100)).ask(x.astype(dtype))
    np.testing.assert_allclose(log_p, models[0].predict_log_proba(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SERVERS)
def test_a_wrong_width_is_one_line(urls, world, name):
    with pytest.raises(targets.TargetError, match="HTTP 500") as error:
        connect(urls(name), world[2][0].x[:, :7], options=Options(backoff=0.01))
    assert "\n" not in str(error.value)


@pytest.mark.mlserver
def test_a_server_that_gives_labels_only_is_understood(urls, world):
    from mia_jax.remote import protocols

    _, models, sides = world
    import httpx

    codec = protocols.oip(output=None)
    body = codec.encode(sides[0].x)
    reply = httpx.post(urls("mlserver") + "/infer", content=body, headers=codec.headers)
    reading = protocols.learn(codec.decode(reply.content, len(sides[0].x)), CLASSES)
    p = protocols.read(codec.decode(reply.content, len(sides[0].x)), len(sides[0].x), reading)
    assert reading.answers.kind == "labels"
    np.testing.assert_array_equal(p.argmax(1), models[0].predict(sides[0].x))
