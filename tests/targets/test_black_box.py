"""Targets and what wraps them: answers are checked, counted, kept and hidden as they say."""

import os
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.targets import answer_format, answer_store, black_box
from mia_jax.types import Answers, InputError, Model, Target


def answers_of(rows, classes=4, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


class Oracle:
    """A target whose answers are a function of the record, and which remembers what it was asked."""

    def __init__(self, classes=4):
        self.classes, self.asked = classes, []

    def __call__(self, x):
        self.asked += [row.tobytes() for row in x]
        z = np.stack([np.sin(x.sum(axis=1) + c) for c in range(self.classes)], axis=1).astype(np.float64)
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    def target(self):
        return black_box.from_callable(self, self.classes)


def records(n, f=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, f)).astype(np.float32)


# --- targets ---------------------------------------------------------------------------------------------------------


def test_a_network_may_be_asked_inside_jit():
    weights = records(3, 4)
    model = Model(init=lambda key, x: weights, apply=lambda params, x, *, key=None: x @ params)
    target = black_box.as_target(model, jnp.asarray(weights), 4)
    x = records(8)
    log_p = jax.jit(target.ask)(x)
    assert target.traced and target.answers == Answers(4)
    np.testing.assert_allclose(np.exp(log_p).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.diff(log_p, axis=1), np.diff(x @ weights, axis=1), rtol=1e-4, atol=1e-5)


def test_scikit_learn_is_a_callable():
    from sklearn.linear_model import LogisticRegression

    x = records(60)
    model = LogisticRegression().fit(x, np.arange(60) % 3)
    target = black_box.from_callable(model.predict_proba, answer_format.recognize(model.predict_proba(x[:16])))
    assert target.answers == Answers(3) and not target.traced
    np.testing.assert_allclose(target.ask(x), model.predict_log_proba(x), rtol=1e-5)
    labels = black_box.from_callable(model.predict, Answers(3, "labels"))
    np.testing.assert_array_equal(labels.ask(x).argmax(1), model.predict(x))


def test_a_callable_that_answers_wrongly_is_refused():
    target = black_box.from_callable(lambda x: np.where(np.arange(len(x))[:, None] == 2, np.nan, answers_of(len(x))), 4)
    with pytest.raises(black_box.WrongAnswer, match="record 2"):
        target.ask(records(5))


def test_saved_predictions_answer_about_their_records_only():
    x, p = records(20), answers_of(20)
    target = black_box.from_predictions(x, p)
    np.testing.assert_allclose(target.ask(x[::-2]), np.log(p[::-2]), rtol=1e-5)
    with pytest.raises(black_box.TargetError, match="record 1"):
        target.ask(np.stack([x[0], x[1] + 1]))
    with pytest.raises(InputError, match="shape"):
        black_box.from_predictions(x, p[:7])


def test_defenses_compose_inside_out():
    target = black_box.defend(Oracle().target(), lambda z: z + 1, lambda z: z * 2, answers=Answers(4, digits=1))
    x = records(5)
    np.testing.assert_array_equal(target.ask(x), (Oracle().target().ask(x) + 1) * 2)
    assert target.answers.digits == 1
    assert black_box.defend(target).ask(x).tolist() == target.ask(x).tolist()


# --- the budget ------------------------------------------------------------------------------------------------------


def test_the_budget_is_never_passed_and_nothing_is_asked_by_the_question_that_would():
    oracle = Oracle()
    budget = black_box.Budget(10)
    target = black_box.budgeted(oracle.target(), budget)
    target.ask(records(7))
    with pytest.raises(black_box.BudgetSpent, match=r"4 more .* 10 queries, 7 of which") as error:
        target.ask(records(4))
    assert error.value.exit_code == 5
    assert len(oracle.asked) == 7 == budget.spent
    target.ask(records(3))
    assert len(oracle.asked) == 10


def test_a_budget_that_ends_loses_no_answer(tmp_path):
    oracle, x = Oracle(), records(10)
    target = black_box.cached(black_box.budgeted(oracle.target(), 6), tmp_path, name="oracle", batch=3)
    with pytest.raises(black_box.BudgetSpent):
        target.ask(x)
    assert len(oracle.asked) == 6
    more = black_box.cached(black_box.budgeted(oracle.target(), 4), tmp_path, name="oracle", batch=3)
    np.testing.assert_allclose(more.ask(x), Oracle().target().ask(x))
    assert len(oracle.asked) == len(set(oracle.asked)) == 10


