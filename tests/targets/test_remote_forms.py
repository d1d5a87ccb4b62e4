"""What services answer, in the forms that are known: read as it is meant, or refused once, in words that help."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import services

from mia_jax import sanitize
from mia_jax.attacks import ATTACKS
from mia_jax.plans import splits
from mia_jax.statistics import metrics
from mia_jax.targets import answer_format, black_box, defenses, platforms
from mia_jax.targets.remote import Options, connect, protocols, replies
from mia_jax.types import Answers, InputError, Records

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

FAST = Options(rows_per_request=32, timeout=5.0, backoff=0.001)
X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def two(x):
    """P(class 1) of records."""
    return 1 / (1 + np.exp(-3 * x[:, 0]))


def best(x, names=("0", "1")):
    p = two(x)
    return [{"label": names[int(q > 0.5)], "score": max(q, 1 - q)} for q in p.tolist()]


# --- {"label", "score"} ----------------------------------------------------------------------------------------------


def test_a_score_belongs_to_its_label():
    with services.answering(best) as url:
        target = connect(url, X, num_classes=2, options=FAST)
        p = np.exp(target.ask(X))
    np.testing.assert_allclose(p[:, 1], two(X), rtol=1e-5)
    assert target.answers == Answers(2)


@pytest.mark.parametrize("names", [("bad", "good"), ("LABEL_0", "LABEL_1")])
def test_a_label_may_be_a_name(names):
    given = dict(class_names=names) if names[0] == "bad" else dict(num_classes=2)
    with services.answering(lambda x: best(x, names)) as url:
        p = np.exp(connect(url, X, **given, options=FAST).ask(X))
        with pytest.raises(InputError, match=r"best label and that label's score .*num_classes.*class_names"):
            connect(url, X, options=FAST)
    np.testing.assert_allclose(p[:, 1], two(X), rtol=1e-5)


def test_the_best_of_more_classes_is_a_top_1_answer():
    def predict(x):
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return [{"label": int(row.argmax()), "score": float(row.max())} for row in p]

    with services.answering(predict) as url:
        target = connect(url, X, num_classes=3, options=FAST)
        p = np.exp(target.ask(X))
    assert target.answers == Answers(3, "top_k", k=1)
    truth = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p.max(axis=1), truth.max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(p.argmax(axis=1), truth.argmax(axis=1))
    assert ((p > 1e-30).sum(axis=1) == 1).all()


def test_classes_below_a_threshold_are_not_told():
    """Rows of one, two and three scores were read as the three best."""

    def predict(x):
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        return [{str(c): float(q) for c, q in enumerate(row) if q >= 0.2} for row in p]

    with services.answering(predict) as url:
        target = black_box.with_recognized_format(connect(url, X, num_classes=3, options=FAST), X)
        p = defenses.probabilities(target.ask(X), target.answers)
    truth = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
    assert target.answers == Answers(3, "thresholded", least=pytest.approx(truth[truth >= 0.2].min()))
    np.testing.assert_allclose(p, np.where(truth >= 0.2, truth, 0), atol=1e-6)


def test_a_threshold_and_a_largest_number_of_classes_are_the_best_k():
    """As AutoML's score_threshold with max_predictions: rows that lack classes counted as whole."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    first = np.argsort(-x.max(axis=1))  # the probe has those of which few are above

    def predict(x):
        p = np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum(axis=1, keepdims=True)
        best = np.argsort(-p, axis=1)[:, :2]
        return [{str(c): float(row[c]) for c in k if row[c] >= 0.15} for row, k in zip(p, best, strict=True)]

    with services.answering(predict) as url:
        target = black_box.with_recognized_format(connect(url, x[first], num_classes=6, options=FAST), x[first])
        assert target.answers.kind in ("top_k", "thresholded") and len(target.ask(x)) == 300


def test_an_answer_that_was_written_as_text_is_read():
    """As a scoring script of Azure ML answers that returns json.dumps."""
    p = [[0.9, 0.1], [0.2, 0.8]]
    for value in (json.dumps(p), json.dumps({"predictions": p}), {"result": p}):
        np.testing.assert_allclose(protocols.INSTANCES.decode(json.dumps(value).encode(), 2), p)


