"""Models that predict no class: one number per record, from a regression on a real table to a user's own likelihood."""

import numpy as np
import pytest
import test_one_call as classes
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

import mia_jax as mia
from mia_jax.audits.deployed import numbers
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.statistics import metrics
from mia_jax.types import InputError

X, Y = load_diabetes(return_X_y=True)
N = len(Y)
MEMBER = np.random.default_rng(0).permutation(N) < N // 2
TREE = DecisionTreeRegressor(min_samples_leaf=3, random_state=0)
TARGET = DecisionTreeRegressor(min_samples_leaf=3, random_state=9).fit(X[MEMBER], Y[MEMBER])
FEW = dict(num_shadows=4, attacks="loss,rmia,lira")


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    return mia.audit(TARGET, X, Y, MEMBER, shadows=TREE, signal="squared_error", workdir=folder, **FEW), folder


def test_a_regression_is_audited_by_its_squared_error(regression):
    found, _ = regression
    error = (TARGET.predict(X) - Y) ** 2
    assert found["loss"].auc.value == pytest.approx(metrics.auc(-error, MEMBER).value, abs=1e-4)
    np.testing.assert_allclose(found.scores["signal"], -error, rtol=1e-6)
    assert found["rmia"].auc.value > 0.7 and found["lira"].auc.value > 0.7
    assert found.results["target"]["train_signal"] == pytest.approx(-error[MEMBER].mean())
    text = found._repr_html_() + repr(found)
    assert "minus the squared error" in text and "0 classes" not in text and "1 classes" not in text


def test_its_page_speaks_of_no_class(regression):
    page = (regression[1] / "report.html").read_text()
    assert "one number was taken: minus the squared error" in page
    for words in ("Class by class", "probability for each", "How sure the target"):
        assert words not in page


def test_an_interrupted_regression_goes_on_and_a_function_does_the_same(regression):
    asked = []

    def fit(x, y, *, seed):
        asked.append(seed)
        return DecisionTreeRegressor(min_samples_leaf=3, random_state=seed).fit(x, y).predict

    found = mia.audit(TARGET.predict, X, Y, MEMBER, shadows=fit, signal="squared_error", **FEW)
    assert len(asked) == 4
    for name in found:
        np.testing.assert_array_equal(found[name].scores, regression[0][name].scores)
    again = mia.audit(TARGET, X, Y, MEMBER, shadows=TREE, signal="squared_error", workdir=regression[1], **FEW)
    np.testing.assert_array_equal(again["lira"].scores, regression[0]["lira"].scores)


@pytest.mark.integration
def test_processes_train_regressors_to_the_same_bits(regression):
    found = mia.audit(TARGET, X, Y, MEMBER, shadows=TREE, signal="squared_error", jobs=2, **FEW)
    for name in found:
        np.testing.assert_array_equal(found[name].scores, regression[0][name].scores)


def test_a_log_likelihood_orders_records_as_the_answers_that_it_is_from():
    def likelihood(p, y):
        return np.log(p[np.arange(len(y)), y])

    given = (classes.TARGET, classes.X, classes.Y, classes.MEMBER)
    some = dict(shadows=classes.fit, num_shadows=6, attacks="loss,rmia,calibrated_loss,base")
    by_signal, by_answers = mia.audit(*given, signal=likelihood, **some), mia.audit(*given, **some)
    for name in by_answers:
        near = 2e-3 if name in ("loss", "calibrated_loss") else 0.03  # others exponentiate; the unit may not be nats
        assert by_signal[name].auc.value == pytest.approx(by_answers[name].auc.value, abs=near), name


def test_errors_of_any_unit_are_log_likelihoods():
    """A likelihood in other units has another constant, which no attack sees."""
    scores = []
    for unit in (1.0, 1000.0):
        target = lambda x, unit=unit: TARGET.predict(x) * unit  # noqa: E731
        fit = lambda x, y, *, seed: DecisionTreeRegressor(min_samples_leaf=3, random_state=seed).fit(x, y)  # noqa: E731
        found = mia.audit(target, X, Y * unit, MEMBER, shadows=fit, signal="squared_error", **FEW)
        scores.append(found["rmia"].scores)
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)


UNITS = {"thousandths": (1e-3, 0.0), "as it is": (1.0, 0.0), "thousands": (1e3, 0.0), "beside 1e5": (1.0, 1e5)}


