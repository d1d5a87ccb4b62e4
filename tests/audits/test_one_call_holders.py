"""What holds records and labels together, given as the x of one call: a line says how it is taken apart."""

import types

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

import mia_jax as mia
from mia_jax.types import InputError

N = 40
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
Y, MEMBER = np.arange(N) % 2, np.arange(N) < N // 2
P = np.full((N, 2), 0.5)


class Pairs:
    """A data set of PyTorch's kind."""

    def __len__(self):
        return N

    def __getitem__(self, k):
        return X[k], int(Y[k])


class TensorDataset(Pairs):
    tensors = (X, Y)


class DataLoader:
    dataset, batch_sampler, collate_fn = Pairs(), None, None


class HuggingFace:
    column_names, shape = ["a", "label"], (N, 2)

    def to_pandas(self):
        raise NotImplementedError


HELD = {
    "pairs": (Pairs(), r"mia_jax.records\(dataset\) takes it apart: give records.x and records.y"),
    "a list of pairs": ([*zip(X, Y, strict=True)], r"mia_jax.records\(dataset\)"),
    "TensorDataset": (TensorDataset(), "x, y = dataset.tensors takes it apart"),
    "DataLoader": (DataLoader(), r"mia_jax.records\(loader.dataset\)"),
    "Hugging Face": (HuggingFace(), r"x = data.to_pandas\(\) is one, and y = x.pop\('label'\)"),
    "splits": ({"train": HuggingFace()}, r"data\['train'\].to_pandas\(\)"),
    "a dict": ({"a": X[:, 0], "label": Y}, r"pandas.DataFrame\(data\)"),
    "Records": (mia.Records(X, Y), "give its .x and .y"),
    "records and schema": (mia.records(X, Y, notify=lambda line: None), "give records.x and records.y"),
    "a path": ("x.npy", r"np.load\(path\)"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_line_says_how_they_are_taken_apart(name):
    """A TypeError of audit() without y; of the user's model, or "rows of different lengths", with it."""
    x, told = HELD[name]
    for given in ({"member": MEMBER}, {"y": Y, "member": MEMBER}, {"y": X[:, 0], "signal": "squared_error"}):
        with pytest.raises(InputError, match=told):
            mia.audit(lambda x: P, x, **given)


def test_the_real_data_sets_of_pytorch_and_hugging_face():
    torch, datasets = pytest.importorskip("torch"), pytest.importorskip("datasets")
    tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    with pytest.raises(InputError, match=r"x, y = dataset.tensors"):
        mia.audit(lambda x: P, tensors, member=MEMBER)
    x, y = tensors.tensors
    assert mia.audit(lambda x: P, x, y, MEMBER, attacks="loss")["loss"].auc.value == 0.5
    with pytest.raises(InputError, match=r"mia_jax.records\(loader.dataset\)"):
        mia.audit(lambda x: P, torch.utils.data.DataLoader(tensors), member=MEMBER)
    with pytest.raises(InputError, match=r"data.to_pandas"):
        mia.audit(lambda x: P, datasets.Dataset.from_dict({"a": X[:, 0], "label": Y}), Y, MEMBER)


WRAPPED = {  # what a model returns that has its answers inside
    "a dict": (lambda x: {"logits": P}, "returns a dict of logits: return its ..logits"),
    "an output": (lambda x: types.SimpleNamespace(logits=P), r"returns SimpleNamespace: return its .logits"),
    "an ONNX session's parts": (
        lambda x: [np.argmax(P, axis=1), [dict(enumerate(row)) for row in P]],
        r"as the session of an ONNX model does, of which p\[1\] has the scores, .*pandas.DataFrame\(p\[1\]\)",
    ),
    "a tuple": (lambda x: (P, None), "returns a tuple of 2: return the part that has its answers"),
    "nothing": (lambda x: None, "returns None: .*is there a return at its end"),
    "text": (lambda x: np.array(["a", "b"])[Y], "or its labels as numbers of classes"),
    "labels as floats": (lambda x: np.arange(N) % 3 * 1.0, r"of labels p.astype\(int\)"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_answers_inside_of_something_are_named(name):
    model, told = WRAPPED[name]
    with pytest.raises(InputError, match=told):
        mia.audit(model, X, Y, MEMBER, attacks="loss")


def test_a_fit_without_a_seed_is_refused_before_any_work():
    def fit(x, y):
        raise AssertionError("nothing is trained")

    told = r"fit is called as fit\(x, y, seed=0\).*write def fit\(x, y, \*, seed\)"
    with pytest.raises(InputError, match=told):
        mia.audit(lambda x: P, X, Y, MEMBER, shadows=fit)
    with pytest.raises(InputError, match=told):
        mia.audit(lambda x: x[:, 0], X, X[:, 0], MEMBER, shadows=fit, signal="squared_error")


TRUTHS = {  # who trained the target, in other words, and what to give
    "yes and no": (np.where(MEMBER, "yes", "no"), 'give member == "yes"'),
    "text of booleans": (np.where(MEMBER, "True", "False"), 'give member == "True"'),
    "-1 and 1": (np.where(MEMBER, 1, -1), "give member == 1"),
    "codes": (np.where(MEMBER, 2, 1), "has 1 \\d+ times and 2 \\d+ times: give member == 1 or member == 2, whichever"),
    "few draws": (np.arange(N) % 3, "member == 2, whichever .*; where its numbers count .* give member > 0$"),
    "draws": (np.arange(N) % 6, r"where its numbers count how often .* \(a bootstrap\), give member > 0$"),
    "draws as floats": (np.arange(N) % 6 * 1.0, "give member > 0$"),
    "unknown words": (np.where(MEMBER, "a", "b"), 'has "a" .*give member == "a" or member == "b", whichever means'),
    "three parts": (np.array(["val", "train", "test"])[np.arange(N) % 3], '"val" .*times: where "train" .*== "train"'),
    "objects": (np.where(MEMBER, "in", "out").astype(object), r'give member.astype\(str\) == "in"'),
    "a list": (np.where(MEMBER, "train", "test").tolist(), r'give np.array\(member\) == "train"'),
    "missing": (np.where(MEMBER, np.nan, 0.0), r"are missing \(NaN\)"),
    "a column": (MEMBER[:, None], r"give member.squeeze\(\)"),
    "rows": (np.flatnonzero(MEMBER), r"np.isin\(np.arange\(n\), member\)"),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_members_in_other_words_are_told_how_they_are_given(name):
    """-1 and 1 were taken for the numbers of records, and "False" for the word of a member."""
    member, told = TRUTHS[name]
    with pytest.raises(InputError, match=told):
        mia.audit(lambda x: P, X, Y, member, attacks="loss")


def test_shadows_of_which_one_lacks_a_class_or_is_alone():
    given = dict(labels=Y, target=np.full((N, 3), 1 / 3), shadow_member=np.stack([MEMBER, ~MEMBER]))
    with pytest.raises(InputError, match="who never saw a class answers 0 for it: give a column for each"):
        mia.infer("loss", **given, shadows=np.full((2, N, 2), 0.5))
    with pytest.raises(InputError, match=r"give shadows\[None\] and shadow_member\[None\]"):
        mia.infer("loss", **given, shadows=np.full((N, 3), 1 / 3))
    with pytest.raises(InputError, match="where 1 stands for true, give shadow_member == 1"):
        mia.infer(
            "loss", **given | dict(shadow_member=np.stack([MEMBER, ~MEMBER]) * 2 - 1), shadows=np.full((2, N, 3), 1 / 3)
        )


def test_labels_that_are_missing():
    with pytest.raises(InputError, match="y is missing, the classes of the records"):
        mia.audit(lambda x: P, X, member=MEMBER)
    frame = pytest.importorskip("pandas").DataFrame({"a": X[:, 0], "Label": Y})
    with pytest.raises(InputError, match=r"y = x\['Label'\], and x without that column"):
        mia.audit(lambda x: P, frame, member=MEMBER)


def test_a_series_of_texts_is_records():
    """An IndexError, before."""
    texts = pytest.importorskip("pandas").Series(["a b", "c"] * (N // 2))
    assert mia.audit(lambda x: P, texts, Y, MEMBER, attacks="loss")["loss"].auc.value == 0.5


@pytest.mark.parametrize("held", [list, np.array, lambda texts: np.array(texts, object)], ids=["list", "str", "object"])
def test_a_pipeline_that_begins_with_a_vectorizer_trains_shadows_on_texts(held):
    """They came to it as [n, 1]: 'numpy.ndarray' object has no attribute 'lower'."""
    rng = np.random.default_rng(0)
    texts = [
        f"film {k} was {'good' if c else 'bad'}" for k, c in zip(rng.integers(30, size=N).tolist(), Y, strict=True)
    ]
    model = make_pipeline(TfidfVectorizer(), DecisionTreeClassifier(random_state=0))
    target = clone(model).fit([text for text, own in zip(texts, MEMBER, strict=True) if own], Y[MEMBER]).predict_proba
    series = pytest.importorskip("pandas").Series(texts)
    right, given = (
        mia.audit(target, x, Y, MEMBER, shadows=model, num_shadows=4, attacks="loss")["loss"]
        for x in (series, held(texts))
    )
    assert given.auc.value == right.auc.value


def test_the_move_for_a_list_of_words_works():
    member = np.where(MEMBER, "train", "test").tolist()
    right = mia.audit(lambda x: P, X, Y, MEMBER, attacks="loss")["loss"].auc.value
    assert mia.audit(lambda x: P, X, Y, np.array(member) == "train", attacks="loss")["loss"].auc.value == right


def test_what_was_made_of_labels_and_answers_is_said_by_the_result():
    """It stood in the report alone."""
    logits = np.stack([-X[:, 0] * 3, X[:, 0] * 3 + 1], 1)
    found = mia.audit(lambda x: logits, X, np.array(["no", "yes"])[Y], MEMBER, attacks="loss")
    for told in ("no is 0, yes is 1. The answers", "answers are logits"):
        assert told in " ".join(found.notes) and told in " ".join(repr(found).split()) and told in found._repr_html_()


def test_records_are_shown_by_types_and_shapes():
    assert repr(mia.Records(X, Y)) == "Records(x=float32[40, 3], y=int64[40])"


def test_models_and_records_in_each_others_place_are_refused():
    with pytest.raises(InputError, match="x is a function and no records: the model comes first"):
        mia.audit(X, lambda x: P, Y, MEMBER)
    with pytest.raises(InputError, match="x is a RandomForestClassifier and no records: the model comes first"):
        mia.audit(X, RandomForestClassifier(3).fit(X, Y), Y, MEMBER)


@pytest.mark.parametrize("names", [np.arange(3), np.array(["cat", "dog", "eel"]), np.array(["a", "b", "c"], object)])
def test_records_of_classes_that_an_estimator_never_saw_are_to_be_left_out(names):
    y = names[np.arange(N) % 3]
    seen = np.isin(y, names[:2])
    forest = RandomForestClassifier(3).fit(X[seen], y[seen])
    for model in (forest, forest.predict_proba):
        with pytest.raises(InputError, match=rf"trained on 2, without {names[2]}: .*np.isin\(y, model.classes_\)"):
            mia.audit(model, X, y, MEMBER)
    assert mia.audit(forest, X[seen], y[seen], MEMBER[seen], attacks="loss")["loss"].auc


def test_boosters_of_xgboost_are_told_the_function_of_records():
    """They were told model.predict_proba, which they do not have."""
    xgboost = pytest.importorskip("xgboost")
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 2)
    with pytest.raises(
        InputError, match=r"a Booster of XGBoost: give lambda x: booster.predict\(xgboost.DMatrix\(x\)\)"
    ):
        mia.audit(booster, X, Y, MEMBER)
    assert mia.audit(lambda x: booster.predict(xgboost.DMatrix(x)), X, Y, MEMBER, attacks="loss")["loss"].auc


def test_boosters_of_lightgbm_are_told_their_method():
    lightgbm = pytest.importorskip("lightgbm")
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, Y), 2)
    with pytest.raises(InputError, match=r"a Booster of LightGBM: give booster\.predict$"):
        mia.audit(booster, X, Y, MEMBER)
    assert mia.audit(booster.predict, X, Y, MEMBER, attacks="loss")["loss"].auc


def test_a_model_of_several_outputs_is_audited_one_at_a_time():
    """It was NumPy's ValueError: its answers, and its classes, are lists of arrays of other shapes."""
    forest = RandomForestClassifier(3).fit(X, np.stack([Y, Y > 0], axis=1))
    with pytest.raises(InputError, match=r"the model has 2 outputs: .*predict_proba\(x\)\[0\]"):
        mia.audit(forest.predict_proba, X, Y, MEMBER)
    for answers in (forest.predict_proba(X), lambda x: forest.predict_proba(x)):
        with pytest.raises(InputError, match=r"a list of 2 arrays \[n, c\], .*predict_proba\(x\)\[0\]"):
            mia.audit(answers, X, Y, MEMBER)