def test_a_score_of_the_second_class_beside_the_label_is_told_by_the_answers():
    """The best of two labels has a half at least: where label 0 never has, it is not its score."""
    reply = protocols.INSTANCES.decode(b'[{"label": 0, "score": 0.02}, {"label": 1, "score": 0.98}]', 2)
    np.testing.assert_allclose(replies.read(reply, 2, replies.learn(reply, 2)), [[0.98, 0.02], [0.02, 0.98]])
    reply = protocols.INSTANCES.decode(b'[{"label": 0, "score": 0.98}, {"label": 1, "score": 0.98}]', 2)
    np.testing.assert_allclose(replies.read(reply, 2, replies.learn(reply, 2)), [[0.98, 0.02], [0.02, 0.98]])


@pytest.mark.parametrize("name", ["modified_entropy", pytest.param("shokri", marks=pytest.mark.slow)])
def test_an_attack_on_a_service_of_best_labels_finds_what_it_finds_in_process(name):
    from sklearn.ensemble import RandomForestClassifier

    key, n, models = jax.random.key(0), 300, 8
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 10)).astype(np.float32)
    y = (x[:, 0] + 1.5 * rng.normal(size=n) > 0).astype(np.int32)
    records, plan = Records(x, y), splits.balanced(key, n, models)
    member = splits.membership_matrix(plan, n)
    recipe = RandomForestClassifier(n_estimators=20, min_samples_leaf=3, random_state=0)
    seeds = range(1, models - 1)
    forest = recipe.fit(x[member[0]], y[member[0]])
    shadows = list(platforms.sklearn(recipe, 2).fit_many(records, plan.train[2:], seeds=seeds))
    attack = ATTACKS[name](2)
    seen = [attack.observe(key, shadow, records) for shadow in shadows]
    state = attack.fit(key, jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen), member[2:], None)

    def predict(x):
        p = forest.predict_proba(x)
        return [{"label": int(row.argmax()), "score": float(row.max())} for row in p]

    def auc(target):
        score = np.asarray(attack.score(state, attack.observe(key, target, records)))
        return metrics.auc(score, member[0]).value

    with services.answering(predict) as url:
        there = auc(connect(url, x, num_classes=2, options=FAST))
    here = auc(black_box.from_callable(forest.predict_proba, 2))
    assert here > 0.7 and abs(there - here) < 0.005  # .01 where the score was taken for that of class 1


# --- what is no probability ------------------------------------------------------------------------------------------


LOGITS = np.random.default_rng(1).normal(scale=3, size=(16, 4))
SOFT = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (LOGITS, "look like logits .*softmax"),
        (LOGITS - LOGITS.min() + 1, "look like logits"),
        (LOGITS[:, :1], "look like logits .*sigmoid"),
        (np.log(SOFT), "look like log-probabilities"),
        (100 * SOFT, "look like percentages"),
        (99.5 * SOFT[:, :1], "one number for each record, from .* of percentages serve each / 100"),
        (99.5 * SOFT[:, 0], "one number for each record, from .* of percentages serve each / 100"),
        (np.log2(SOFT), "look like logarithms to base 2"),
        (np.round(255 * SOFT).astype(int), "look like counts, or quantized scores"),
        (np.round(1000 * SOFT).astype(int), "look like counts, or quantized scores"),
        (-np.log(SOFT), "look like negative logarithms of probabilities"),
        (np.round(256 * SOFT).astype(int) - 128, "look like quantized scores from -128"),
        (1 / (1 + np.exp(-LOGITS)), "do not sum to 1 .*several sigmoids"),
    ],
)
def test_numbers_that_are_no_probabilities_are_named_and_asked_once(values, said):
    asked = []

    def predict(x):
        asked.append(len(x))
        return values[: len(x)].tolist()

    with services.answering(predict) as url, pytest.raises(black_box.TargetError, match=said) as error:
        connect(url, X, options=FAST)
    assert asked == [16] and "\n" not in str(error.value)


@pytest.mark.parametrize("digits", [2, 3])
def test_whole_percentages_are_named_beside_labels(digits):
    """They were taken for labels of a hundred classes, and nothing else was said."""
    scores = np.round(10**digits * SOFT[:, 0]).astype(int)
    for values, named in ((scores, True), (np.arange(16) % 10, False)):
        answering = services.answering(lambda x, values=values: values[: len(x)].tolist())
        with answering as url, pytest.raises(InputError, match="answers with labels") as error:
            connect(url, X, options=FAST)
        assert ("where they are percentages, or another score" in str(error.value)) == named


