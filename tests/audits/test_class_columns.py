"""Answers in data frames whose columns have names: the right order at every entrance, or a line with the next move."""

import re
import warnings

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.audits.deployed.infer import AnswersWarning
from mia_jax.types import InputError

pandas = pytest.importorskip("pandas")

N, S = 60, 6
NAMES = np.array(["cat", "dog", "eel"])


@pytest.fixture(scope="module")
def world():
    """Labels, who trained the target and shadows, and what these answer: [n, c] and [S, n, c]."""
    rng = np.random.default_rng(0)
    y, trained = rng.integers(3, size=N), rng.random((S + 1, N)) < 0.5
    logits = rng.normal(size=(S + 1, N, 3)) + 2 * np.eye(3)[y] * (1 + trained[..., None])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return y, trained[0], trained[1:], p[0], p[1:]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnswersWarning)
        yield


def frame(p, prefix="", order=(2, 0, 1), names=NAMES):
    """A data frame whose columns are called as the classes, in another order."""
    return pandas.DataFrame(np.asarray(p)[:, list(order)], columns=[f"{prefix}{names[k]}" for k in order])


def inferred(world, y, target, shadows, **more):
    return mia.infer("lira", labels=y, target=target, shadows=shadows, shadow_member=world[2], **more)


@pytest.mark.parametrize("prefix", ["", "p_"])
def test_infer_reads_the_names_of_all_frames(world, prefix):
    """The order was taken for that of the classes: another AUC, silently."""
    y, _, _, p, q = world
    right = inferred(world, NAMES[y], p, q)
    read = inferred(world, NAMES[y], frame(p, prefix), [frame(one, prefix) for one in q])
    np.testing.assert_array_equal(read, right)
    mixed = [frame(q[0], prefix, (1, 2, 0)), *(frame(one, prefix) for one in q[1:])]
    np.testing.assert_array_equal(inferred(world, NAMES[y], p, mixed), right)


def test_infer_reads_numbered_columns_and_those_of_labels_that_are_numbers(world):
    y, _, _, p, q = world
    right = inferred(world, y, p, q)
    numbers = np.arange(3)
    read = inferred(world, y, frame(p, names=numbers), [frame(one, names=numbers) for one in q])
    np.testing.assert_array_equal(read, right)
    own = [frame(one, order=(1, 0, 2)) for one in q]  # labels have no names: the target's columns tell the order
    np.testing.assert_array_equal(inferred(world, y, frame(p, order=(0, 1, 2)), own), right)


def test_a_population_in_frames_is_read_by_name(world):
    y, _, _, p, q = world
    given = [NAMES[y[:20]], frame(p[:20]), [frame(one[:20]) for one in q]]
    plain = {"labels": NAMES[y[:20]], "target": p[:20], "shadows": q[:, :20]}
    rest = NAMES[y[20:]], p[20:], q[:, 20:]
    own = dict(zip(("labels", "target", "shadows"), rest, strict=True), shadow_member=world[2][:, 20:])
    right = mia.infer("rmia", **own, population=plain)
    for population in (tuple(given), dict(zip(plain, given, strict=True))):
        np.testing.assert_array_equal(mia.infer("rmia", **own, population=population), right)


def test_audit_reads_the_names_of_saved_shadows(world):
    y, member, trained, p, q = world
    x = np.zeros((N, 1))

    def auc(target, shadows):
        saved = {"shadows": shadows, "shadow_member": trained}
        return mia.audit(target, x, NAMES[y], member, shadows=saved, attacks="lira")["lira"].auc.value

    right = auc(p, q)
    assert auc(frame(p), [frame(one) for one in q]) == auc(lambda x: frame(p), [frame(one) for one in q]) == right


def test_audit_orders_a_function_and_saved_shadows_alike_where_labels_are_numbers(world):
    y, member, trained, p, q = world
    own = (0, 1, 2)
    saved = {"shadows": [frame(one, order=own) for one in q], "shadow_member": trained}
    x = np.zeros((N, 1))
    right = mia.audit(p, x, y, member, shadows={**saved, "shadows": q}, attacks="lira")["lira"].auc.value
    for target in (lambda x: frame(p), frame(p, order=own), lambda x: p):
        assert mia.audit(target, x, y, member, shadows=saved, attacks="lira")["lira"].auc.value == right