def test_a_budget_on_disk_is_one_for_all_processes(tmp_path):
    path = tmp_path / "new" / "asked"
    first = black_box.Budget(10, path=path)
    assert not path.parent.exists()  # nothing was asked
    first.take(7)
    first.give_back(2)
    again = black_box.Budget(10, path=path)
    assert again.spent == 5
    with pytest.raises(black_box.BudgetSpent, match=r"6 more .* 10 queries, 5 of which"):
        again.take(6)
    assert black_box.Budget(10, path=path).spent == 5
    path.write_text("")  # killed between making the file and the first number: nothing was sent
    assert black_box.Budget(10, path=path).spent == 0
    path.write_text("many")
    with pytest.raises(InputError, match="write into it how many"):
        black_box.Budget(10, path=path)


@pytest.mark.integration
def test_a_killed_process_has_counted_what_it_asked(tmp_path):
    program = """
import os, pathlib, sys
from mia_jax.targets import black_box
budget = black_box.Budget(100, path=pathlib.Path(sys.argv[1]))
budget.take(60)
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", program, tmp_path / "asked"]
    assert subprocess.run(command, env=os.environ, timeout=60, check=False).returncode == -9
    assert black_box.Budget(100, path=tmp_path / "asked").spent == 60


# --- the cache -------------------------------------------------------------------------------------------------------


def test_no_record_is_asked_twice_not_even_within_a_question(tmp_path):
    oracle, x = Oracle(), records(12)
    target = black_box.cached(oracle.target(), tmp_path, name="a", batch=5)
    twice = np.concatenate([x, x[::-1]])
    want = Oracle().target().ask(twice)
    np.testing.assert_array_equal(target.ask(twice), want)
    np.testing.assert_array_equal(target.ask(x), want[:12])
    again = black_box.cached(Oracle().target(), tmp_path, name="a")
    np.testing.assert_array_equal(again.ask(twice), want)
    assert len(oracle.asked) == 12


def test_another_target_has_other_answers(tmp_path):
    x = records(4)
    black_box.cached(Oracle().target(), tmp_path, name="a").ask(x)
    other = Oracle()
    black_box.cached(other.target(), tmp_path, name="b").ask(x)
    assert len(other.asked) == 4
    with pytest.raises(InputError, match="4 classes"):
        black_box.cached(Oracle(5).target(), tmp_path, name="a")


def test_records_of_another_shape_or_type_are_other_records():
    x = np.zeros((2, 4), np.float32)
    keys = {black_box.record_keys(v)[0] for v in (x, x.reshape(2, 2, 2), x.astype(np.int32), x.astype(np.float64))}
    assert len(keys) == 4 and len(set(black_box.record_keys(x))) == 1


@pytest.mark.parametrize("damage", ["torn", "flipped", "header only"])
def test_a_damaged_file_costs_questions_never_answers(tmp_path, damage):
    x = records(10)
    black_box.cached(Oracle().target(), tmp_path, name="a", batch=1).ask(x)
    path = answer_store.store_path(tmp_path, "a")
    content = bytearray(path.read_bytes())
    if damage == "torn":
        content = content[:-5]
    elif damage == "flipped":
        content[-30] ^= 1  # in the last row's log-probabilities or key
    else:
        content = content[: content.index(b"\n") - 3]
    path.write_bytes(content)
    oracle = Oracle()
    want = Oracle().target().ask(x)
    np.testing.assert_array_equal(black_box.cached(oracle.target(), tmp_path, name="a").ask(x), want)
    assert len(oracle.asked) == (10 if damage == "header only" else 1)
    last = Oracle()
    np.testing.assert_array_equal(black_box.cached(last.target(), tmp_path, name="a").ask(x), want)
    assert last.asked == []


def test_a_file_of_something_else_is_refused(tmp_path):
    answer_store.store_path(tmp_path, "a").write_text("hello\n")
    with pytest.raises(InputError, match="remove it"):
        black_box.cached(Oracle().target(), tmp_path, name="a")
    with pytest.raises(InputError, match="remove it"):
        answer_store.stored_answers(tmp_path, "a")


@pytest.mark.parametrize("damage", ["first byte", "line break", "another digit", "shorter", "longer", "gone"])
def test_a_damaged_first_line_costs_no_answer(tmp_path, damage):
    """They may have been paid for. The rows say themselves whether they are whole."""
    x = records(10)
    black_box.cached(Oracle().target(), tmp_path, name="a", batch=1).ask(x)
    path = answer_store.store_path(tmp_path, "a")
    before = path.read_bytes()
    end = before.index(b"\n") + 1
    changed = {
        "first byte": b"x" + before[1:],
        "line break": before[: end - 1] + b"\0" + before[end:],
        "another digit": before.replace(b'"classes": 4', b'"classes": 3'),
        "shorter": before[5:],
        "longer": b"12345" + before,
        "gone": before[end:],
    }[damage]
    path.write_bytes(changed)
    assert answer_store.stored_answers(tmp_path, "a") is None  # as if nothing were kept: the caller finds out again
    oracle = Oracle()
    with pytest.warns(UserWarning, match=r"first line of .* is damaged: it is written anew, and 10 answers are kept"):
        again = black_box.cached(oracle.target(), tmp_path, name="a")
    np.testing.assert_array_equal(again.ask(x), Oracle().target().ask(x))
    assert oracle.asked == [] and path.read_bytes() == before
    assert answer_store.stored_answers(tmp_path, "a") == Answers(4)


def test_answers_that_were_exchanged_are_refused(tmp_path):
    """Two targets, one folder: neither is taken for the other."""
    x = records(4)
    for name in "ab":
        black_box.cached(Oracle().target(), tmp_path, name=name).ask(x)
    a, b = (answer_store.store_path(tmp_path, name) for name in "ab")
    a.rename(tmp_path / "c")
    b.rename(a)
    (tmp_path / "c").rename(b)
    for name, other in ("ab", "ba"):
        for use in (
            answer_store.stored_answers,
            lambda folder, name: black_box.cached(Oracle().target(), folder, name=name),
        ):
            with pytest.raises(InputError, match=f"holds answers of '{other}', not of '{name}': rename it to"):
                use(tmp_path, name)


def test_links_wipe_nothing(tmp_path):
    """Neither the file of answers nor the count of questions is written through a link."""
    thesis = tmp_path / "thesis.txt"
    for content in ("", "three years", "17\n"):
        thesis.write_text(content)
        for path in (answer_store.store_path(tmp_path, "a"), tmp_path / "asked"):
            path.unlink(missing_ok=True)
            path.symlink_to(thesis)
        for use in (
            lambda: black_box.cached(Oracle().target(), tmp_path, name="a"),
            lambda: answer_store.stored_answers(tmp_path, "a"),
            lambda: black_box.Budget(10, path=tmp_path / "asked"),
            lambda: answer_store.write_count(tmp_path / "asked", 3),
        ):
            with pytest.raises(InputError):
                use()
        assert thesis.read_text() == content
    path.unlink()
    answer_store.store_path(tmp_path, "a").unlink()
    answer_store.store_path(tmp_path, "a").write_bytes(bytes(range(11, 200)))  # no line break, and nothing of ours
    with pytest.raises(InputError, match="is not a file of answers: remove it"):
        black_box.cached(Oracle().target(), tmp_path, name="a")
    assert answer_store.store_path(tmp_path, "a").read_bytes() == bytes(range(11, 200))


def test_a_wrong_answer_is_numbered_in_the_question_not_in_the_batch(tmp_path):
    x = records(10)

    def predict(rows):
        p = Oracle()(rows)
        p[np.isin(rows[:, 0], x[7, 0])] = np.nan
        return p

    target = black_box.cached(black_box.from_callable(predict, 4), tmp_path, name="a", batch=3)
    with pytest.raises(black_box.WrongAnswer, match="record 7"):
        target.ask(x)


@pytest.mark.integration
def test_a_killed_process_keeps_what_it_asked(tmp_path):
    program = """