@pytest.mark.parametrize(
    "form",
    [
        lambda row: [f"{100 * p:.2f}%" for p in row],
        lambda row: {str(k): f"{100 * p:.2f} %" for k, p in enumerate(row)},
        lambda row: [{"label": k, "score": f"{100 * p:.2f}%"} for k, p in enumerate(row)],
    ],
)
def test_percentages_with_their_sign_are_read(form):
    """ "97.30%" was taken for a class of that name."""
    reply = replies.elements([form(row) for row in SOFT], len(SOFT))
    reading = replies.learn(reply, 4)
    np.testing.assert_allclose(replies.read(reply, len(SOFT), reading), np.round(SOFT, 4), atol=1e-12)
    assert reading.answers.digits == 4
    assert replies.elements(["50%", "7.5%"], 2) == [0.5, 0.075] and replies.elements(["50% off"], 1) == ["50% off"]


def test_a_line_of_csv_for_each_record_is_read_and_decimal_commas_are_refused():
    """The line was taken for a label."""
    reply = replies.elements([",".join(f"{p:.6f}" for p in row) for row in SOFT], len(SOFT))
    np.testing.assert_allclose(replies.read(reply, len(SOFT), replies.learn(reply)), SOFT, atol=1e-6)
    comma = [[f"{p:.4f}".replace(".", ",") for p in row] for row in SOFT]
    with pytest.raises(replies.Unknown, match="form that is not known, or not all of one"):
        replies.learn(replies.elements(comma, len(SOFT)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("classes", [3, 10, 100])
def test_probabilities_of_half_precision_are_probabilities(dtype, classes):
    z = np.random.default_rng(2).normal(scale=2, size=(2000, classes))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rounded = np.asarray(jnp.asarray(p, dtype), np.float64)
    assert abs(rounded.sum(axis=1) - 1).max() > (1.5e-3 if dtype == jnp.bfloat16 else 2e-4)
    assert not answer_format.faults(rounded, Answers(classes))
    reading = replies.learn(rounded[:16].tolist())
    assert reading.answers.classes == classes and reading.answers.kind == "probabilities"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"outputs": {"a": [1, 2]}}, r"of a form that is not known, \{'outputs': \{'a': \[2 x 1\]\}\}"),
        ({"error": "no such model \x1b[2J"}, r"\{'error': 'no such model \\x1b\[2J'\}"),
        ({"predictions": {"a": 1}}, "form that is not known"),
        ({"predictions": [{"x": [1, 2], "y": None}] * 16}, r"\[16 x \{'x': \[2 x 1\], 'y': None\}\]"),
        ({"predictions": ['{"label": 1}'] * 16}, "form that is not known"),
        ({"predictions": [[[0.5, 0.5], [0.5, 0.5]]] * 16}, "form that is not known|has shape"),
        ({"predictions": [{"labels": ["a", "b"], "scores": [0.5]}] * 16}, "form that is not known"),
        ({"predictions": [[0.5, 0.5]] * 15}, "16 records were asked about and 15 answered"),
        ({"predictions": [[0.5] * 32]}, "1 answered, of 32 numbers, 2 for each record: ask about one at a time"),
        (
            {"predictions": [[0.5, 0.5]] * 9 + [{"error": "busy"}] * 7},
            r"the first is \[2 x 0\.5\], and another \{'error': 'busy'\}",
        ),
        ({"predictions": [[0.5, 0.5]] * 15 + [[1.0]]}, "cannot be read|form it had before|form that is not known"),
        ({"predictions": ["a" * 5000] * 16}, "answers with labels .'aaaa"),
    ],
)
def test_a_form_that_is_not_known_is_outlined_and_asked_once(answer, said):
    asked = []

    def respond(body, number):
        asked.append(number)
        return services.reply(answer)

    with services.raw(respond) as url, pytest.raises((black_box.TargetError, InputError), match=said) as error:
        connect(url, X, options=FAST)
    text = str(error.value)
    assert len(asked) <= (4 if "cannot be read" in text or "had before" in text else 1)
    assert "\n" not in text and "\x1b" not in text and len(text) < 800


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "409 Conflict", "422 No", "501 Not Implemented"]
)
def test_a_refusal_that_cannot_change_is_asked_once(status):
    asked = []

    def respond(body, number):
        asked.append(number)
        return services.reply({"error": "no"}, status)

    with services.raw(respond) as url, pytest.raises(black_box.TargetError, match=f"HTTP {status[:3]}"):
        connect(url, X, options=FAST)
    assert len(asked) == (4 if status[0] == "5" else 1)


