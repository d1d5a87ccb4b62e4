"""Platforms: what they train is what they say, over all classes, and the same again for the same seed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mia_jax.models import networks
from mia_jax.storage import artifacts
from mia_jax.targets import black_box, estimators, platforms
from mia_jax.training import single
from mia_jax.types import Answers, Field, InputError, Records, Schema

CLASSES = 4


def records(n=200, seed=0, side=3):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, side, 2)).astype(np.float32)
    return x, np.argmax(x.reshape(n, -1)[:, :CLASSES] + 0.3 * rng.normal(size=(n, CLASSES)), axis=1).astype(np.int32)


def test_a_classifier_answers_as_it_does_by_itself():
    from sklearn.linear_model import LogisticRegression

    x, y = records()
    target = platforms.sklearn(LogisticRegression(C=3.0), CLASSES).fit(x, y)
    alone = LogisticRegression(C=3.0).fit(x.reshape(len(x), -1), y)
    np.testing.assert_allclose(target.ask(x), alone.predict_log_proba(x.reshape(len(x), -1)), rtol=1e-4, atol=1e-6)
    assert target.answers == Answers(CLASSES) and not target.traced


def test_a_class_without_records_has_probability_zero():
    x, y = records()
    rows = y != 1
    target = platforms.platform("sklearn:sklearn.naive_bayes.GaussianNB", CLASSES).fit(x[rows], y[rows])
    log_p = target.ask(x)
    assert (log_p[:, 1] < -80).all() and not (log_p.argmax(1) == 1).any()
    assert target.answers.kind == "probabilities"
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-4)


def test_a_classifier_without_probabilities_answers_with_labels():
    x, y = records()
    target = platforms.platform("sklearn:sklearn.svm:LinearSVC", CLASSES).fit(x, y)
    assert target.answers.kind == "labels"
    assert (target.ask(x).argmax(1) == y).mean() > 0.6


def test_the_seed_decides():
    x, y = records()
    fit = platforms.sklearn("sklearn.ensemble.RandomForestClassifier", CLASSES).fit
    first, again, other = (fit(x, y, seed=seed).ask(records(seed=1)[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize(
    "kind", ["sklearn:no.such.Thing", "sklearn:numpy.array", "sklearn:Thing", "azure", "amazon(10)", "nn(3)"]
)
def test_what_is_no_platform_is_refused(kind):
    with pytest.raises(InputError):
        platforms.platform(kind, CLASSES)


@pytest.mark.parametrize("path", ["sklearn.linear_model.LinearRegression", "sklearn.ensemble.RandomForestRegressor"])
def test_regressors_are_refused(path):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    with pytest.raises(InputError, match=r"is a regressor, and its numbers are no classes: give a classifier, such as"):
        platforms.platform(f"sklearn:{path}", CLASSES)
    with pytest.raises(InputError, match="is a regressor"):
        platforms.sklearn(make_pipeline(MinMaxScaler(), Ridge()), CLASSES)


def test_what_predicts_numbers_without_saying_so_is_refused():
    class Line:
        def get_params(self, deep=True):
            return {}

        def set_params(self):
            return self

        def fit(self, x, y):
            return self

        def predict(self, x):
            return x[:, 0]

    with pytest.raises(black_box.TargetError, match="neither predict_proba nor classes_"):
        platforms.sklearn(Line(), CLASSES).fit(*records(20))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_library", "No module named .no_such_library., which .* asks for; install"),
        ("from numpy import no_such_thing", "cannot import name .no_such_thing"),
        ("x = (", "raised SyntaxError"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", r"calls sys.exit\(0\)"),
        ("x = 1", "has no 'forest'"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(source, message, tmp_path, monkeypatch):
    name = f"broken_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        platforms.platform(f"sklearn:{name}.forest", CLASSES)
    assert "\n" not in str(error.value)
    if "forest" not in message:
        with pytest.raises(InputError, match=message):
            networks.build(f"{name}:forest", SCHEMA)


SCHEMA = Schema("mine", "local", "", CLASSES, (3, 2), (Field("a", "numeric", 0, 4), Field("b", "numeric", 4, 6)))


def test_records_that_lack_values_are_for_models_that_take_them():
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y = records()
    x[7, 2, 0] = x[9, 0, 0] = np.nan
    takers = "sklearn.ensemble.HistGradientBoostingClassifier", "sklearn.tree.DecisionTreeClassifier"
    lacking, bits = Records(x, y), (x[:7] > 0).astype(np.uint8)
    full = x.copy()
    full[7, 2, 0], full[9, 0, 0] = np.nanmedian(x[:, 2, 0]), np.nanmedian(x[:, 0, 0])
    for kind in ("nn", "logistic", "google", "amazon", "sklearn:sklearn.linear_model.LogisticRegression"):
        filled, schema = estimators.filled(kind, lacking, SCHEMA)
        np.testing.assert_array_equal(filled.x, full)
        assert "filled in with the median of their column" in schema.notes[-1] and "b[0] 1" in schema.notes[-1]
        assert schema.digest == artifacts.array_digest(full, y)
        for others in (Records(x[:7], y[:7]), Records(bits, y[:7])):
            assert estimators.filled(kind, others, SCHEMA) == (others, SCHEMA)
    for kind in takers:
        assert estimators.filled(f"sklearn:{kind}", lacking, SCHEMA) == (lacking, SCHEMA)
    target = platforms.sklearn(HistGradientBoostingClassifier(max_iter=5), CLASSES).fit(x, y)
    assert np.isfinite(target.ask(x)).all()


def test_the_google_stand_in_chooses_what_fits_the_data():
    rng = np.random.default_rng(0)
    x, y = records(400)
    unseen = records(400, seed=1)
    linear = platforms.google(CLASSES).fit(x, y)
    assert (linear.ask(unseen[0]).argmax(1) == unseen[1]).mean() > 0.7
    # Exclusive or: no linear technique and no naive one can tell.
    bits = rng.integers(0, 2, (2, 400, 6)).astype(np.uint8)
    labels = bits[..., 0] ^ bits[..., 1]
    target = platforms.google(2).fit(bits[0], labels[0])
    assert (target.ask(bits[1]).argmax(1) == labels[1]).mean() > 0.95
    np.testing.assert_array_equal(target.ask(bits[1]), platforms.google(2).fit(bits[0], labels[0]).ask(bits[1]))


def test_the_google_stand_in_outlives_classes_with_a_single_record():
    x, y = records(60)
    y[0] = 5
    target = platforms.google(6).fit(x, y)
    assert target.answers.classes == 6 and target.ask(x).shape == (60, 6)


def test_bins_hold_equally_many_and_bits_stay_bits():
    rng = np.random.default_rng(0)
    x = np.stack([rng.exponential(size=1000), rng.integers(0, 2, 1000) * 3 + 2, np.full(1000, 7.0)], axis=1)
    columns = platforms.columns_of(x)
    inputs = np.asarray(platforms.binned(columns, platforms.quantile_edges(columns, x), x))
    assert inputs.shape == (1000, 1 + platforms.BINS)
    np.testing.assert_array_equal(inputs[:, 0], x[:, 1] == 5)
    np.testing.assert_array_equal(inputs[:, 1:].sum(0), 100)


@pytest.mark.integration
def test_the_amazon_stand_in_is_the_loop_over_single_records():
    """Online SGD of multinomial logistic loss with L2, written out."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 2, (40, 5)).astype(np.uint8), rng.integers(0, 3, 40).astype(np.int32)
    target = platforms.amazon(3, passes=1, l2=0.01).fit(x, y, seed=0)
    state = single.make_trainer(networks.logistic(3), optax.identity(), 1).init(jax.random.key(0), jnp.asarray(x))
    w, b = (np.asarray(leaf, np.float64) for leaf in sorted(jax.tree.leaves(state.params), key=lambda a: -a.ndim))
    key_order, _ = jax.random.split(jax.random.fold_in(state.key, 0))
    order = np.asarray(single.shuffled(key_order, jnp.arange(40)))
    start, found = (w, b), []
    for rate in platforms.RATES:
        w, b = start
        for i in order:
            z = x[i] @ w + b
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            gradient = p - np.eye(3)[y[i]]
            w, b = w - rate * (np.outer(x[i], gradient) + 0.01 * w), b - rate * (gradient + 0.01 * b)
        z = x @ w + b
        found.append(z - np.log(np.exp(z).sum(1, keepdims=True)))
    assert min(np.abs(np.asarray(target.ask(x)) - log_p).max() for log_p in found) < 1e-4


