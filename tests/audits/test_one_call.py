"""``mia_jax.audit``: whatever answers, audited in one call, by the same path as the scripts."""

import builtins
import functools
import html.parser
import json

import numpy as np
import pytest

import mia_jax as mia
from mia_jax import audits
from mia_jax.attacks.thresholds import best_threshold
from mia_jax.audits.config import DeployedConfig
from mia_jax.plans import training_plan
from mia_jax.statistics import metrics
from mia_jax.targets import platforms
from mia_jax.types import InputError

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


@pytest.mark.parametrize(
    "kind", ["array", pytest.param("frame", marks=pytest.mark.integration), "without shadows", "of numbers"]
)
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
