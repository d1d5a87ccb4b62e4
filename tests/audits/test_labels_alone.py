"""Saved answers that are labels alone, with shadows that answer so: every entrance reads them, and alike."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.svm import SVC

import mia_jax as mia
from mia_jax.audits import pipeline
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.audits.deployed.records import load_predictions
from mia_jax.types import InputError

N, S = 200, 6
NAMES = np.array(["cat", "bird", "ant"])


def test_few_labels_in_bytes_stay_labels():
    y = (np.arange(200) % 9).astype(np.int8)
    found = mia.audit(y, np.zeros((200, 1)), y, np.arange(200) < 100, attacks="loss")
    assert found.results["target"]["answers"]["kind"] == "labels"
    with pytest.raises(InputError, match="returns the label -1"):
        mia.audit((y - 1).astype(np.int8), np.zeros((200, 1)), y, np.arange(200) < 100, attacks="loss")


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_bytes_of_a_quantized_model_are_no_labels(kind):
    """One output of two classes was read as labels of 256, attacks found nothing, and the gate held."""
    p = (np.round(255 * np.random.default_rng(0).random((3, 200))) - 128 * (kind is np.int8)).astype(kind)
    y, trained = np.arange(200) % 2, np.random.default_rng(1).random((3, 200)) < 0.5
    for call in (
        lambda: mia.infer("loss", labels=y, target=p[0], shadows=p[1:], shadow_member=trained[1:]),
        lambda: mia.audit(p[2], np.zeros((200, 1)), y, trained[0], attacks="loss"),
    ):
        with pytest.raises(InputError, match=r"bytes .* no labels: a quantized probability of class 1\? save .*/ 255"):
            call()


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    y, member, trained = rng.integers(0, 3, N), rng.random(N) < 0.5, rng.random((S, N)) < 0.5

    def answer(own):  # right on 95% of its members, on 60% of others
        return np.where(rng.random(N) < np.where(own, 0.95, 0.6), y, (y + rng.integers(1, 3, N)) % 3)

    return y, member, trained, answer(member), np.stack([answer(own) for own in trained])


def audited(answer, y, world, alone=False):
    _, member, trained, own, each = world
    shadows = None if alone else {"shadows": answer(each), "shadow_member": trained}
    return mia.audit(answer(own), np.zeros((N, 1)), y, member, shadows=shadows, attacks="loss")["loss"].auc


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda k: k, False),
        pytest.param(lambda k: k[..., None], False, marks=pytest.mark.integration),
        pytest.param(lambda k: k.tolist(), False, marks=pytest.mark.integration),
        pytest.param(lambda k: NAMES[k], True, marks=pytest.mark.integration),
        (lambda k: NAMES[k].astype(object), True),
    ],
    ids=["integers", "a column", "lists", "text", "objects"],
)
def test_labels_are_read_alike_at_every_entrance(answer, text, world, tmp_path):
    y, member, trained, own, each = world
    labels = NAMES[y] if text else y
    exact = 0.5 + ((own == y)[member].mean() - (own == y)[~member].mean()) / 2
    for alone in (True, False):
        assert audited(answer, labels, world, alone).value == pytest.approx(exact, abs=1e-9)
    plan = mia.plan(num_records=N, num_models=S)
    models = {k: answer(one) for k, one in enumerate(each)}
    with pytest.warns(UserWarning, match="answers are labels, and are read as such"):
        gathered = mia.collect(plan, models, labels=labels, target=answer(own))
    np.savez(
        tmp_path / "preds.npz",
        **{**gathered, "labels": labels, "shadow_member": trained, "member": member}
        if gathered["target"].dtype != object
        else {"labels": y, "target": own, "shadows": each, "shadow_member": trained, "member": member},
    )
    config = mia.DeployedConfig(predictions=str(tmp_path / "preds.npz"), attacks="loss", workdir=str(tmp_path / "run"))
    pipeline.run(config, page=False)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["attacks"]["loss"]["auc"]["value"] == pytest.approx(exact, abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnswersWarning)
        scores = mia.infer("loss", labels=labels, target=answer(own), shadows=answer(each), shadow_member=trained)
    assert mia.auc(scores, member).value == pytest.approx(exact, abs=1e-9)


def test_a_class_that_only_a_shadow_answers_is_one(world):
    y, member, trained, own, each = world
    each = each.copy()
    each[2, 5] = 3
    result = mia.audit(
        own, np.zeros((N, 1)), y, member, shadows={"shadows": each, "shadow_member": trained}, attacks="loss"
    )
    assert result.results["dataset"]["classes"] == 4


def test_answers_that_are_text_are_refused_with_what_makes_numbers_of_them(world):
    y, *_ = world
    with pytest.raises(InputError, match=r"shadows\[0\] has type <U\d+, numbers written as text .* save shadows\[0\]"):
        audited(lambda k: np.eye(3)[np.asarray(k)].astype(str), y, world)
    with pytest.raises(InputError, match=r"shadows\[0\] holds labels as text \(.*\): give the records' own so, too"):
        audited(lambda k: NAMES[k], y, world)
    with pytest.raises(InputError, match=r"shadows\[\d\] holds the label cow, and the records' are ant, bird, cat"):
        audited(lambda k: np.array(["cat", "cow", "ant"])[k], NAMES[y], world)


def test_columns_of_a_data_frame_are_taken_by_their_names(world):
    pandas = pytest.importorskip("pandas")
    y, member, _, own, _ = world
    p = pandas.DataFrame(np.eye(3)[own] * 0.7 + 0.1, columns=NAMES)
    frame = mia.audit(p, np.zeros((N, 1)), NAMES[y], member, attacks="loss")["loss"].auc
    order = np.argsort(NAMES)
    lists = mia.audit(p.to_numpy()[:, order].tolist(), np.zeros((N, 1)), NAMES[y], member, attacks="loss")["loss"].auc
    assert frame.value == lists.value > 0.55


def test_shadows_that_answer_labels_alone_beside_probabilities_are_a_warning():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 6))
    y, member = (x[:, 0] + rng.normal(size=N) > 0).astype(int), np.arange(N) % 2 == 0
    target = SVC().fit(x[member], y[member])
    some = dict(num_shadows=4, attacks="loss")
    with pytest.warns(AnswersWarning, match=r"shadows answer with labels alone, so the target is judged by labels"):
        mia.audit(target.decision_function, x, y, member, shadows=SVC(), **some)

    def fit(x, y, *, seed):
        return SVC(random_state=seed).fit(x, y).decision_function

    assert mia.audit(target.decision_function, x, y, member, shadows=fit, **some).results["doubts"] == []


@pytest.mark.parametrize(
    ("given", "move"),
    [
        (lambda p: {"logits": np.log(p), "loss": 1.0}, r'a dict of logits, loss: return its \["logits"\]'),
        (lambda p: SimpleNamespace(logits=np.log(p)), r"return its \.logits"),
        (lambda p: [{"a": row[0], "b": row[1], "c": row[2]} for row in p], r"pandas\.DataFrame\(p\), whose"),
    ],
)
def test_answers_inside_of_something_are_named(given, move, world):
    y, member, *_ = world
    with pytest.raises(InputError, match=move):
        mia.audit(lambda x: given(np.full((N, 3), 1 / 3)), np.zeros((N, 1)), y, member, attacks="loss")


def test_files_of_other_kinds_say_what_makes_one_that_is_read(tmp_path):
    for name, move in (
        ("preds.pt", r"torch\.load\(file, weights_only=True\)"),
        ("preds.csv", r"of a table df np\.savez\(path"),
    ):
        (tmp_path / name).write_bytes(b"PK\3\4")
        with pytest.raises(InputError, match=rf"{name} is of a kind that is not read: .*{move}"):
            load_predictions(tmp_path / name)


def test_a_table_of_answers_becomes_a_file_by_what_is_told(tmp_path):
    """Labels and members of pandas are objects in an .npz; the move was to number them, or to give the .csv again."""
    pandas = pytest.importorskip("pandas")
    p = np.random.default_rng(0).dirichlet(np.ones(3), 60)
    df = pandas.DataFrame(p, columns=["bird", "cat", "dog"])
    df["label"], df["member"] = df.columns.to_numpy()[p.argmax(axis=1)], np.where(np.arange(60) % 2, "yes", "no")
    answers = df[["bird", "cat", "dog"]].to_numpy()
    objects = np.array(df["label"], dtype=object)
    np.savez(tmp_path / "preds.npz", labels=objects, target=answers, member=df["member"] == "yes")
    with pytest.raises(InputError, match=r"'labels' holds text as Python objects: write np.array\(labels, dtype=str\)"):
        load_predictions(tmp_path / "preds.npz", alone=True)
    given = dict(labels=np.array(df["label"], dtype=str), target=answers, member=df["member"] == "yes")
    np.savez(tmp_path / "preds.npz", **given)
    found = load_predictions(tmp_path / "preds.npz", alone=True)
    assert found.labels.tolist() == p.argmax(axis=1).tolist() and found.member.sum() == 30
