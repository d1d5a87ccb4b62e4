"""Labels and probabilities side by side in a service's answer: which is read, what is said, and what is refused."""

import json

import numpy as np
import pytest
import services

from mia_jax.targets.remote import Options, connect, protocols, replies, tensors
from mia_jax.types import InputError

B, C = 16, 5
Z = np.random.default_rng(0).normal(scale=2, size=(B, C))
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
LABELS = P.argmax(axis=1).tolist()
OTHER = (0.9 * P + 0.1 / C).tolist()
ROWS = P.tolist()


def read(answer, classes=None, names=None):
    """The reply to B records, what is said of it, and the probabilities that are read."""
    reply = protocols.INSTANCES.decode(json.dumps(answer).encode(), B)
    reading = replies.learn(reply, classes, names)
    return getattr(reply, "said", ""), replies.read(reply, B, reading)


def objects(**columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


PLAIN = "of its answers 'probabilities' is read, and 'predictions' beside it is left"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"predictions": LABELS, "probabilities": ROWS}, PLAIN),
        ({"probabilities": ROWS, "predictions": [str(k) for k in LABELS], "model": "m", "id": [*range(B)]}, PLAIN),
        ({"predictions": np.eye(C)[LABELS].tolist(), "probabilities": ROWS}, PLAIN),
        ({"outputs": {"labels": LABELS, "scores": ROWS}}, "'scores' is read, and 'labels' beside"),
        ({"predictions": {"classes": LABELS, "proba": ROWS}}, "'proba' is read, and 'classes' beside"),
        ({"predictions": LABELS, "logits": Z.tolist()}, "'logits' is read, as logits by a softmax, and 'predictions'"),
        ({"predictions": LABELS, "log_probs": np.log(P).tolist()}, "'log_probs' is read, as logits by a softmax"),
        ({"predictions": ROWS, "labels": LABELS}, "'predictions' is read, and 'labels' beside it is left"),
        ({"predictions": LABELS, "logits": Z.tolist(), "probabilities": ROWS}, "and 'predictions' and 'logits' beside"),
        ({"predictions": LABELS, "raw_scores": Z.tolist(), "class_probabilities": ROWS}, "'class_probabilities' is"),
        ({"scores": ROWS, "probabilities": ROWS}, "'probabilities' is read, and 'scores' beside"),
        (objects(prediction=LABELS, probabilities=ROWS), "'probabilities' is read, and 'prediction' beside"),
        ({"instances": objects(predicted_class=LABELS, confidence=ROWS)}, "'confidence' is read"),
        ({"outputs": objects(label=LABELS, score=P.max(axis=1).tolist(), probs=ROWS)}, "'label' and 'score' beside"),
        ({"predictions": objects(label=LABELS, scores=[dict(enumerate(row)) for row in ROWS])}, "'scores' is read"),
        ({"predictions": ROWS}, ""),
        ({"probas": ROWS}, ""),
        ({"outputs": {"probabilities": ROWS}}, ""),
    ],
)  # fmt: skip
def test_probabilities_of_all_classes_are_read_where_they_lie_beside_labels(answer, said):
    """The labels were, without a word, or nothing."""
    told, p = read(answer)
    np.testing.assert_allclose(p, P, atol=1e-12)
    assert said in told and bool(said) == bool(told)


@pytest.mark.parametrize(
    "answer",
    [
        {"predictions": LABELS, "probabilities": ROWS, "calibrated_probabilities": OTHER},
        {"predictions": ROWS, "calibrated_probabilities": OTHER},
        objects(label=LABELS, probabilities=ROWS, calibrated_probabilities=OTHER),
    ],
)
def test_two_keys_of_other_probabilities_are_refused(answer):
    with pytest.raises(InputError, match=r"and '(calibrated_probabilities|predictions)' of its .* serve one of"):
        read(answer)


def test_labels_stay_labels_beside_what_is_not_called_probabilities():
    told, p = read({"predictions": LABELS, "attention": ROWS}, C)
    np.testing.assert_array_equal(p, np.eye(C)[LABELS])
    assert "'predictions' is read, and 'attention' beside it is left: where it is probabilities, name it so" in told
    told, p = read({"predictions": LABELS, "embedding": Z.tolist(), "ids": [*range(B)]}, C)
    np.testing.assert_array_equal(p, np.eye(C)[LABELS])
    assert told == ""


def test_labels_and_their_scores_under_two_keys_are_read_together():
    best = P.max(axis=1)
    told, p = read({"predictions": LABELS, "probabilities": best.tolist()}, C)
    np.testing.assert_allclose(p[np.arange(B), LABELS], best)
    assert told == "of its answers 'predictions' is read with 'probabilities' beside"
    told, p = read(objects(prediction=LABELS, confidence=best.tolist()), C)
    np.testing.assert_allclose(p[np.arange(B), LABELS], best)
    order = np.argsort(-P, axis=1)[:, :2]
    _, p = read({"classes": order.tolist(), "scores": np.take_along_axis(P, order, 1).tolist()}, C)
    assert ((p > 0).sum(axis=1) == 2).all() and np.allclose(p.max(axis=1), best)


def test_the_choice_does_not_hang_on_the_numbers_of_one_request():
    """A row without an answer, or one record alone, is read under the same key."""
    for some in (ROWS[:1], [None, *ROWS[1:3]], [[0.0, 2.0, None, 0.0, -1.0], [None] * C]):
        body = {"predictions": LABELS[: len(some)], "probabilities": some, "scores": some}
        assert protocols.INSTANCES.decode(json.dumps(body).encode(), len(some)) == some