def test_audit_reads_the_names_of_what_trained_shadows_answer(world):
    y, member, _, p, _ = world
    x = np.random.default_rng(1).normal(size=(N, 3))

    def fit(of):
        def trained(x, y, *, seed):
            means = np.stack([x[y == k].mean(axis=0) for k in range(3)])

            def predict(x):
                near = np.exp(-((x[:, None] - means) ** 2).sum(-1))
                return of(near / near.sum(axis=1, keepdims=True))

            return predict

        return trained

    def auc(of):
        shadows = dict(shadows=fit(of), num_shadows=4, attacks="lira")
        return mia.audit(frame(p), x, NAMES[y], member, **shadows)["lira"].auc.value

    assert auc(frame) == auc(np.asarray)


def test_collect_reads_the_names_of_all_frames(world):
    y, _, _, p, q = world
    plan = mia.plan(num_records=N, num_models=S)
    frames = {k: frame(one, order=(k % 3, (k + 1) % 3, (k + 2) % 3)) for k, one in enumerate(q)}
    found = mia.collect(plan, frames, labels=NAMES[y], target=frame(p))
    np.testing.assert_array_equal(found["shadows"], q)
    np.testing.assert_array_equal(found["target"], p)
    with pytest.raises(InputError, match=r"columns eel, cat, dog, and nothing tells which class is 0: give labels"):
        mia.collect(plan, {k: frame(one) for k, one in enumerate(q)})


def test_unlearning_reads_the_order_of_the_first_model(world):
    y, _, _, _, q = world
    q = np.concatenate([q, np.sqrt(q) / np.sqrt(q).sum(-1, keepdims=True)])
    models = dict(unlearned=q, retrained=q[::-1])
    about = dict(labels=y, forgotten=mia.plan(num_records=N, num_models=2 * S).member, targets=2)
    right = mia.unlearning(**models, **about)
    given = {name: [frame(p, order=(0, 1, 2) if k == 0 else (2, 0, 1)) for k, p in enumerate(each)]
             for name, each in models.items()}  # fmt: skip
    assert mia.unlearning(**given, **about).json() == right.json()


@pytest.mark.parametrize("entrance", ["audit", "infer"])
def test_columns_that_are_no_classes_are_refused_with_the_next_move(world, entrance):
    y, member, trained, p, q = world

    def told(target, shadows, move):
        saved = {"shadows": shadows, "shadow_member": trained}
        with pytest.raises(InputError, match=move):
            if entrance == "audit":
                mia.audit(target, np.zeros((N, 1)), NAMES[y], member, shadows=saved, attacks="loss")
            else:
                inferred(world, NAMES[y], target, shadows)

    other = [frame(one, names=np.array(["Katze", "Hund", "Aal"])) for one in q]
    told(p, other, r"shadows\[0\] has the columns Aal, Katze, Hund, and the classes are cat, dog, eel: call them as")
    more = frame(p).assign(label=NAMES[y])
    told(more, q, r"leave the others out, p\[\['cat', 'dog', 'eel'\]\]")
    told(frame(p)[["eel", "cat"]], q, r"the model does not know dog: p\['dog'\] = 0.0 gives it a column")


def test_one_column_of_the_first_of_two_classes_is_no_probability_of_class_1(world):
    y, member, _, p, _ = world
    frames = pandas.DataFrame({"no": p[:, 0], "yes": 1 - p[:, 0]})
    x, words = np.zeros((N, 1)), np.array(["no", "yes"])[(y > 0).astype(int)]
    right = mia.audit(frames, x, words, member, attacks="loss")["loss"].auc.value
    assert mia.audit(frames["yes"], x, words, member, attacks="loss")["loss"].auc.value == right
    with pytest.raises(InputError, match=r"the column no alone, the probability of class 0, .* give 1 - p, or both"):
        mia.audit(frames["no"], x, words, member, attacks="loss")
    assert mia.audit(1 - frames["no"].to_numpy(), x, words, member, attacks="loss")["loss"].auc.value == right


