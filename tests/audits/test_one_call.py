"""``mia_jax.audit``: whatever answers, audited in one call, by the same path as the scripts."""

import builtins
import functools
import html.parser
import json

import jax
import numpy as np
import pytest
import scipy.sparse

import mia_jax as mia
from mia_jax import audits
from mia_jax.attacks import lira
from mia_jax.attacks.thresholds import best_threshold
from mia_jax.audits.config import DeployedConfig, InProcessConfig
from mia_jax.audits.deployed import answer_formats, cascade, infer
from mia_jax.audits.types import Run
from mia_jax.plans import training_plan
from mia_jax.progress import silent
from mia_jax.statistics import metrics
from mia_jax.targets import black_box, platforms
from mia_jax.types import Answers, InputError

N, C, S = 240, 3, 6
RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(N, 4)), np.arange(N) % C
MEMBER = np.random.default_rng(6).permutation(N) < N // 2
FAST = dict(attacks="loss,lira,rmia", num_shadows=S)


def fit(x, y, *, seed):
    """A model that is surer of what it was trained on, and of some records more than of others."""
    known, noise = {row.tobytes() for row in np.asarray(x)}, np.random.default_rng(seed).normal(size=C) / 3

    def predict(asked):
        asked = np.asarray(asked)
        trained = np.array([row.tobytes() in known for row in asked])
        hard = np.abs(asked[:, :1])
        right = np.eye(C)[[LABELS[row.tobytes()] for row in asked]]
        z = right * (1 + 2 * trained[:, None]) / (0.5 + hard) + noise + asked[:, :C] / 3
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    return predict


LABELS = {row.tobytes(): int(label) for row, label in zip(X, Y, strict=True)}
TARGET = fit(X[MEMBER], Y[MEMBER], seed=0)
audit = functools.partial(mia.audit, TARGET, X, Y, MEMBER)


@pytest.fixture(scope="module")
def alone():
    return audit()


@pytest.fixture(scope="module")
def with_fit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    return audit(shadows=fit, workdir=folder, **FAST), folder


def copied(records):
    """Records of which 30 stand two to four times, in some order, and which of these are members."""
    rng = np.random.default_rng(0)
    times = rng.integers(2, 5, 30)
    order = rng.permutation(np.r_[np.arange(30).repeat(times), np.arange(30, N)])
    return records[order], Y[order], rng.random(len(order)) < 0.5, int(times.sum())


@pytest.mark.parametrize("kind", ["array", "frame", "without shadows", "of numbers"])
def test_copies_are_counted_by_the_records_themselves(kind):
    """By answers alone, of models that a few leaves make equal, they were 83 of 89, or none; of numbers none at all."""
    tree = pytest.importorskip("sklearn.tree")
    x, y, member, count = copied(X)
    x = pytest.importorskip("pandas").DataFrame(x, columns=[*"abcd"]) if kind == "frame" else x
    make = (tree.DecisionTreeRegressor if kind == "of numbers" else tree.DecisionTreeClassifier)(max_depth=3)
    more = dict(attacks="loss") if kind == "without shadows" else dict(attacks="lira", shadows=make, num_shadows=4)
    more |= dict(signal="squared_error") if kind == "of numbers" else {}
    of = x[member]
    results = mia.audit(make.fit(of, y[member]), x, y, member, notify=lambda line: None, **more).results
    said = f"{count} of the {len(y)} records have an exact copy among them (30 different)."
    assert sum(note.startswith(said) for note in results["shadows"]["notes"]) == 1, results["shadows"]["notes"]


# --- without shadows -------------------------------------------------------------------------------------------------


def test_without_shadows_the_attacks_run_that_need_none(alone):
    assert {*alone} == {"gap", "loss", "confidence", "entropy", "modified_entropy"}
    assert "lira" in alone.notes[1] and "shadows=fit" in alone.notes[1]
    loss = -np.log(TARGET(X)[np.arange(N), Y])
    assert alone["loss"].auc.value == pytest.approx(metrics.auc(-loss, MEMBER).value)
    assert alone["loss"].epsilon is not None