@pytest.fixture(scope="module")
def forests():
    """Minus the squared errors of a forest and of six more, thousands large (diabetes): from what was found wrong."""
    drawn = np.random.default_rng(0)
    member = drawn.random(N) < 0.5
    trained = np.array([drawn.permutation(N) < member.sum() for _ in range(6)])

    def errors(rows, seed):
        forest = RandomForestRegressor(n_estimators=20, random_state=seed).fit(X[rows], Y[rows])
        return -((forest.predict(X) - Y) ** 2)

    return errors(member, 0), np.stack([errors(rows, k) for k, rows in enumerate(trained)]), trained, member


def test_numbers_of_any_size_are_told_apart(forests):
    target, shadows, trained, member = forests
    given = dict(signal=target, shadow_signal=shadows, shadow_member=trained)
    found = {name: mia.auc(mia.infer(name, **given), member).value for name in ("loss", "rmia")}
    assert found["loss"] == pytest.approx(metrics.auc(target, member).value, abs=1e-4) == pytest.approx(0.785, abs=2e-3)
    assert found["rmia"] > 0.86
    assert len(np.unique(mia.infer("loss", **given))) >= len(np.unique(target.round(6)))  # nothing is clipped


@pytest.mark.parametrize(
    "unit", [unit if unit == "thousands" else pytest.param(unit, marks=pytest.mark.integration) for unit in UNITS]
)
def test_no_attack_sees_a_signals_unit(forests, unit):
    target, shadows, trained, member = forests
    (factor, constant), names = UNITS[unit], numbers.attack_names("all")
    for name in names:
        plain, other = (
            mia.infer(name, signal=target * a + b, shadow_signal=shadows * a + b, shadow_member=trained)
            for a, b in ((1.0, 0.0), (factor, constant))
        )
        assert mia.auc(other, member).value == pytest.approx(mia.auc(plain, member).value, abs=1e-4), name


@pytest.mark.parametrize("entrance", ["file", "call"])
@pytest.mark.integration
def test_nor_does_any_entrance(forests, entrance, tmp_path):
    target, shadows, trained, member = forests
    given = dict(signal=target, shadow_signal=shadows, shadow_member=trained)
    wanted = {name: mia.auc(mia.infer(name, **given), member).value for name in ("loss", "rmia")}
    for k, (factor, constant) in enumerate(UNITS.values()):
        if entrance == "file":
            scaled = {name: array * factor + constant for name, array in given.items() if "signal" in name}
            np.savez(tmp_path / f"{k}.npz", **given | scaled, member=member)
            work = str(tmp_path / str(k))
            made = mia.run(mia.DeployedConfig(predictions=f"{work}.npz", attacks="loss,rmia", workdir=work))
            found = {name: made["attacks"][name]["auc"]["value"] for name in wanted}
        else:
            error = lambda p, y, a=factor, b=constant: -a * (p - y) ** 2 + b  # noqa: E731
            made = mia.audit(TARGET, X, Y, MEMBER, shadows=TREE, signal=error, **FEW)
            found = {name: made[name].auc.value for name in wanted}
            wanted = found if k == 0 else wanted
        for name in wanted:
            assert found[name] == pytest.approx(wanted[name], abs=1e-4), (name, factor, constant)


@pytest.mark.parametrize("name", ["confidence", "entropy", "modified_entropy", "gap", "shokri"])
def test_attacks_that_read_classes_are_refused(name):
    with pytest.raises(InputError, match=f"{name} needs classes .*; loss, calibrated_loss"):
        numbers.attack_names(name)


def test_saved_predictions_are_audited_as_the_models_that_made_them(forests):
    target, shadows, trained, member = forests
    predicted = {"target": Y + np.sqrt(-target), "shadows": Y + np.sqrt(-shadows)}
    saved = {"shadows": predicted["shadows"], "shadow_member": trained}
    found = mia.audit(predicted["target"], X, Y, member, shadows=saved, signal="squared_error", attacks="loss,rmia")
    assert found["loss"].auc.value == pytest.approx(metrics.auc(target, member).value, abs=1e-3)
    assert found["rmia"].auc.value > 0.85 and found.results["shadows"]["count"] == len(shadows)
    assert "num_shadows" not in found.results["config"] and not found.results["doubts"]
    mixed = mia.audit(TARGET.predict(X), X, Y, MEMBER, shadows=TREE, signal="squared_error", **FEW)
    plain = mia.audit(TARGET, X, Y, MEMBER, shadows=TREE, signal="squared_error", **FEW)
    np.testing.assert_array_equal(mixed["rmia"].scores, plain["rmia"].scores)


