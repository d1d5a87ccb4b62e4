"""The audit of a model behind a URL: what it may ask, what it counts, and what it says when that does not work."""

import collections
import contextlib
import functools

import jax
import numpy as np
import pytest
from small_runs import Told, own_module

from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.audits.deployed import infer, records, shadow_source
from mia_jax.progress import silent
from mia_jax.synthesis.search import PRIOR_QUERIES
from mia_jax.targets import black_box, remote, server
from mia_jax.types import InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

N, F, C, MEMBERS = 60, 10, 3, 12
PULL = np.zeros((F, C))
PULL[:2] = [[-3, 6, 0], [-3, 0, 6]]
X = np.random.default_rng(0).permutation(2**F)[:N, None] >> np.arange(F) & 1  # different ones


class Service:
    """Answers by a formula, counts what it is asked, and has no answer about what is broken."""

    def __init__(self):
        self.asked, self.broken = collections.Counter(), None

    def ask(self, x):
        self.asked.update(row.tobytes() for row in np.asarray(x, np.uint8))
        z = x @ PULL
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        if self.broken is not None:
            broken = self.broken(x) if callable(self.broken) else (x == self.broken).all(axis=1)
            log_p[broken] = np.log(2)
        return log_p

    @contextlib.contextmanager
    def open(self, **given):
        with server.serve(black_box.Target(self.ask, black_box.Answers(C), traced=False), (F,), **given) as url:
            yield url


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def run(tmp_path, monkeypatch, no_pages):
    monkeypatch.setattr(remote, "Options", functools.partial(remote.Options, backoff=0.01, retries=2))
    y = (X @ PULL).argmax(axis=1)
    np.savez(tmp_path / "mine.npz", x=X.astype(np.uint8), y=y, member=np.arange(N) >= N - MEMBERS)

    def run(url, progress=silent, **given):
        small = dict(num_shadows=2, num_epochs=1, hidden=4, attacks="loss", k_max=3, k_min=1, iter_max=40)
        where = dict(data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run"))
        path = server.paths()[given.get("protocol", "vertex")]
        return audits.run(DeployedConfig(target=url + path, **(where | small | given)), progress=progress)

    return run


@pytest.fixture
def marginals(tmp_path):
    """As flags: nothing need be set aside for them."""
    np.savez(tmp_path / "m.npz", share=np.full(F, 0.5))
    return dict(shadow_data="marginal", marginals=str(tmp_path / "m.npz"))


@pytest.mark.integration
def test_tables_are_read_as_files_of_arrays_are(service, run, tmp_path):
    """The same scores; other records are read by the columns, categories and classes of those asked about."""
    names, classes = [f"b{k}" for k in range(F)], np.array(["bad", "good", "ugly"])
    member, y = np.arange(N) >= N - MEMBERS, (X @ PULL).argmax(axis=1)
    other = (X + 1) % 2
    of_other = (other @ PULL).argmax(axis=1)
    np.savez(tmp_path / "other.npz", x=other.astype(np.uint8), y=of_other)
    lines = [",".join(map(str, [*row, classes[c], int(m)])) for row, c, m in zip(X, y, member, strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join([",".join([*names, "verdict", "member"]), *lines]))
    lines = [",".join(map(str, [classes[c], *row[::-1]])) for row, c in zip(other, of_other, strict=True)]
    (tmp_path / "other.csv").write_text("\n".join([",".join(["verdict", *names[::-1]]), *lines]))
    tables = dict(data=str(tmp_path / "mine.csv"), shadow_data=str(tmp_path / "other.csv"), label="verdict")
    with service.open() as url:
        plain = run(url, shadow_data=str(tmp_path / "other.npz"), workdir=str(tmp_path / "a"))
        asked = service.asked.copy()
        found = run(url, workdir=str(tmp_path / "b"), **tables)
    assert service.asked == asked + asked
    assert found["attacks"]["loss"]["auc"] == plain["attacks"]["loss"]["auc"]
    assert found["dataset"]["class_names"] == classes.tolist() and "class_names" not in plain["dataset"]
    assert any("bad is 0, good is 1, ugly is 2" in note for note in found["dataset"]["notes"])


@pytest.mark.parametrize("first", [1, pytest.param(5, marks=pytest.mark.integration)])
@pytest.mark.integration
def test_labels_that_do_not_count_from_0_are_the_services_classes_in_order(service, run, tmp_path, marginals, first):
    """Labels 1 to c were refused; what may be meant in two ways still is."""
    y = (X @ PULL).argmax(axis=1)
    names = first + (y if first == 1 else 3 * y)
    lines = [
        ",".join(map(str, [*row, c, int(k >= N - MEMBERS)])) for k, (row, c) in enumerate(zip(X, names, strict=True))
    ]
    header = ",".join([*(f"b{k}" for k in range(F)), "class", "member"])
    (tmp_path / "mine.csv").write_text("\n".join([header, *lines]))
    np.savez(tmp_path / "odd.npz", x=X.astype(np.uint8), y=np.where(y == 0, 1, 9), member=np.arange(N) < MEMBERS)
    with service.open() as url:
        found = run(url, data=str(tmp_path / "mine.csv"), **marginals)
        with pytest.raises(InputError, match="has the label 9, and the target answers 3 classes: number them from 0"):
            run(url, data=str(tmp_path / "odd.npz"), workdir=str(tmp_path / "odd"), **marginals)
    assert found["target"]["train_accuracy"] == found["target"]["test_accuracy"] == 1
    said = "Labels 1 to 3 are taken for the 3 classes" if first == 1 else "5, 8, 11 are taken for the 3 classes"
    assert sum(said in note for note in found["dataset"]["notes"]) == 1 and found["dataset"]["classes"] == 3


# --- the budget ------------------------------------------------------------------------------------------------------


def told_once(service, run, left, **given):
    """The result of a run with so many queries left for the synthesis, after the same command was given twice."""
    with service.open(labels=["bad", "good", "ugly"]) as url:
        first = run(url, max_queries=N + left, **given)
        asked = service.asked.copy()
        again = run(url, max_queries=N + left, recheck=0, **given)
    assert {row.tobytes() for row in X.astype(np.uint8)} == set(list(asked)[:N])
    assert set(asked.values()) == {1} and service.asked == asked
    assert first["target"]["records_asked"] == again["target"]["records_asked"] == asked.total() <= N + left
    assert first["target"]["train_accuracy"] == first["target"]["test_accuracy"] == 1
    return first


def test_the_records_in_question_are_asked_and_the_synthesis_gets_the_rest(service, run, marginals):
    """And classes may have names."""
    found = told_once(service, run, 30, protocol="google", class_names="bad, good,ugly", **marginals)
    assert found["shadows"]["synthesis"]["queries"] == 30
    assert service.asked.total() > N + 25  # some of those drawn are known already


@pytest.mark.integration
def test_a_search_ends_before_the_records_in_question_are_in_want(service, run):
    found = told_once(service, run, 300, shadow_data="search", shadow_records=1000)
    assert found["shadows"]["synthesis"]["exhausted"] and found["shadows"]["synthesis"]["queries"] == 300


def test_what_a_broken_run_asked_is_spent(service, run, marginals):
    service.broken, given = X[40], dict(max_queries=N + C, **marginals)
    with service.open() as url:
        with pytest.raises(black_box.WrongAnswer):
            run(url, **given)
        assert service.asked.total() == N + 2  # two more tries
        service.broken = None
        with pytest.raises(black_box.BudgetSpent, match=r"59 answers are an earlier run's, .* raise it by 8"):
            run(url, **given)
        given["recheck"] = 0
        for _ in range(2):
            with pytest.raises(black_box.BudgetSpent, match=f"budget of {N + C} queries, {N + C} of which are spent"):
                run(url, **given)
            assert service.asked.total() == N + C


@pytest.mark.integration
def test_what_was_paid_for_is_in_the_bucket_whatever_ends_a_run(service, run, marginals, tmp_path, monkeypatch):
    """Another machine, which has nothing, asks about what is missing alone, and counts on."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    monkeypatch.setattr(type(memory), "store", {})
    monkeypatch.setattr(type(memory), "pseudo_dirs", [""])
    service.broken, given = X[40], dict(max_queries=N + 300, recheck=0, workdir="memory://b/run", **marginals)
    with service.open() as url:
        monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "one"))
        with pytest.raises(black_box.WrongAnswer):
            run(url, **given)
        service.broken, asked = None, service.asked.total()
        monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "two"))
        made = run(url, **given)
        assert service.asked[X[0].astype(np.uint8).tobytes()] == 1
        assert made["target"]["records_asked"] == service.asked.total() > asked
        assert int(memory.cat_file("/b/run/target/asked")) == service.asked.total()
        run(url, **given | dict(workdir=str(tmp_path / "local")))
    assert memory.cat_file("/b/run/scores.npz") == (tmp_path / "local" / "scores.npz").read_bytes()


@pytest.mark.parametrize(
    ("given", "needed", "what"),
    [
        (dict(), 36, "36 for the records in question;"),
        (dict(shadow_data="noisy"), 36, "36 for the records in question;"),
        (dict(shadow_data="marginal"), 39, "36 for the records in question and 3 or more for `shadow_data=marginal`"),
        (dict(shadow_data="search"), 63, "60 for the records in question and 3 or more for `shadow_data=search`"),
        (dict(shadow_data="search", num_classes=10), 70, "and 10 or more for"),
        (dict(shadow_data="search", class_prior="target"), 63 + PRIOR_QUERIES, "4,099 or more for"),
        (dict(attacks="glira"), 60, "36 for the records in question and 24 for records of your own;"),
        (dict(shadow_labels="target"), 60, "36 for the records in question and 24 for records of your own;"),
    ],
)
def test_a_budget_that_cannot_do_is_refused_before_anything_is_asked(service, run, tmp_path, given, needed, what):
    with service.open() as url, pytest.raises(InputError, match=f"at least {needed:,} are needed, .*{what}") as error:
        run(url, max_queries=needed - 1, **given)
    assert not service.asked and not (tmp_path / "run").exists() and "\n" not in str(error.value)


@pytest.mark.slow
def test_an_audit_of_a_service_tells_how_far_it_is(service, run):
    told = Told()
    with service.open() as url:
        found = run(url, attacks="shokri,loss,entropy", attack_steps=10, progress=told)
    told.check(["loss", "entropy"], parts=2)
    assert list(found["attacks"]) == ["shokri", "loss", "entropy"]


# --- what it says ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [10, 31])  # one of the first, that are asked to learn what is answered, and another
def test_a_wrong_answer_names_the_row_of_the_file(service, run, tmp_path, place):
    config = DeployedConfig(data=str(tmp_path / "mine.npz"))
    _, asked = shadow_source.set_aside(config, jax.random.key(0), records.load_question(config.data))
    row = asked[place]
    assert row > place
    service.broken = X[row]
    with service.open() as url, pytest.raises(black_box.WrongAnswer) as error:
        run(url)
    assert error.value.record == place
    assert str(error.value).startswith(f"the answer to row {row} of {config.data}, counted from 0, cannot be used: ")
    assert "sum to 6, not to 1" in str(error.value) and "mend the service" in str(error.value)


def test_a_wrong_answer_about_a_synthesized_record_is_no_row(service, run, marginals):
    known = {row.tobytes() for row in X.astype(np.uint8)}
    service.broken = lambda x: np.array([row.astype(np.uint8).tobytes() not in known for row in x])
    with service.open() as url, pytest.raises(black_box.WrongAnswer, match="answer to a synthesized record cannot be"):
        run(url, **marginals)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(class_names="a"), "`class_names=a` must be names"),
        (dict(class_names="a,b,a"), "must be names, each once"),
        (dict(class_names="a,,b"), "must be names"),
        (dict(class_names="a,b,c", num_classes=4), "has 3 names and `num_classes=4`: leave one out"),
        (dict(shadow_data="search", k_min=9), "`k_min=9` must not be above `k_max=3`"),
        (
            dict(attacks="boundary"),
            "boundary needs features and queries, which plain answers do not give; shokri, .* can run",
        ),
        (dict(attacks="trajectory"), "trajectory needs features and queries and trainer, which plain answers"),
        (dict(attacks="lira"), "lira needs shadows that trained on some of the records in question; shokri, "),
        (dict(attacks=" ,"), "attacks names no attack; there are shokri, "),
        (dict(attacks="majority"), "majority says the same of everybody"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked(service, run, given, said):
    with service.open() as url, pytest.raises(InputError, match=said):
        run(url, **given)
    assert not service.asked


def test_attacks_that_compare_shadows_need_both_kinds():
    everywhere = np.ones((2, 5), bool)
    with pytest.raises(InputError, match="loss needs shadows that trained on some of the records in question, and not"):
        infer.attack_names("loss", same_records=True, member=everywhere)
    assert "lira" in infer.attack_names("all", same_records=True, member=np.eye(2, 5) > 0)
    assert {"lira_offline", "pmia"} <= {*infer.attack_names("all", same_records=True)}
    assert "pmia" not in infer.attack_names("all", same_records=True, member=np.zeros((2, 5), bool))
    with pytest.raises(InputError, match="pmia needs shadows that trained on some of the records in question"):
        infer.attack_names("pmia", same_records=True, member=np.zeros((2, 5), bool))


# --- records of the adversary's own, about which the target is asked, too --------------------------------------------


@pytest.mark.integration
def test_shadows_learn_what_the_target_answers_about_their_records(service, run, tmp_path):
    """The same shadows as where the file has these labels; what they train on is asked about once, and counted."""
    y = (X @ PULL).argmax(axis=1)
    other = (X[: 2 * MEMBERS] + 1) % 2  # as many as a shadow takes
    true = (other @ PULL).argmax(axis=1)
    for name, labels in (("wrong", (true + 1) % C), ("right", true)):
        np.savez(tmp_path / f"{name}.npz", x=other.astype(np.uint8), y=labels)
    given = dict(num_epochs=3, attacks="loss,rmia_offline", recheck=0)
    with service.open() as url:
        needed = N + 2 * MEMBERS
        for budget in (needed - 1, N):
            with pytest.raises(InputError, match=f"{needed} are needed, .* {2 * MEMBERS} of your own"):
                wrong = dict(shadow_data=str(tmp_path / "wrong.npz"), shadow_labels="target")
                run(url, max_queries=budget, workdir=str(tmp_path / "few"), **wrong, **given)
        assert service.asked.total() < N / 2  # to learn what is answered
        told = run(url, max_queries=needed, workdir=str(tmp_path / "few"), **wrong, **given)
        assert service.asked.total() == told["target"]["records_asked"] == needed
        own = run(url, shadow_data=str(tmp_path / "right.npz"), workdir=str(tmp_path / "own"), **given)
    assert len(y) == N and told["shadows"]["data"].endswith("labeled by the target")
    assert told["shadows"]["test_accuracy"] == own["shadows"]["test_accuracy"]
    for name in ("loss", "rmia_offline"):
        assert told["attacks"][name]["auc"] == own["attacks"][name]["auc"]
    assert told["config"]["shadow_labels"] == "target" and "shadow_labels" not in own["config"]


@pytest.mark.integration
def test_shadows_learn_all_that_the_target_answers(service, run, tmp_path):
    """The least value of their loss is the entropy of the answers, which is what they come to."""
    other = (X[: 2 * MEMBERS] + 1) % 2
    np.savez(tmp_path / "other.npz", x=other.astype(np.uint8), y=(other @ PULL).argmax(axis=1))
    given = dict(shadow_data=str(tmp_path / "other.npz"), num_epochs=400, attacks="loss", recheck=0, batch_size=12)
    with service.open() as url:
        soft = run(url, max_queries=N + 2 * MEMBERS, shadow_labels="target_probabilities", hidden=64, **given)
        with pytest.raises(InputError, match="is for our own networks; other trainers take classes"):
            where = dict(workdir=str(tmp_path / "other"), shadow_labels="target_probabilities")
            run(url, target_kind="sklearn:sklearn.naive_bayes.BernoulliNB", hidden=128, num_epochs=100, **where)
    assert soft["config"]["shadow_labels"] == "target_probabilities"
    p = np.exp(Service().ask(other))
    entropy = np.sort(-(p * np.log(p)).sum(axis=1))  # each network trains on a half of them
    models = [dict(np.load(path)) for path in (tmp_path / "run" / "models").glob("*.npz")]
    assert len(models) == 2
    for model in models:
        assert 0.01 < entropy[:MEMBERS].mean() <= model["loss"][-1] < entropy[MEMBERS:].mean() + 0.05
        assert model["loss"][-1] < model["loss"][0] / 2


@pytest.mark.integration
def test_a_service_is_imitated_by_asking_about_records_of_ones_own(service, run, tmp_path):
    """Once, however often the command is given. It is asked so where that is wished for by name."""
    assert {*infer.attack_names("all", same_records=True, imitators=True)}.isdisjoint(("glira", "imia"))
    given = dict(attacks="glira,loss,imia", num_epochs=2, recheck=0)
    with service.open() as url:
        found = run(url, max_queries=N, **given)  # all that is in the file: 36 in question, 24 set aside
        assert service.asked.total() == found["target"]["records_asked"] == N and set(service.asked.values()) == {1}
        again = run(url, max_queries=N, **given | dict(attacks="glira"))
        assert service.asked.total() == N
    assert [*found["attacks"]] == ["glira", "loss", "imia"]
    assert found["attacks"]["glira"]["auc"] == again["attacks"]["glira"]["auc"]
    assert "no shadow model in its place" in found["attacks"]["glira"]["accuracy"]["reason"]
    assert found["attacks"]["glira"]["auc"]["value"] is not None


# --- shadows of a user's trainer -------------------------------------------------------------------------------------


def test_any_function_trains_the_shadows(service, run, tmp_path, monkeypatch):
    """``--trainer=module:fit``, with records as they are in the file."""
    name = own_module(
        tmp_path,
        monkeypatch,
        "import numpy as np\n"
        "def fit(x, y, *, seed):\n"
        "    assert x.dtype == np.uint8 and y.dtype.kind == 'i'\n"
        "    share = np.array([(x[y == c].sum(0) + 1) / ((y == c).sum() + 2) for c in range(3)])\n"
        "    def predict(asked):\n"
        "        log_p = np.log(np.where(asked[:, None] > 0, share, 1 - share)).sum(-1)\n"
        "        return np.exp(log_p) / np.exp(log_p).sum(1, keepdims=True)\n"
        "    return predict\n",
    )
    with service.open() as url:
        found = run(url, target_kind=f"{name}:fit", attacks="loss,rmia_offline,pmia", hidden=128, num_epochs=100)
    assert found["shadows"]["count"] == 2 and found["shadows"]["test_accuracy"] > 0.5
    assert {*found["attacks"]} == {"loss", "rmia_offline", "pmia"}
