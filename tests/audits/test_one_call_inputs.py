"""What ``mia_jax.audit`` takes: whatever answers, tables and labels as people have them; all else is one line."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from test_one_call import MEMBER, RNG, TARGET, C, N, X, Y, fit

import mia_jax as mia
from mia_jax.statistics import metrics
from mia_jax.targets import black_box
from mia_jax.types import Answers, InputError

# --- what answers ----------------------------------------------------------------------------------------------------


def double(x):
    """As a network of PyTorch in float32 does."""
    if x.dtype == np.float64:
        raise RuntimeError("mat1 and mat2 must have the same dtype, but got Double and Float")
    return TARGET(x)


class Estimator:
    def predict_proba(self, x):
        return TARGET(x)


class Tensor:
    """What PyTorch gives, as far as it matters."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, "torch.float32"

    def detach(self):
        return self

    def cpu(self):
        return self.values


WAYS = {
    "estimator": Estimator(),
    "answers": TARGET(X),
    "tensor": lambda x: Tensor(TARGET(x)),
    "list": lambda x: TARGET(x).tolist(),
    "float16": lambda x: TARGET(x).astype(np.float16),
    "target": black_box.Target(lambda x: np.log(TARGET(x)).astype(np.float32), Answers(C), traced=False),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_answers_is_audited(way):
    found = mia.audit(WAYS[way], X, Y, MEMBER, attacks="loss")
    loss = -np.log(TARGET(X)[np.arange(N), Y])
    assert found["loss"].auc.value == pytest.approx(metrics.auc(-loss, MEMBER).value, abs=2e-3)


def test_one_number_is_the_probability_of_class_1_and_that_is_said():
    said, p = [], np.clip(RNG.random(N), 0.01, 0.99)
    found = mia.audit(lambda x: p[:, None], X, np.arange(N) % 2, MEMBER, attacks="loss", notify=said.append)
    both = mia.audit(lambda x: np.stack([1 - p, p], 1), X, np.arange(N) % 2, MEMBER, attacks="loss")
    np.testing.assert_array_equal(found["loss"].scores, both["loss"].scores)
    assert any("probability of class 1" in line for line in said)


def test_labels_alone_are_answers():
    found = mia.audit(lambda x: TARGET(x).argmax(axis=1), X, Y, MEMBER)
    assert found.results["target"]["answers"]["kind"] == "labels"


def test_a_data_frame_reaches_model_and_shadows_as_it_is():
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pandas.DataFrame({"age": X[:, 0], "town": np.array(["Ulm", "Bonn"])[Y % 2]})
    frame.loc[3, "age"] = np.nan
    columns = make_column_transformer((SimpleImputer(), ["age"]), (OneHotEncoder(), ["town"]))
    pipeline = make_pipeline(columns, LogisticRegression())
    pipeline.fit(frame[MEMBER], Y[MEMBER])
    found = mia.audit(pipeline, frame, Y, MEMBER, shadows=pipeline, num_shadows=4, attacks="loss,rmia")
    assert found.results["shadows"]["trainer"] == "Pipeline of sklearn" and found["rmia"].auc.value is not None


def test_members_of_a_left_join_are_no_type_error():
    pandas = pytest.importorskip("pandas")
    told = pandas.array(np.where(MEMBER, True, None), dtype="boolean")
    with pytest.raises(InputError, match=r"120 of its 240 values are missing \(NaN\) and all others true"):
        mia.audit(TARGET, X, Y, told, attacks="loss")
    assert mia.audit(TARGET, X, Y, pandas.notna(told), attacks="loss")["loss"].auc.value is not None


BAD = {
    "votes": (dict(predict=lambda x: np.arange(3 * N).reshape(N, 3)), "record 0: the probabilities sum to 3, not to 1"),
    "percentages": (dict(predict=lambda x: 100 * TARGET(x)), "look like percentages .* / 100"),
    "rows": (dict(predict=lambda x: TARGET(x)[:9]), r"shape \(9, 3\) for 240 records"),
    "text": (dict(predict=lambda x: np.array(["a"] * len(x))), "no numbers"),
    "objects": (dict(predict=lambda x: TARGET(x).astype(object)), r"returns Python objects: .*p.astype\(float\)"),
    "a row": (dict(predict=lambda x: np.where(np.arange(N)[:, None] == 7, 0, TARGET(x))), "record 7: .* abstains"),
    "one column": (dict(predict=lambda x: X[:, 0]), "the answers have 2 columns"),
    "regression": (
        dict(predict=lambda x: 34.9 + np.arange(len(x)), y=np.arange(N) % 2),
        "no probabilities of class 1, .* of a regression give `signal=squared_error`",
    ),
    "outputs": (dict(predict=lambda x: [TARGET(x)[:, :2]] * 3), r"one-hot, of one task.*np.stack\(\[p\[:, 1\]"),
    "gaps in member": (
        dict(member=np.where(MEMBER, 1.0, np.nan)),
        r"120 of its 240 values are missing \(NaN\) and all others true: .* pandas.notna\(member\)",
    ),
    "nothing": (dict(predict=3), "is int, which answers nothing"),
    "blanks": (
        dict(predict=DecisionTreeClassifier().fit(X, np.array(["no", "no ", "yes"])[Y % 3]), y=Y % 2),
        "the model knows 'no' and 'no ' as two classes, which are one as text",
    ),
    "one number, always 1": (
        dict(predict=lambda x: np.ones((len(x), 1), np.float32), y=np.arange(N) % 2),
        "p is 1 for every record, as a softmax over one number is",
    ),
    "too large": (
        dict(
            predict=DecisionTreeClassifier().fit(X, Y).predict_proba, x=np.where(np.arange(N)[:, None] == 3, np.inf, X)
        ),
        r"a value too large for dtype\('float32'\)\.$",
    ),
    "decisions": (dict(predict=LinearSVC()), r"or its decisions as logits, model\.decision_function"),
    "another type": (
        dict(predict=double),
        r'must have the same dtype.*; give x\.astype\("float32"\), or let model and records',
    ),
    "a class": (dict(predict=Estimator), "is the class Estimator"),
    "raises": (dict(predict=lambda x: 1 / 0), "raised ZeroDivisionError"),
    "from 1": (dict(y=Y + 1), "the largest is 3, .*; they count from 1, so give y - 1"),
    "a class that no record has": (
        dict(y=np.array([*"ac"])[Y % 2]),
        r"name 2 classes \(a, c\), and the answers have 3",
    ),
    "few classes": (
        dict(predict=lambda x: np.full((len(x), 2), 0.5)),
        "the largest is 2, and the answers have 2 columns: .* leave out records of classes that",
    ),
    "fractions": (dict(y=Y + 0.5), "not whole numbers; number the classes .*np.unique"),
    "one-hot": (dict(y=np.ones((N, 3))), "y cannot be used: .*record 0 has 3 labels at once"),
    "no label": (dict(y=np.where(MEMBER, np.nan, Y)), "y cannot be used: there is no label of record . and 119 others"),
    "sum": (
        dict(predict=lambda x: TARGET(x) * np.where(np.arange(N) == 7, 0.9, 1)[:, None]),
        r"record 7: .* sum to 0.9, .* return p / p.sum\(axis=-1",
    ),
    "sparse": (dict(x=scipy.sparse.csr_matrix(X)), r"x is a sparse matrix.*x.toarray\(\)"),
    "ragged": (dict(x=[[1.0, 2.0], [3.0]] * 120), "rows of different lengths"),
    "member in words": (dict(member=np.where(MEMBER, "in", "out")), 'give member == "in"'),
    "member by number": (dict(member=np.flatnonzero(MEMBER)), r"np.isin\(np.arange\(n\), member\)"),
    "fewer labels": (dict(y=Y[:-1], member=None), "240 records and y 239 labels"),
    "one side": (dict(member=np.ones(N, bool)), "True everywhere"),
    "member": (dict(member=MEMBER[:-1]), r"member is bool \[240\]"),
    "lira alone": (dict(attacks="lira"), "lira needs shadow models: give shadows=fit"),
    "unknown": (dict(attacks="lyra"), "no attack 'lyra'"),
    "population": (dict(population=X), "population is"),
    "shadows": (dict(shadows=3), "trains nothing"),
    "odd": (dict(shadows=fit, num_shadows=5), "use 6 models instead of 5"),
    "fit": (dict(shadows=lambda x, y: None), "unexpected keyword argument 'seed'"),
    "shadows of none": (dict(shadows=lambda x, y, *, seed: None), "returns is NoneType, which answers nothing"),
    "no shadow": (dict(shadows=dict(shadow_member=MEMBER[None])), "shadows is missing"),
    "shape": (dict(shadows=(TARGET(X), MEMBER)), "they have shape"),
    "setting": (dict(num_epoch=3), "no setting 'num_epoch'; did you mean num_epochs"),
    "network": (dict(num_epochs=3), "our own networks"),
    "platform": (dict(shadows="sklearm:x"), "trainer=sklearm:x"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case):
    changed, message = BAD[case]
    given = dict(predict=TARGET, x=X, y=Y, member=MEMBER) | changed
    with pytest.raises(InputError, match=message) as error:
        mia.audit(**given)
    assert "\n" not in str(error.value)


# --- tables and labels as people have them ---------------------------------------------------------------------------


def mixed_frame(pandas):
    frame = pandas.DataFrame({"age": X[:, 0], "town": np.array(["Ulm", "Bonn", "Kiel"])[Y]})
    frame.loc[3, "age"], frame.loc[5, "town"] = np.nan, None
    return frame


@pytest.mark.parametrize("words", [np.array(["no", "maybe", "yes"]), np.array([3, 5, 9])])
def test_labels_are_those_that_the_model_knows(words):
    """Text and numbers as ``model.classes_`` has them; shadows are taught 0, 1, ..."""
    from sklearn.tree import DecisionTreeClassifier

    y = words[Y]
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X[MEMBER], y[MEMBER])
    said = []
    given = dict(shadows=DecisionTreeClassifier(max_depth=4), num_shadows=4, attacks="loss,rmia")
    found = mia.audit(tree.predict_proba, X, y, MEMBER, notify=said.append, **given)
    plain = mia.audit(tree.predict_proba, X, np.searchsorted(np.sort(words), y), MEMBER, **given)
    np.testing.assert_array_equal(found["rmia"].scores, plain["rmia"].scores)
    [note] = found.results["dataset"]["notes"]
    assert note in said and f"{np.sort(words)[0]} is 0" in note
    with pytest.raises(InputError, match="record 0 has the label 'other', which is not among the classes"):
        mia.audit(tree.predict_proba, X, np.array(["other"] * N), MEMBER, attacks="loss")


def test_one_hot_labels_and_labels_in_words_are_classes():
    plain = mia.audit(TARGET, X, Y, MEMBER, attacks="loss")["loss"].scores
    for y in (np.eye(3)[Y], np.array(["a", "b", "c"])[Y]):
        found = mia.audit(TARGET, X, y, MEMBER, attacks="loss")
        np.testing.assert_array_equal(found["loss"].scores, plain)
        assert len(found.results["dataset"]["notes"]) == 1


@pytest.mark.filterwarnings("ignore:The ")  # answers of shadows are in doubt after so few epochs
@pytest.mark.integration
def test_our_own_networks_train_on_a_data_frame():
    frame = mixed_frame(pytest.importorskip("pandas"))
    given = dict(shadows="nn", num_shadows=2, num_epochs=1, attacks="loss", population=(frame[:9], Y[:9]))
    found = mia.audit(lambda frame: TARGET(X[frame.index]), frame, Y, MEMBER, **given)
    assert found["loss"].auc.value is not None


@pytest.mark.integration
def test_a_data_frame_of_polars_reaches_a_pipeline_as_it_is():
    polars = pytest.importorskip("polars")
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = polars.DataFrame({"age": [None, *X[1:, 0]], "town": np.array(["Ulm", "Bonn"])[np.arange(N) // 3 % 2]})
    steps = make_column_transformer((SimpleImputer(), ["age"]), (OneHotEncoder(), ["town"]))
    pipeline = make_pipeline(steps, RandomForestClassifier(10))
    y = np.array(["no", "yes"])[Y % 2]
    pipeline.fit(frame.filter(polars.Series(MEMBER)), y[MEMBER])
    found = mia.audit(pipeline.predict_proba, frame, y, MEMBER, shadows=pipeline, num_shadows=4, attacks="loss,rmia")
    assert found["loss"].auc.value > 0.5


def test_labels_and_members_in_the_order_of_another_index():
    pandas = pytest.importorskip("pandas")
    frame, y, member = pandas.DataFrame(X), pandas.Series(Y), pandas.Series(MEMBER)
    with pytest.raises(InputError, match=r"y\.loc\[x\.index\]"):
        mia.audit(TARGET, frame, y[::-1], member)
    with pytest.raises(InputError, match=r"member\.loc\[x\.index\]"):
        mia.audit(TARGET, frame, y, member[::-1])
    with pytest.raises(InputError, match=r"y and member are paired by their order.*member\.loc\[y\.index\]"):
        mia.audit(TARGET, X, y, member[::-1])  # of an array the labels' index tells; members were paired by place


def test_what_a_signal_is_computed_from_is_numbers():
    """Numbers of pandas' and NumPy's objects are such; a digest of objects would end in a traceback."""
    given = dict(
        shadows=(np.stack([X[:, 2], X[:, 3]]), np.stack([Y % 2 == 0, Y % 2 == 1])),
        attacks="loss",
        signal="squared_error",
    )
    plain, objects = (mia.audit(X[:, 1], X, y, MEMBER, **given)["loss"].auc for y in (X[:, 0], X[:, 0].astype(object)))
    assert str(plain) == str(objects)
    with pytest.raises(InputError, match=r"y holds 'cat', .*y.astype\(float\)"):
        mia.audit(X[:, 1], X, np.array(["cat"] * N, object), MEMBER, **given)


def test_settings_of_another_type_are_read_or_refused():
    found = mia.audit(TARGET, X, Y, MEMBER, attacks=["loss", "entropy"], name=3)
    assert {*found.results["attacks"]} >= {"loss", "entropy"}
    for setting in ({"seed": "1"}, {"num_shadows": "4"}):
        with pytest.raises(InputError, match="is text, and a number is needed: leave the quotation marks out"):
            mia.audit(TARGET, X, Y, MEMBER, shadows=fit, **setting)


@pytest.mark.filterwarnings("ignore::mia_jax.audits.deployed.infer.AnswersWarning")  # the answers are the target's
def test_one_saved_shadow_has_no_axis_of_its_own():
    """Turned, as was proposed, it would be read as one number for each record of as many shadows as classes."""
    p, trained = TARGET(X), RNG.random(N) < 0.5
    with pytest.raises(InputError, match=r"of one shadow give shadows\[None\] and shadow_member\[None\]"):
        mia.audit(p, X, Y, MEMBER, shadows=(p, trained))
    mia.audit(p, X, Y, MEMBER, shadows=(p[None], trained[None]), attacks="rmia")