import os, sys, numpy as np
from mia_jax.targets import black_box
def predict(x):
    if predict.calls == 3: os.kill(os.getpid(), 9)
    predict.calls += 1
    return np.full((len(x), 2), 0.5)
predict.calls = 0
target = black_box.from_callable(predict, 2)
black_box.cached(target, sys.argv[1], name="a", batch=4).ask(np.arange(40.0).reshape(20, 2))
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path], env=os.environ, timeout=60, check=False)
    assert done.returncode == -9
    kept = answer_store.AnswerStore(Answers(2), tmp_path, "a")
    x = np.arange(40.0).reshape(20, 2)
    assert kept.find(black_box.record_keys(x))[1].tolist() == [True] * 12 + [False] * 8


@hypothesis.given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(1, 7))
@hypothesis.settings(deadline=None, max_examples=40)
def test_the_store_is_a_dictionary(questions, batch):
    kept, plain = answer_store.AnswerStore(Answers(3)), {}
    for i in range(0, len(questions), batch):
        part = questions[i : i + batch]
        keys = [bytes([q]) * 32 for q in part]
        kept.put(keys, np.array([[q, i, -q] for q in part], np.float32))
        plain |= {key: [q, i, -q] for key, q in zip(keys, part, strict=True)}
    asked = [bytes([q]) * 32 for q in range(41)]
    log_p, found = kept.find(asked)
    assert found.tolist() == [key in plain for key in asked] and len(kept) == len(plain)
    assert [row.tolist() for row in log_p[found]] == [plain[key] for key in asked if key in plain]


def test_a_cached_target_is_a_host_target(tmp_path):
    traced = Target(lambda x: jax.nn.log_softmax(x), Answers(3))
    assert not black_box.cached(traced, tmp_path, name="a").traced
    assert not black_box.budgeted(traced, 3).traced
    assert black_box.defend(traced).traced
