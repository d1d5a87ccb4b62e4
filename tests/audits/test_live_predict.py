"""A predict that is no function of a record, or that changes its records: it is told, and no record is changed."""

import functools
import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.audits.one_call import AnswersWarning
from mia_jax.checks.answers import other_answers
from mia_jax.targets import predictors, unchanged

X, Y = make_classification(240, 8, n_informative=5, n_classes=3, n_clusters_per_class=1, random_state=1)
MEMBER = np.random.default_rng(6).permutation(240) < 120
FAST = dict(attacks="loss", num_shadows=4)
SAID, OTHERS = "Asked again about some of the records", "as far from the first time as about other records"


def fit(x, y, *, seed):
    return DecisionTreeClassifier(max_depth=5, min_samples_leaf=3, random_state=seed).fit(x, y).predict_proba


TARGET = fit(X[MEMBER], Y[MEMBER], seed=0)
audit = functools.partial(mia.audit, y=Y, member=MEMBER, **FAST)


def shuffled(predict):
    rng = np.random.default_rng(3)
    return lambda x: predict(x[rng.permutation(len(x))])


def dropout(predict):
    rng = np.random.default_rng(4)
    return lambda x: predict(x * (rng.random(x.shape) > 0.02))


def by_the_batch(predict):
    return lambda x: predict((x - x.mean(axis=0)) / x.std(axis=0))


SEEDS = []  # no part of what names an answer


def counted(x, y, *, seed):
    SEEDS.append(seed)
    return shuffled(fit(x, y, seed=seed))


def of_fit(spoil):
    return lambda x, y, *, seed: spoil(fit(x, y, seed=seed))


def said(result, start=SAID):
    """Doubts, and notes, that begin so."""
    notes = result.results["shadows"]["notes"]
    return [[line for line in lines if line.startswith(start)] for lines in (result.results.get("doubts", ()), notes)]


@pytest.mark.parametrize("whose", ["the target", "the shadows", "the target and the shadows"])
def test_a_loader_that_shuffles_inside_predict_is_a_doubt(whose):
    target = shuffled(TARGET) if "target" in whose else TARGET
    with pytest.warns(AnswersWarning):
        result = audit(target, X, shadows=of_fit(shuffled) if "shadows" in whose else fit)
    [doubt], notes = said(result)
    assert whose in doubt and OTHERS in doubt and "no shuffle in the loader" in doubt and not notes


@pytest.mark.parametrize("spoil", [dropout, by_the_batch])
def test_answers_by_chance_or_by_the_batch_are_a_note(spoil):
    given = LogisticRegression(C=0.05).fit(X[MEMBER], Y[MEMBER]).predict_proba
    result = audit(spoil(given), X, shadows=LogisticRegression(C=0.05))
    doubts, [note] = said(result)
    assert not doubts and "the target answers otherwise" in note and "model.eval()" in note


def test_a_function_of_the_record_is_not_accused():
    assert said(audit(TARGET, X, shadows=fit)) == [[], []]
    assert said(audit(lambda x: TARGET(x).astype(np.float32), X, shadows=fit)) == [[], []]


def test_a_resumed_run_says_the_same(tmp_path):
    trained = len(SEEDS)
    for _ in range(2):
        with pytest.warns(AnswersWarning):
            [doubt], _ = said(audit(TARGET, X, shadows=counted, workdir=tmp_path))
        assert "the shadows" in doubt
    assert len(SEEDS) - trained == FAST["num_shadows"]


@pytest.mark.parametrize("spoil", [shuffled, pytest.param(dropout, marks=pytest.mark.integration)])
def test_predictions_that_are_no_classes(spoil):
    y = X[:, 0] + Y
    model = RandomForestRegressor(5, random_state=0).fit(X[MEMBER], y[MEMBER])
    some = dict(shadows=RandomForestRegressor(5), signal="squared_error", **FAST)
    assert said(mia.audit(model.predict, X, y, MEMBER, **some)) == [[], []]
    result = None
    if spoil is shuffled:
        with pytest.warns(AnswersWarning):
            result = mia.audit(spoil(model.predict), X, y, MEMBER, **some)
    else:
        result = mia.audit(spoil(model.predict), X, y, MEMBER, **some)
    doubts, notes = said(result)
    assert (len(doubts), len(notes)) == ((1, 0) if spoil is shuffled else (0, 1))


# --- records that are changed in place -------------------------------------------------------------------------------


def in_place(predict):
    def changed(x):
        x *= 10.0
        return predict(x / 10)

    return changed