def test_dicts_of_classes_are_named_with_what_reads_them_by_name(world):
    """The advice kept the order of the first record's keys, which may be sorted by score."""
    y, member, _, p, _ = world
    given = [{str(NAMES[k]): float(row[k]) for k in np.argsort(-row)} for row in p]
    x, right = np.zeros((N, 1)), mia.audit(p, np.zeros((N, 1)), NAMES[y], member, attacks="loss")["loss"].auc.value
    for model in (lambda x: given, given, np.array(given)):
        with pytest.raises(InputError) as told:
            mia.audit(model, x, NAMES[y], member, attacks="loss")
        move = re.search(r"pandas\.DataFrame\([^ ,:]*\)", str(told.value))
        assert move is not None, told.value
        read = eval(move[0], {"pandas": pandas, "p": given})
        assert mia.audit(read, x, NAMES[y], member, attacks="loss")["loss"].auc.value == right


def pipeline(p, names=NAMES):
    """What transformers.pipeline(..., top_k=None) gives: the best first."""
    return [[{"label": str(names[k]), "score": float(row[k])} for k in np.argsort(-row)] for row in p]


@pytest.mark.parametrize("names", [NAMES, np.array(["LABEL_0", "LABEL_1", "LABEL_2"])], ids=["names", "numbers"])
def test_dicts_of_a_pipeline_are_named_with_what_makes_an_array_of_them(world, names):
    y, member, _, p, q = world
    x, given = np.zeros((N, 1)), y if names is not NAMES else NAMES[y]
    with pytest.raises(InputError, match=r"dicts of label and score, as transformers.pipeline gives: give") as told:
        mia.audit(pipeline(p, names), x, given, member, attacks="loss")
    line = str(told.value).partition(": give ")[2].partition(", whose columns")[0]
    np.testing.assert_array_equal(eval(line, {"pandas": pandas, "p": pipeline(p, names)}), p)
    for wrong in (lambda x: pipeline(p, names), np.array([[*row] for row in pipeline(p, names)], object)):
        with pytest.raises(InputError, match=r"as transformers\.pipeline gives"):
            mia.audit(wrong, x, given, member, attacks="loss")
    with pytest.raises(InputError, match=r"shadows\[0\] has dicts of label and score"):
        inferred(world, given, p, [pipeline(one, names) for one in q])


def test_dicts_of_the_best_label_alone_are_named(world):
    y, member, _, p, _ = world
    x, best = np.zeros((N, 1)), [row[0] for row in pipeline(p)]
    with pytest.raises(InputError, match="top_k=None, which tells the scores of all classes") as told:
        mia.audit(best, x, NAMES[y], member, attacks="loss")
    line = str(told.value).partition("of the labels alone give ")[2]
    right = mia.audit(NAMES[p.argmax(axis=1)], x, NAMES[y], member, attacks="loss")["loss"].auc.value
    assert mia.audit(eval(line, {"p": best}), x, NAMES[y], member, attacks="loss")["loss"].auc.value == right


@pytest.mark.parametrize("of", [list, lambda each: np.array(each, object), lambda each: lambda x: each])
def test_a_record_without_an_answer_is_named(world, of):
    y, member, _, p, _ = world
    labels = [None if k == 4 else str(NAMES[best]) for k, best in enumerate(p.argmax(axis=1))]
    with pytest.raises(InputError, match="the target, record 4: there is no answer; leave such records out"):
        mia.audit(of(labels), np.zeros((N, 1)), NAMES[y], member, attacks="loss")
    rest = np.arange(N) != 4
    kept = [label for label in labels if label]
    assert mia.audit(kept, np.zeros((N - 1, 1)), NAMES[y][rest], member[rest], attacks="loss")["loss"].auc.value > 0.5


def test_a_record_without_probabilities_is_named(world):
    y, member, _, p, _ = world
    rows = [None if k == 7 else row.tolist() for k, row in enumerate(p)]
    with pytest.raises(InputError, match="the target, record 7: there is no answer"):
        mia.audit(rows, np.zeros((N, 1)), y, member, attacks="loss")