def output(name, values):
    values = np.asarray(values)
    kind = "FP64" if values.dtype.kind == "f" else "INT64"
    return {"name": name, "datatype": kind, "shape": [*values.shape], "data": values.reshape(-1).tolist()}


def test_of_several_tensors_the_probabilities_are_read():
    """The first of a float type was."""
    labels, p, z = output("label", LABELS), output("probabilities", P), output("logits", Z)
    for outputs, left in (([labels, p], "'label'"), ([z, p], "'logits'"), ([p], "")):
        reply = tensors.answers(outputs, B)
        np.testing.assert_array_equal(np.asarray(reply), P)
        assert bool(left) == hasattr(reply, "said") and left in getattr(reply, "said", "")
    np.testing.assert_array_equal(np.asarray(tensors.answers([output("out0", Z), output("out1", P)], B)), P)
    np.testing.assert_allclose(np.asarray(tensors.answers([labels, z], B)), P)
    with pytest.raises(InputError, match="'probabilities' and 'calibrated_prob' of its answers all hold"):
        tensors.answers([p, output("calibrated_prob", OTHER)], B)


def test_what_was_read_is_said_once():
    pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")
    x, heard = np.random.default_rng(1).normal(size=(40, C)), []

    def respond(body, number):
        z = np.array(json.loads(body)["instances"])
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        return services.reply({"predictions": p.argmax(axis=1).tolist(), "probabilities": p.tolist()})

    options, numbers = Options(timeout=5.0, backoff=0.001), []

    def two(body, number):
        numbers.append(number)
        return services.reply({"probabilities": ROWS, "calibrated_probabilities": OTHER})

    with services.raw(two, "/predict") as url, pytest.raises(InputError, match="all hold probabilities"):
        connect(url, x, protocol="json", options=options)
    assert numbers == [1]  # of four dialects, for the first was understood
    with services.raw(respond, "/predict") as url:
        target = connect(url, x, protocol="json", options=options, notify=heard.append)
        found = np.exp(target.ask(x))
    np.testing.assert_allclose(found, np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), rtol=1e-6)
    assert target.answers.kind == "probabilities" and heard == [f"{url}: {PLAIN}"]


NAMES = ["d", "b", "e", "a", "c"]  # of the columns, as the service lists them
ORDER = np.argsort(NAMES)


@pytest.mark.parametrize(
    "answer",
    [
        {"classes": NAMES, "probabilities": ROWS},
        {"class_names": NAMES, "predictions": ROWS},
        {"labels": NAMES, "scores": ROWS},
        {"result": {"classes": NAMES, "probabilities": ROWS}},
        {"predictions": [NAMES[k] for k in LABELS], "probabilities": ROWS, "classes": NAMES},
    ],
)
def test_columns_are_those_of_the_classes_that_are_listed_beside_them(answer):
    """The list was passed over, and columns in another order were read as they came."""
    reply = protocols.INSTANCES.decode(json.dumps(answer).encode(), B)
    p = replies.read(reply, B, replies.learn(reply, beside=sorted(NAMES)))
    np.testing.assert_allclose(p, P[:, ORDER], atol=1e-12)
    with pytest.raises(InputError, match=r"scores of classes called 'd', 'b', .*give the names of all"):
        replies.learn(reply)


def test_lists_that_name_no_column():
    """Numbers in order say nothing new; of as many records as classes, each record's label is none of the columns."""
    for names in ([*range(C)], [str(k) for k in range(C)], NAMES[:3], ["a"] * C):
        np.testing.assert_allclose(read({"classes": names, "probabilities": ROWS})[1], P, atol=1e-12)
    np.testing.assert_allclose(read({"classes": [3, 1, 4, 0, 2], "probabilities": ROWS})[1], P[:, ORDER], atol=1e-12)
    best = [3, 1, 4, 0, 2]
    each = (0.6 * np.eye(C)[best] + 0.08).tolist()
    assert replies.elements({"classes": best, "probabilities": each}, C) == each


def test_probabilities_with_a_key_each_are_read_beside_a_label():
    """As H2O answers: the names of all classes were asked for, and none that were given would do."""
    for label in ({}, {"predict": "1"}, {"predict": 3}, {"prediction": 1.0}):
        for names in ([f"p{k}" for k in range(C)], [f"class_{k + 1}" for k in range(C)]):
            answer = [{**label, **dict(zip(names[::-1], row[::-1], strict=True))} for row in ROWS]
            answer[2] = None if label == {"predict": 3} else answer[2]
            told, p = read({"predictions": answer})
            there = [k for k in range(B) if answer[k] is not None]
            np.testing.assert_allclose(np.asarray(p)[there], P[there], atol=1e-12)
            assert f"'{names[0]}', '{names[1]}'" in told and bool(label) == ("is left" in told)
    told, p = read([{"predict": "a", **dict(zip(NAMES, row, strict=True))} for row in ROWS], names=NAMES)
    np.testing.assert_allclose(p, P, atol=1e-12)
    assert "'predict' is left beside probabilities of classes" in told
    with pytest.raises(InputError, match="give the names of all classes"):  # these are no distributions
        read([{"size": 2.0, "count": 7.0}] * B)