@pytest.mark.parametrize("signal", [None, pytest.param("squared_error", marks=pytest.mark.integration)])
def test_no_call_changes_the_records_and_it_is_told(signal):
    x = X.copy()
    right = mia.audit(
        TARGET if signal is None else lambda x: x[:, 0], x, Y, MEMBER, shadows=fit_of(signal), signal=signal, **FAST
    )
    target = in_place(TARGET if signal is None else lambda x: x[:, 0])
    result = mia.audit(
        target,
        x,
        Y,
        MEMBER,
        shadows=lambda x, y, *, seed: in_place(fit_of(signal)(x, y, seed=seed)),
        signal=signal,
        **FAST,
    )
    np.testing.assert_array_equal(x, X)
    np.testing.assert_allclose(result["loss"].scores, right["loss"].scores, rtol=1e-5)
    [note] = said(result, "predict of the target and the shadows changed the records in place")[1]
    assert "x = x / 255" in note


def fit_of(signal):
    if signal is None:
        return fit
    return lambda x, y, *, seed: lambda asked: asked[:, 0] * (1 + 0.01 * np.random.default_rng(seed).normal())


def test_a_fit_that_changes_its_rows_is_told():
    def scaled(x, y, *, seed):
        x -= x.mean(axis=0)
        return fit(x, y, seed=seed)

    x = X.copy()
    [note] = said(audit(TARGET, x, shadows=scaled), "fit changed the records in place")[1]
    assert "predict does the same" in note
    np.testing.assert_array_equal(x, X)


def test_records_too_many_to_copy_are_refused_once_they_are_changed(monkeypatch):
    monkeypatch.setattr(unchanged, "COPIED", 100)
    with pytest.raises(mia.InputError, match=r"the target changed the records in place, as x /= 255 does"):
        audit(in_place(TARGET), X.copy(), shadows=fit)

    def predict(frame):
        frame["0"] = 0.0
        return np.full((len(frame), 2), 0.5)

    frame = pytest.importorskip("pandas").DataFrame(X)
    with pytest.raises(mia.InputError, match="changed the records in place"):
        predictors.answers(predict, frame)


@pytest.mark.parametrize("kind", ["pandas", pytest.param("torch", marks=pytest.mark.integration)])
def test_frames_and_tensors_are_copied(kind):
    x = pytest.importorskip(kind).DataFrame(X) if kind == "pandas" else pytest.importorskip(kind).tensor(X)
    before = np.asarray(x).copy()

    def predict(x):
        x *= 10.0
        return TARGET(np.asarray(x) / 10)

    found = predictors.answers(predict, x)
    assert found.in_place
    np.testing.assert_array_equal(np.asarray(x), before)
    np.testing.assert_allclose(found.p, TARGET(X))


# --- how it is asked again -------------------------------------------------------------------------------------------


def again(predict, x=X):
    first = predictors.answers(predict, x)
    return predictors.again(predict, x, first)


def test_sixteen_records_in_another_order():
    sizes = []

    def predict(x):
        sizes.append(len(x))
        return TARGET(x)

    found = again(predict)
    assert sizes == [240, 16]
    np.testing.assert_array_equal(found.first, found.now)
    assert len({row.tobytes() for row in found.first}) > 4  # records whose answers differ


def test_what_takes_no_few_records_is_asked_about_all():
    def predict(x):
        return TARGET(x.reshape(240, 8))

    assert len(again(predict).now) == 240
    saved = TARGET(X)
    assert other_answers.of_probabilities(*again(lambda x: saved)) is None  # a function of a file, whatever is asked
    assert predictors.again(saved, X, predictors.answers(saved, X)) is None


def test_noise_of_another_batch_size_is_none():
    p, rng = TARGET(X)[:16], np.random.default_rng(0)
    p = 0.999 * p + 0.001 / 3
    z = np.log(p) + 1e-4 * rng.normal(size=p.shape)  # float16 on logits of 1 to 8 does less than 1e-3
    now = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert other_answers.of_probabilities(p, now) is None
    one = np.eye(3)[p.argmax(axis=1)]
    assert other_answers.of_probabilities(one, one) is None
    moved = one.copy()
    moved[0] = np.roll(moved[0], 1)
    assert other_answers.of_probabilities(one, moved).most == 1.0


PLAIN = (lambda predict: predict, None)


@pytest.mark.parametrize(("spoil", "doubted"), [(shuffled, True), (by_the_batch, False), PLAIN])
def test_a_target_without_shadows_is_asked_again_too(spoil, doubted):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnswersWarning)
        doubts, notes = said(mia.audit(spoil(TARGET), X, Y, MEMBER, attacks="loss"))
    assert (len(doubts), len(notes)) == {True: (1, 0), False: (0, 1), None: (0, 0)}[doubted]