def test_the_page_counts_the_records_that_were_asked_about_and_not_the_half_that_was_judged():
    few = np.flatnonzero(MEMBER)[: MEMBER.sum() // 2]
    rows = np.sort(np.r_[few, np.flatnonzero(~MEMBER)])
    found = mia.audit(TARGET, X[rows], Y[rows], MEMBER[rows], attacks="loss")
    said = f"judged {len(few)} records that it was trained on and {(~MEMBER).sum()} others"
    assert said in found.verdict


def test_a_threshold_is_chosen_on_one_half_and_judged_on_the_other(alone):
    p = TARGET(X)[np.arange(N), Y].astype(np.float32)
    for side in (MEMBER, ~MEMBER):
        judged = ~np.isnan(alone["modified_entropy"].scores[side])  # a threshold for each class: the first half is out
        assert judged.sum() == side.sum() // 2
    half = np.isnan(alone["modified_entropy"].scores)
    tau = best_threshold(p[half], MEMBER[half])
    right = (p[~half] > tau) == MEMBER[~half]
    assert alone["confidence"].accuracy.value == pytest.approx(right.mean())
    np.testing.assert_allclose(alone["confidence"].scores, p - tau, atol=1e-6)
    everywhere = metrics.call(alone["gap"].scores, MEMBER)  # it chose nothing
    assert alone["gap"].recall.value == pytest.approx(everywhere.tp / everywhere.members)


def test_who_is_a_member_need_not_be_known():
    found = mia.audit(TARGET, X, Y)
    assert found["loss"].auc.value is None and "who is a member" in found["loss"].auc.reason
    np.testing.assert_allclose(found["loss"].scores, np.log(TARGET(X)[np.arange(N), Y]), rtol=1e-4)
    assert "scores only" in found._repr_html_()


def test_a_population_brings_attack_p():
    def ask(x):
        return TARGET(X)[:40] if len(x) == 40 else TARGET(x)

    found = mia.audit(ask, X, Y, MEMBER, population=(X[:40], Y[:40]), attacks="attack_p")
    assert len(np.unique(found["attack_p"].scores)) > 20 and found["attack_p"].auc.value > 0.6


# --- with shadows ----------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_same_answers_in_a_file(with_fit, tmp_path):
    """To the bit, and so is what the files say, but for the words about where the answers are from."""
    result, folder = with_fit
    plan = mia.plan(N, S)
    shadows = [fit(X[plan.rows(k)], Y[plan.rows(k)], seed=plan.seeds[k])(X) for k in range(S)]
    saved = dict(labels=Y, target=TARGET(X), shadows=np.stack(shadows), shadow_member=plan.member, member=MEMBER)
    np.savez(tmp_path / "preds.npz", **saved)
    config = DeployedConfig(
        predictions=str(tmp_path / "preds.npz"), workdir=str(tmp_path / "w"), attacks=FAST["attacks"]
    )
    by_file = audits.run(config)
    assert (tmp_path / "w" / "scores.npz").read_bytes() == (folder / "scores.npz").read_bytes()
    drop = lambda attacks: json.loads(json.dumps(attacks))  # noqa: E731
    assert drop(by_file["attacks"]) == drop(result.results["attacks"])
    by_answers = mia.audit(TARGET(X), X, Y, MEMBER, shadows=(np.stack(shadows), plan.member), attacks=FAST["attacks"])
    np.testing.assert_array_equal(by_answers["lira"].scores, result["lira"].scores)


ASKED = []  # the seeds of models that were trained; None: the next one breaks


def breaks(x, y, *, seed):
    if len(ASKED) == 2:
        ASKED.append(None)
        raise RuntimeError("the power is gone")
    ASKED.append(seed)
    return fit(x, y, seed=seed)


@pytest.mark.integration
def test_an_interrupted_call_goes_on(with_fit, tmp_path):
    few = {**FAST, "attacks": "loss"}
    with pytest.raises(InputError, match=r"breaks\(x, y, seed=\d+\) raised RuntimeError: the power is gone"):
        audit(shadows=breaks, workdir=tmp_path, **few)
    whole = audit(shadows=breaks, workdir=tmp_path, **few)
    assert len(ASKED) == len({*ASKED}) == S + 1
    np.testing.assert_array_equal(whole["loss"].scores, with_fit[0]["loss"].scores)
    audit(shadows=breaks, workdir=tmp_path, **{**few, "num_shadows": S + 2})
    assert len(ASKED) == S + 3  # only what was missing


def test_other_records_are_not_taken_for_those_of_the_workdir(with_fit):
    with pytest.raises(InputError, match="workdir"):
        mia.audit(TARGET, X, Y, ~MEMBER, shadows=fit, workdir=with_fit[1], **FAST)


@pytest.mark.integration
def test_processes_train_shadows_to_the_same_bits(with_fit, tmp_path):
    """Also a function that only this process knows; what one raises is the line that it would be here."""
    local = lambda x, y, *, seed: fit(x, y, seed=seed)  # noqa: E731
    found = audit(shadows=local, jobs=2, workdir=tmp_path, **FAST)
    for name in found:
        np.testing.assert_array_equal(found[name].scores, with_fit[0][name].scores)
    with pytest.raises(InputError, match="raised ZeroDivisionError"):
        audit(shadows=lambda x, y, *, seed: 1 / 0, jobs=2, **FAST)
    with pytest.raises(InputError, match="jobs"):
        audit(shadows=fit, jobs=0, **FAST)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:The shadows")  # are in doubt after so few epochs
def test_our_own_networks_are_shadows_too(tmp_path):
    found = audit(shadows="nn", workdir=tmp_path, num_epochs=5, hidden=8, **FAST)
    assert found.results["shadows"]["count"] == S and found.results["config"]["num_epochs"] == 5
    assert found["lira"].auc.value is not None
    again = audit(shadows="nn", workdir=tmp_path, num_epochs=5, hidden=8, **FAST)
    np.testing.assert_array_equal(again["lira"].scores, found["lira"].scores)


def test_a_target_of_another_share_has_shadows_that_train_on_as_many():
    member = np.arange(N) % 4 > 0
    target = fit(X[member], Y[member], seed=0)
    found = mia.audit(target, X, Y, member, shadows=fit, num_shadows=5, attacks="loss,lira")
    assert found.results["shadows"]["train_records"] == found.results["target"]["train_records"] == 180


def test_a_population_reaches_the_shadows(with_fit):
    found = audit(shadows=fit, population=(X[:40], Y[:40]), **FAST)
    assert not np.array_equal(found["rmia"].scores, with_fit[0]["rmia"].scores)
    np.testing.assert_array_equal(found["loss"].scores, with_fit[0]["loss"].scores)


def test_a_shadow_whose_answers_are_none_is_left_out(with_fit):
    lost = mia.plan(N, S).seeds[2]

    def sometimes(x, y, *, seed):
        return (lambda asked: np.full((len(asked), C), np.nan)) if seed == lost else fit(x, y, seed=seed)

    said = []
    found = audit(shadows=sometimes, notify=said.append, **FAST)
    assert found.results["shadows"]["diverged"][0]["model"] == 3
    assert any("shadow model 3 of 6" in line for line in said)
    assert found.results["shadows"]["count"] == S - 2  # its partner may be the target's complement


# --- what answers ----------------------------------------------------------------------------------------------------


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
def test_whatever_answers_is_audited(way, alone):
    found = mia.audit(WAYS[way], X, Y, MEMBER, attacks="loss")
    assert found["loss"].auc.value == pytest.approx(alone["loss"].auc.value, abs=2e-3)


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


BAD = {
    "votes": (dict(predict=lambda x: np.arange(3 * N).reshape(N, 3)), "record 0: the probabilities sum to 3, not to 1"),
    "percentages": (dict(predict=lambda x: 100 * TARGET(x)), "look like percentages .* / 100"),
    "rows": (dict(predict=lambda x: TARGET(x)[:9]), r"shape \(9, 3\) for 240 records"),
    "text": (dict(predict=lambda x: np.array(["a"] * len(x))), "no numbers"),
    "objects": (dict(predict=lambda x: TARGET(x).astype(object)), r"returns Python objects: .*p.astype\(float\)"),
    "a row": (dict(predict=lambda x: np.where(np.arange(N)[:, None] == 7, 0, TARGET(x))), "record 7: .* abstains"),
    "one column": (dict(predict=lambda x: X[:, 0]), "the target answers 2 classes"),
    "regression": (
        dict(predict=lambda x: 34.9 + np.arange(len(x)), y=np.arange(N) % 2),
        "no probabilities of class 1, .* of a regression give `signal=squared_error`",
    ),
    "nothing": (dict(predict=3), "is int, which answers nothing"),
    "a class": (dict(predict=Estimator), "is the class Estimator"),
    "raises": (dict(predict=lambda x: 1 / 0), "raised ZeroDivisionError"),
    "from 1": (dict(y=Y + 1), "y has the label 3, .*: y counts from 1, so give y - 1"),
    "few classes": (dict(predict=lambda x: np.full((len(x), 2), 0.5)), "y has the label 2, and the target answers 2"),
    "fractions": (dict(y=Y + 0.5), "not whole numbers; number the classes .*np.unique"),
    "one-hot": (dict(y=np.ones((N, 3))), "y cannot be used: .*record 0 has 3 labels at once"),
    "no label": (dict(y=np.where(MEMBER, np.nan, Y)), "y cannot be used: there is no label of record . and 119 others"),
    "sum": (
        dict(predict=lambda x: TARGET(x) * np.where(np.arange(N) == 7, 0.9, 1)[:, None]),
        r"record 7: .* sum to 0.9, .* return p / p.sum\(axis=1",
    ),
    "sparse": (dict(x=scipy.sparse.csr_matrix(X)), r"x is a sparse matrix.*x.toarray\(\)"),
    "ragged": (dict(x=[[1.0, 2.0], [3.0]] * 120), "rows of different lengths"),
    "member in words": (dict(member=np.where(MEMBER, "in", "out")), 'write member == "(in|out)"'),
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


# --- the result ------------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.open, self.pictures = "", [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_notebook_shows_verdict_table_and_roc(with_fit):
    result, _ = with_fit
    page = Page()
    page.feed(result._repr_html_())
    assert not page.open and page.pictures[0].startswith("data:image/svg+xml;base64,")
    assert result.verdict in page.text
    for name in ("LiRA", "RMIA", f"{result['lira'].auc.value:.3f}", "Found at 10% false alarms"):
        assert name in page.text
    assert "LiRA" in repr(result) or "lira" in repr(result)


def test_names_in_a_page_are_text():
    found = audit(name="<script>alert(1)</script>", attacks="loss")
    assert "<script>" not in found._repr_html_()


def test_the_folder_is_as_a_run_leaves_it(alone, with_fit, tmp_path):
    result, folder = with_fit
    page = result.save(tmp_path / "new" / "folder")
    for name in ("scores.npz", "report.html"):
        ours, theirs = ((place / name).read_bytes() for place in (page.parent, folder))
        assert ours == theirs.replace(str(folder).encode(), str(page.parent).encode()), name
    there = json.loads((page.parent / "results.json").read_text())
    assert there["config"]["workdir"] == str(page.parent)
    assert "judged on the other half" in alone.save(tmp_path / "alone").read_text()


def test_a_data_frame_has_a_row_for_each_attack(with_fit):
    pandas = pytest.importorskip("pandas")
    frame = with_fit[0].to_frame()
    assert isinstance(frame, pandas.DataFrame) and {*frame.index} == {"loss", "lira", "rmia"}
    assert frame.loc["lira", "auc"] == with_fit[0]["lira"].auc.value


def test_without_pandas_there_is_a_line(with_fit, monkeypatch):
    real = builtins.__import__
    missing = lambda name, *rest: real("no_such_module" if name == "pandas" else name, *rest)  # noqa: E731
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match="pip install pandas"):
        with_fit[0].to_frame()


def test_an_attack_that_did_not_run_is_named(alone):
    with pytest.raises(KeyError, match="lira did not run; there are gap"):
        _ = alone["lira"]


# --- a user's trainer is a platform ----------------------------------------------------------------------------------


def test_any_fit_is_a_platform(tmp_path, monkeypatch):
    (tmp_path / "my_fit.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "def fit(x, y, *, seed):\n    return LogisticRegression(random_state=seed).fit(x, y).predict_proba\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    platform = platforms.platform("my_fit:fit", C)
    target = platform.fit(X, Y, seed=1)
    assert target.ask(X).shape == (N, C) and platform.title == "my_fit:fit"
    assert platforms.source("my_fit:fit") != platforms.source("sklearn:sklearn.linear_model.LogisticRegression")


def test_a_plan_changes_nobody_when_models_are_added():
    few, many = mia.plan(100, 4), mia.plan(100, 10)
    np.testing.assert_array_equal(few.member, many.member[:4])
    np.testing.assert_array_equal(few.seeds, many.seeds[:4])
    assert (many.member.sum(axis=0) == 5).all() and (many.seeds < 2**31).all()
    one = training_plan.plan(100, 3, train_size=70)
    assert (one.member.sum(axis=1) == 70).all()


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


@pytest.mark.filterwarnings("ignore:The shadows")  # are in doubt after so few epochs
@pytest.mark.integration
def test_our_own_networks_train_on_a_data_frame():
    frame = mixed_frame(pytest.importorskip("pandas"))
    given = dict(shadows="nn", num_shadows=2, num_epochs=1, attacks="loss", population=(frame[:9], Y[:9]))
    found = mia.audit(lambda frame: TARGET(X[: len(frame)]), frame, Y, MEMBER, **given)
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


@pytest.mark.filterwarnings("ignore:The shadows")  # are in doubt after so few epochs
@pytest.mark.integration
@pytest.mark.parametrize("shadows", ["fit", "nn"])
def test_an_attack_trains_further_shadows_where_something_trains_them(tmp_path, shadows):
    """CMIA with a user's fit and with networks of ours; a second call finds what was trained."""
    rng = np.random.default_rng(0)
    x, y, member = rng.normal(size=(700, 4)), np.arange(700) % C, rng.permutation(700) < 350

    def train(x_own, y_own, *, seed):
        known, shift = {row.tobytes() for row in x_own}, np.random.default_rng(seed).normal(size=C) / 3

        def predict(asked):
            inside = np.array([row.tobytes() in known for row in np.asarray(asked)])
            right = np.eye(C)[[of[row.tobytes()] for row in np.asarray(asked)]]
            z = right * (1 + 2 * inside[:, None]) + shift + np.asarray(asked)[:, :C] / 3
            return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

        return predict

    of = {row.tobytes(): int(label) for row, label in zip(x, y, strict=True)}
    target, told = train(x[member], y[member], seed=1), []
    some = dict(attacks="lira_fixed,cmia", num_shadows=6, cascade_shadows=4, cascade_false_negatives=200)
    more = {} if shadows == "fit" else dict(num_epochs=3, hidden=8)
    call = functools.partial(mia.audit, target, x, y, member, notify=told.append, workdir=tmp_path, **some, **more)
    trainer = train if shadows == "fit" else "nn"
    result = call(shadows=trainer)
    assert "An attack trains 4 models of its own, on 332 records each" in told  # (700 - 35) // 2
    assert result["cmia"].auc.value is not None
    made = sorted((tmp_path / ("answers" if shadows == "fit" else "models")).iterdir())
    assert len(made) == 6 + 4
    again = call(shadows=trainer)
    assert sorted(made[0].parent.iterdir()) == made and again["cmia"].auc == result["cmia"].auc


@pytest.mark.integration
def test_a_shadow_that_is_lost_takes_no_attack_along_that_trains_others():
    """Its partner is left out, too; that was refused, once all shadows were trained, as if nothing could train."""
    trained = []

    def loses_one(x, y, *, seed):
        model, lost = fit(x, y, seed=seed), len(trained) == 1
        trained.append(seed)
        return lambda asked: model(asked) * (np.nan if lost else 1)

    result = audit(attacks="lira,cmia", shadows=loses_one, num_shadows=S, cascade_rounds=1)
    assert [*result] == ["lira", "cmia"] and result.results["shadows"]["count"] == S - 2 and len(trained) == S


def test_a_round_of_which_no_model_is_left_ends_the_cascade():
    """As in a balanced audit; it was a TypeError."""
    config = InProcessConfig(brought=None)
    run = Run(config, config, None, jax.random.key(0), lambda line: None, silent, {})
    asked, none = infer.Answered(Y, TARGET(X), np.zeros((0, N, C))), (np.zeros((0, N, C)), np.zeros(0, int))
    formats = answer_formats.of_saved(TARGET(X), TARGET(X)[None], common=True)
    retrain = cascade.retraining(run, lambda run, key, member: none, asked, formats)
    kept, seen = retrain(run.root, np.eye(2, N, dtype=bool), lira.lira(C).observe)
    assert len(kept) == 0 and seen == {}


def test_without_a_trainer_no_attack_trains_shadows():
    with pytest.raises(InputError, match="cmia needs models to train"):
        audit(attacks="cmia")
    answered = {"shadows": RNG.dirichlet(np.ones(C), (4, N)), "shadow_member": RNG.random((4, N)) < 0.5}
    with pytest.raises(InputError, match=r"cmia needs trainer, which plain answers do not give; .* can run"):
        audit(attacks="cmia", shadows=answered)