@pytest.mark.integration
@pytest.mark.usefixtures("two_devices")
def test_a_model_of_the_amazon_stand_in_does_not_depend_on_those_trained_beside_it():
    x, y = records(150)
    x[..., 0] = x[..., 0] > 0  # bits and numbers
    index = np.stack([np.random.default_rng(k).permutation(150)[:60] for k in range(10)])  # two chunks
    amazon = platforms.amazon(CLASSES, passes=2)
    assert platforms.AT_ONCE * jax.local_device_count() == 8
    together = [np.asarray(t.ask(x)) for t in amazon.fit_many(Records(x, y), index, seeds=range(10))]
    some = [np.asarray(t.ask(x)) for t in amazon.fit_many(Records(x, y), index[[9, 2]], seeds=[9, 2])]
    np.testing.assert_array_equal(some, [together[9], together[2]])  # bit for bit: an interrupted run trains the rest
    alone = amazon.fit(x[index[3]], y[index[3]], seed=3)
    np.testing.assert_allclose(alone.ask(x), together[3], rtol=1e-4, atol=1e-5)
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(together, 2)) > 0.1


@pytest.mark.integration
def test_the_amazon_stand_in_learns_from_bins_of_each_models_own_what_no_line_could():
    rng = np.random.default_rng(0)
    x = (rng.uniform(-1, 1, (2, 300)) + np.array([[0], [10]])).astype(np.float32)
    y = (np.abs(x - np.array([[0], [10]])) > 0.5).astype(np.int32)  # in the middle or outside
    pool, index = Records(x.reshape(-1, 1), y.reshape(-1)), np.arange(600).reshape(2, 300)
    first, second = platforms.train("amazon(10,1e-6)", pool, index, [0, 1], 2)
    assert first.traced
    assert (np.asarray(jax.jit(first.ask)(x[0, :, None])).argmax(1) == y[0]).mean() > 0.9
    assert (np.asarray(second.ask(x[1, :, None])).argmax(1) == y[1]).mean() > 0.9
    assert np.ptp(np.asarray(first.ask(x[1, :, None])), axis=0).max() == 0  # the other's numbers: all in its last bin