BAD = {
    "saved alone": (dict(predict=np.zeros(N), shadows=None), r"without shadows, mia_jax\.auc\(-\(\(predicted - y\)"),
    "saved, of others": (dict(predict=np.zeros(9)), "the target is 9 saved predictions for 442 records"),
    "saved shadows": (dict(shadows={"shadows": np.zeros((2, 9))}), "shadow_member is missing"),
    "no shadows": (dict(shadows=None), r"shadows is a function fit.* mia_jax\.auc"),
    "signal": (dict(signal="squared"), "none of squared_error, absolute_error"),
    "defenses": (dict(defenses="round_to(1)"), "defenses change probabilities"),
    "shape": (dict(predict=lambda x: np.zeros((N, 2))), r"shape \(442, 2\) for y of shape \(442,\)"),
    "number": (dict(predict=lambda x: np.full(N, np.inf)), "record 0: its signal is -inf"),
    "one for all": (dict(signal=lambda p, y: 0.0), r"signal gives an array of shape \(\)"),
    "raises": (dict(signal=lambda p, y: 1 / 0), "signal of what the target predicts raised ZeroDivisionError"),
    "nothing": (dict(predict=3), "is int, which predicts nothing"),
    "population": (dict(population=(X, (Y > 100).astype(int))), "population has no use"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case):
    changed, message = BAD[case]
    given = dict(predict=TARGET, x=X, y=Y, member=MEMBER, shadows=TREE, signal="squared_error") | changed
    with pytest.raises(InputError, match=message) as error:
        mia.audit(**given)
    assert "\n" not in str(error.value)


def test_predictions_in_another_unit_than_y_are_doubted_and_those_of_bad_models_are_not(regression):
    def of(y):
        return (y - Y.mean()) / Y.std()

    trained = np.random.default_rng(1).random((4, N)) < 0.5
    each = [DecisionTreeRegressor(max_depth=3).fit(X[own], Y[own]).predict(X) for own in trained]
    shadows, some = {"shadows": np.stack(each), "shadow_member": trained}, dict(attacks="loss", signal="squared_error")
    scaled = {**shadows, "shadows": of(shadows["shadows"])}
    for member in (MEMBER, None):
        with pytest.warns(AnswersWarning, match=r"errors are .* times those of one constant .* unit than y"):
            mia.audit(of(TARGET.predict(X)), X, Y, member, shadows=scaled, **some)
    for wrong in (TARGET.predict(X), np.full(N, Y.mean()), Y[np.random.default_rng(2).permutation(N)] / 2 + 76):
        found = numbers.of_units(-((wrong - Y) ** 2), Y, numbers.SIGNALS["squared_error"], MEMBER)
        assert found == ()
    assert regression[0].results["doubts"] == []


def test_what_is_to_be_predicted_must_be_a_number():
    y = Y.copy()
    y[5] = np.nan
    with pytest.raises(InputError, match=r"^y\[5\] is nan, no finite number: leave that record out of x, y and member"):
        mia.audit(TARGET, X, y, MEMBER, shadows=TREE, signal="squared_error", **FEW)


def test_predictions_of_another_shape_than_y_are_refused_in_a_whole_sentence():
    """ "and y has (442,): as many" was all that was said."""
    mean, std = TARGET.predict(X), np.full(len(X), 0.3)
    given = dict(shadows=TREE, signal="squared_error", **FEW)
    for pair, move in (((mean, std), r"p\[0\]"), (np.stack([mean, std], 1), r"p\[\.\.\., 0\]")):
        with pytest.raises(
            InputError, match=rf"as many numbers are needed as y has; .*return_std=True.* alone, {move}$"
        ):
            mia.audit(lambda x, pair=pair: pair, X, Y, MEMBER, **given)
    with pytest.raises(InputError, match=r"as many numbers are needed as y has$"):
        mia.audit(lambda x: np.stack([mean] * 3, 1), X, Y, MEMBER, **given)