def test_outlines_are_short():
    deep = json.loads("[" * 50 + "]" * 50)
    assert sanitize.outline(deep) == "[1 x [1 x [1 x [1 x [...]]]]]"
    wide = {f"key {k}": [k] * 3 for k in range(100)}
    assert sanitize.outline(wide).endswith("'key 3': [3 x 3], and 96 more}")
    assert len(sanitize.outline({"a" * 9999: {"b" * 9999: "c" * 9999}})) < 140


# --- records as they are ---------------------------------------------------------------------------------------------


def test_whole_numbers_above_2_to_the_24_reach_the_service():
    seen = set()

    def predict(x):
        seen.update(x[:, 0].tolist())
        return [[0.5, 0.5]] * len(x)

    times = 1_700_000_000 + 3 * np.arange(400)
    with services.answering(predict) as url:
        for x in (times[:, None], times[:, None].astype(np.float64)):
            seen.clear()
            connect(url, x, options=FAST).ask(x)
            assert seen == set(times.tolist())


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (2**53 + 1, np.uint64, r"record 2 has the whole number 9007199254740993, .*2\^53"),
        (-(2**53) - 1, np.int64, "record 2 has the whole number -9007199254740993"),
        (np.longdouble(1) / 3, np.longdouble, "longdouble|float128|float96"),
    ],
)
def test_a_number_that_json_cannot_keep_is_refused(value, dtype, said):
    x = np.zeros((4, 2), dtype)
    x[2, 1] = value
    if dtype == np.longdouble and np.dtype(dtype).itemsize == 8:
        pytest.skip("no longer floats on this machine")
    with pytest.raises(InputError, match=said):
        connect("http://127.0.0.1:1/v2/models/m", x, options=FAST)


def test_a_file_is_asked_in_its_type_and_trained_on_in_float32(tmp_path):
    from mia_jax.audits.deployed import records as deployed

    times = 1_700_000_000 + 3 * np.arange(400)
    x = np.stack([times, np.arange(400)], axis=1)
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(400) % 2, member=np.arange(400) < 200)
    question = deployed.load_question(tmp_path / "mine.npz")
    said = r"float32, which makes \d+ of 400 distinct values of column 0 of x \(1 such"
    assert any(re.search(said, note) for note in question.schema.notes)
    assert question.sent.dtype == x.dtype and question.records.x.dtype == np.float32
    np.testing.assert_array_equal(question.sent, x)
    np.savez(tmp_path / "fine.npz", x=np.random.default_rng(0).normal(size=(400, 3)), y=np.arange(400) % 2)
    fine = deployed.load_question(tmp_path / "fine.npz")
    assert fine.sent.dtype == np.float64 and not any("float32" in note for note in fine.schema.notes)


def test_a_table_is_asked_in_the_numbers_of_the_file(tmp_path):
    """They were float32: times a minute apart became 64 seconds, 0.1 became 0.10000000149."""
    from mia_jax.audits.deployed import records as deployed

    times, rows = 1_700_000_000 + 7919 * np.arange(40), np.arange(40)
    lines = [f"{t},{k / 10},{k % 2},{int(k < 20)}" for t, k in zip(times, rows, strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["time,share,class,member", *lines]))
    question = deployed.load_question(tmp_path / "mine.csv")
    np.testing.assert_array_equal(question.sent, np.stack([times, rows / 10], axis=1))
    assert question.records.x.dtype == np.float32
    assert any(re.search("rounds whole numbers .* column time by up to 6", note) for note in question.schema.notes)
    lines = [f"{9_007_199_254_740_993 + 2 * k},{k / 10},{k % 2},{int(k < 20)}" for k in rows]
    (tmp_path / "ids.csv").write_text("\n".join(["id,share,class,member", *lines]))
    with pytest.raises(InputError, match=r"column id has the whole number 90071992547409.*`kinds=id:drop`"):
        deployed.load_question(tmp_path / "ids.csv")