KINDS = ["nn", "logistic", "google", "sklearn:sklearn.tree.DecisionTreeClassifier"]


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.integration) if kind in ("google", "logistic") else kind for kind in KINDS],
)
def test_one_call_trains_on_any_platform(kind):
    x, y = records(900)
    index = np.stack([np.arange(600), np.arange(300, 900)])
    pool = Records(x, y)
    found = [np.asarray(t.ask(x)) for t in platforms.train(kind, pool, index, [5, 6], CLASSES)]
    assert [p.shape for p in found] == [(900, CLASSES)] * 2
    for log_p, rows in zip(found, index, strict=True):
        assert (log_p[rows].argmax(1) == y[rows]).mean() > 0.6
    (again,) = platforms.train(kind, pool, index[1:], [6], CLASSES)  # as a run that resumes does
    np.testing.assert_allclose(again.ask(x), found[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="seed"):
        platforms.train(kind, pool, index, [5], CLASSES)


def test_models_come_as_they_are_trained():
    trained = []

    class Counted:
        classes_ = np.arange(1)

        def get_params(self, deep=True):
            return {}

        def set_params(self):
            return self

        def fit(self, x, y):
            trained.append(len(x))
            return self

        def predict(self, x):
            return np.zeros(len(x), int)

    x, y = records(30)
    coming = platforms.sklearn(Counted(), CLASSES).fit_many(
        Records(x, y), np.arange(30).reshape(3, 10), seeds=[0, 1, 2]
    )
    assert trained == []
    next(coming)
    assert trained == [10]
    assert len(list(coming)) == 2 and trained == [10] * 3


def test_what_cannot_be_trained_is_one_line():
    x, y = records(20)
    with pytest.raises(black_box.TargetError, match=r"LogisticRegression cannot be trained on these records") as error:
        platforms.platform("sklearn:sklearn.linear_model.LogisticRegression", CLASSES).fit(x, np.zeros_like(y))
    assert "\n" not in str(error.value)


def test_reports_can_tell_stand_ins():
    for kind in (*KINDS, "amazon"):
        title = platforms.platform(kind, CLASSES).title
        assert ("stand-in" in title) == kind.startswith(("amazon", "google"))
    assert platforms.platform("amazon(100,1e-4)", 3).title == "Amazon ML (stand-in; 100 passes, L2 0.0001)"
    assert platforms.platform(KINDS[-1], 3).title == "DecisionTreeClassifier of sklearn"
