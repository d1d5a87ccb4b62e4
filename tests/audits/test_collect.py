"""A plan to train by, and the answers of its models gathered file by file."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

import mia_jax as mia
from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.plans import training_plan
from mia_jax.types import InputError

N, K, C = 120, 6, 3
PLAN = mia.plan(N, K)
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
MEMBER = RNG.random(N) < 0.5
SURE = np.concatenate([PLAN.member, MEMBER[None]])  # whom each model, and the target after them, has trained on
LOGITS = (RNG.normal(size=(K + 1, N, C)) + np.eye(C)[Y] * (1 + 2 * SURE[..., None])).astype(np.float32)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    """What a user has when all models have answered."""
    PLAN.save(tmp_path / "plan.npz")
    for k in (3, 0, 5, 1, 4, 2):
        np.save(tmp_path / f"run2-model-{k:03d}.npy", P[k])
    np.save(tmp_path / "labels.npy", Y)
    np.save(tmp_path / "target.npy", P[K])
    np.save(tmp_path / "member.npy", MEMBER)
    return tmp_path


def test_files_come_together_in_the_order_of_the_plan(folder):
    found = mia.collect(folder / "plan.npz", folder, out=folder / "out.npz")
    np.testing.assert_array_equal(found["shadows"], P[:K])
    np.testing.assert_array_equal(found["shadow_member"], PLAN.member)
    with np.load(folder / "out.npz") as written:
        assert {*written.files} == {"labels", "target", "member", "shadows", "shadow_member"}


OTHERS = {  # what people save instead of .npy, and what makes it one
    ".pt": (lambda path, p: path.write_bytes(b"PK"), r"np.save\(path, torch.load\(file, weights_only=True\)"),
    ".csv": (
        lambda path, p: np.savetxt(path, p, delimiter=","),
        r"np.save\(path, pandas.read_csv\(file\).to_numpy\(\)\)",
    ),
    ".json": (
        lambda path, p: path.write_text(json.dumps(p.tolist())),
        r"np.save\(path, np.array\(json.load\(open\(file\)\)\)\)",
    ),
    ".jsonl": (
        lambda path, p: path.write_text("\n".join(map(str, p.tolist()))),
        r"np.save\(path, pandas.read_json\(file, lines=True\).to_numpy\(\)\)",
    ),
}


@pytest.mark.parametrize("suffix", OTHERS)
def test_files_of_other_kinds_are_named_with_what_makes_them_npy(suffix, folder):
    """ "there is no model's file yet", and nothing at all beside other models' .npy."""
    save, move = OTHERS[suffix]
    for k in range(K):
        save(folder / f"run2-model-{k:03d}{suffix}", P[k])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mia.collect(PLAN, folder)  # beside the answers of all they may be checkpoints
    (folder / "run2-model-003.npy").unlink()
    with pytest.warns(UserWarning, match=f"missing: 3; run2-model-003{suffix} is not read: {move}"):
        mia.collect(PLAN, folder)
    with pytest.raises(InputError, match=f"of a kind that is not read: {move}"):
        mia.collect(PLAN, {3: folder / f"run2-model-003{suffix}"})
    for path in folder.glob("run2*.npy"):
        path.unlink()
    with pytest.raises(InputError, match=f"no model's file yet; .* and 5 more are not read: {move}"):
        mia.collect(PLAN, folder)


def test_a_target_of_another_kind_is_named(folder):
    (folder / "target.npy").rename(folder / "target.pt")
    with pytest.raises(InputError, match=r"has no target.npy; .*; target.pt is not read: .*torch.load"):
        audits.run(DeployedConfig(predictions=str(folder)))


def test_files_that_count_from_1_are_told(folder):
    """They were "of model 6, and the plan has models 0 to 5", or, without the last one, read as their neighbors'."""
    for path in folder.glob("run2*.npy"):
        path.unlink()
    for k in range(K):
        np.save(folder / f"model-{k + 1}.npy", P[k])
    with pytest.raises(
        InputError, match=r"files count from 1 \(model-1.npy to model-6.npy\), and plans from 0: .*model-0"
    ):
        mia.collect(PLAN, folder)
    (folder / "model-6.npy").unlink()
    with pytest.warns(
        UserWarning, match="missing: 0; plans count from 0: if your files count from 1, model-1 is model 0"
    ):
        mia.collect(PLAN, folder)
    np.save(folder / "model-2-epoch20.npy", P[2])
    with pytest.raises(InputError, match="is of model 20, by the last number in its name, and the plan has"):
        mia.collect(PLAN, folder)


def test_the_number_that_differs_is_the_models(folder):
    """All files were of model 20, "by the last number in its name"."""
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").rename(folder / f"resnet18_shadow{k}_epoch20.npy")
    told = (
        r"last number in its name is of no model of the plan, or of several.*resnet18_shadow0_epoch20.npy is of model 0"
    )
    with pytest.warns(UserWarning, match=told):
        np.testing.assert_array_equal(mia.collect(PLAN, folder)["shadows"], P[:K])
    np.save(folder / "old-20.npy", P[3])  # and of a third kind
    with pytest.raises(InputError, match=r"both of model 20, .* or give a dict .* \{0: path, ...\}"):
        mia.collect(PLAN, folder)
    paths = {k: folder / f"resnet18_shadow{k}_epoch20.npy" for k in range(K)}
    np.testing.assert_array_equal(mia.collect(PLAN, paths)["shadows"], P[:K])


def test_a_time_in_the_names_is_no_number_of_a_model(folder):
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").rename(folder / f"model-{k}_17643887{K - k:02d}.npy")
    with pytest.warns(
        UserWarning, match=r"the one that tells them apart is the model's: model-0_1764388706.npy is of model 0"
    ):
        np.testing.assert_array_equal(mia.collect(PLAN, folder)["shadows"], P[:K])
    for k in range(K):
        (folder / f"model-{k}_17643887{K - k:02d}.npy").rename(folder / f"model-{k}_best{K - 1 - k}.npy")
    with pytest.raises(InputError, match=r"two numbers that tell its files apart, .* \{0: path, ...\}"):
        mia.collect(PLAN, folder)


def test_a_date_in_the_names_is_no_number_of_a_model(folder):
    """A day and the model's number both told the files apart."""
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").rename(folder / f"2026-11-0{K - k}_model-{k}.npy")
    np.testing.assert_array_equal(mia.collect(PLAN, folder)["shadows"], P[:K])
    for k in range(K):
        (folder / f"2026-11-0{K - k}_model-{k}.npy").rename(folder / f"2026-11-0{K - k}.npy")
    with pytest.raises(InputError, match="does not say which model's it is"):
        mia.collect(PLAN, folder)


def test_numbers_beyond_the_plan_are_named_before_one_that_is_the_same_in_all(folder):
    """They were "both of model 20"."""
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").rename(folder / f"model{k + 30}_epoch20.npy")
    with pytest.warns(UserWarning), pytest.raises(InputError, match=r"is of model 3[0-9], by the number that differs"):
        mia.collect(PLAN, folder)
    for k in range(K):
        (folder / f"model{k + 30}_epoch20.npy").rename(folder / f"model{k}-seed{k + 1}.npy")
    with pytest.warns(UserWarning, match="model0-seed1.npy is of model 0"):  # the other is of no plan that has K models
        np.testing.assert_array_equal(mia.collect(PLAN, folder)["shadows"], P[:K])


def test_files_that_count_from_1_beside_times(folder):
    """They were of a model 1764388701."""
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").rename(folder / f"model-{k + 1}_17643887{k:02d}.npy")
    with pytest.warns(UserWarning, match="is of model 1"), pytest.raises(InputError, match="files count from 1"):
        mia.collect(PLAN, folder)


def test_files_that_count_from_1_before_a_number_that_is_one_in_all(folder):
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").rename(folder / f"resnet18_shadow{k + 1}_epoch20.npy")
    with (
        pytest.warns(UserWarning, match="shadow1_epoch20.npy is of model 1"),
        pytest.raises(InputError, match="from 1"),
    ):
        mia.collect(PLAN, folder)


@pytest.mark.integration
def test_an_audit_of_the_folder_is_that_of_the_file_and_of_one_call(folder, tmp_path):
    mia.collect(PLAN, folder, out=folder / "preds.npz")
    scores = []
    for given in (folder, folder / "preds.npz"):
        config = DeployedConfig(predictions=str(given), workdir=str(tmp_path / given.stem / "w"), attacks="loss,lira")
        audits.run(config)
        with np.load(tmp_path / given.stem / "w" / "scores.npz") as f:
            scores.append({name: f[name] for name in f.files})
    one_call = mia.audit(
        P[K], RNG.normal(size=(N, 2)), Y, MEMBER, shadows=mia.collect(PLAN, folder), attacks="loss,lira"
    )
    for name in scores[0]:
        np.testing.assert_array_equal(scores[0][name], scores[1][name])
        np.testing.assert_array_equal(scores[0][name], one_call.scores[name])


def test_models_that_have_not_answered_yet_are_told_and_left_out(folder):
    (folder / "run2-model-004.npy").unlink()
    with pytest.warns(UserWarning, match="5 of 6 models have answered; missing: 4"):
        found = mia.collect(PLAN, folder)
    np.testing.assert_array_equal(found["shadows"], P[[0, 1, 2, 3, 5]])
    np.testing.assert_array_equal(found["shadow_member"], PLAN.member[[0, 1, 2, 3, 5]])


def test_a_folders_models_are_named_by_their_numbers(folder, tmp_path):
    """Where one has not answered yet, model 5 was called shadow 4."""
    (folder / "run2-model-004.npy").unlink()
    config = DeployedConfig(predictions=str(folder), workdir=str(tmp_path / "w"), attacks="loss")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notes = audits.run(config)["shadows"]["notes"]
    assert any(note.startswith("Shadow 5 (counted from 0) is left out") for note in notes), notes  # its pair is missing


@pytest.mark.parametrize("kind", ["logits", "log-probabilities", "named logits"])
def test_logits_are_read_as_such_and_that_is_said(folder, kind):
    log_p = np.log(P)
    for k in range(K):
        (folder / f"run2-model-{k:03d}.npy").unlink()
        named = {"logits": LOGITS[k]} if kind == "named logits" else {}
        given = LOGITS[k] if kind == "logits" else log_p[k]
        if named:
            np.savez(folder / f"{k}.npz", **named, digest=PLAN.digest, model=k)
        else:
            np.save(folder / f"{k}.npy", given)
    said = []
    found = mia.collect(PLAN, folder, notify=said.append)
    assert any(kind.removeprefix("named ") in line for line in said)
    np.testing.assert_allclose(found["shadows"], P[:K], rtol=1e-5)


def test_probabilities_are_not_changed_by_a_bit(folder):
    half = P.astype(np.float16)
    found = mia.collect(PLAN, {k: half[k] for k in range(K)})
    assert found["shadows"].dtype == np.float16
    np.testing.assert_array_equal(found["shadows"], half[:K])


def test_one_of_the_plan_s_models_may_be_the_target(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mia.collect(
            PLAN, {k: P[k] for k in range(K)}, labels=Y, target=2, notify=lambda line: pytest.fail(line)
        )
    np.testing.assert_array_equal(found["target"], P[2])
    np.testing.assert_array_equal(found["member"], PLAN.member[2])
    assert len(found["shadows"]) == K - 1


BAD = {
    "two of one": (lambda f: np.save(f / "m-3.npy", P[3]), r"are both of model 3"),
    "beyond": (
        lambda f: np.save(f / "m-9.npy", P[3]),
        "is of model 9, by the last number in its name, and the plan has models 0 to 5",
    ),
    "no number": (lambda f: np.save(f / "mine.npy", P[3]), "does not say which model's it is"),
    "rows": (lambda f: np.save(f / "run2-model-003.npy", P[3][:-1]), r"shape \(119, 3\); needed: \[120, c\]"),
    "classes": (lambda f: np.save(f / "run2-model-003.npy", np.full((N, 2), 0.5)), "several numbers of classes"),
    "kinds": (lambda f: np.save(f / "run2-model-003.npy", LOGITS[3]), "of several kinds"),
    "integers": (lambda f: np.save(f / "run2-model-003.npy", np.eye(3, dtype=int)[Y]), "holds int64"),
    "not finite": (lambda f: np.save(f / "run2-model-003.npy", P[3] * np.nan), "record 0: a number is not finite"),
    "one bad row": (
        lambda f: np.save(f / "run2-model-003.npy", np.where(np.arange(N)[:, None] == 7, 0.5, P[3])),
        "record 7: the probabilities sum to 1.5",
    ),
    "objects": (lambda f: np.save(f / "run2-model-003.npy", np.array([{}]), allow_pickle=True), "write p.astype"),
    "labels of objects": (
        lambda f: np.save(f / "labels.npy", np.array(["a", "b", "c"], object)[Y], allow_pickle=True),
        r"holds Python objects: write labels.astype\(str\)",
    ),
    "empty": (lambda f: (f / "run2-model-003.npy").write_bytes(b""), "cannot be read"),
    "another plan": (
        lambda f: (
            np.savez(f / "run2-model-003.npz", probabilities=P[3], digest="0" * 64)
            or (f / "run2-model-003.npy").unlink()
        ),
        "made by another plan",
    ),
    "neither": (lambda f: np.savez(f / "7.npz", model=3, p=P[3]), "both of model 3|needs probabilities or logits"),
    "labels": (lambda f: np.save(f / "labels.npy", Y[:-1]), r"labels has shape \(119,\)"),
    "target": (lambda f: np.save(f / "target.npy", P[K][:, :2]), "target.npy.*sum to less than 1 .*column of a class"),
    "no target": (lambda f: (f / "target.npy").unlink(), "has no target.npy"),
    "no plan": (lambda f: (f / "plan.npz").unlink(), "has no plan.npz"),
    "no models": (lambda f: [path.unlink() for path in f.glob("run2*")], "no model's file yet"),
    "another digest": (
        lambda f: np.savez(f / "plan.npz", member=~PLAN.member, seeds=PLAN.seeds, digest=PLAN.digest),
        "its digest is not that of its member",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line(folder, case):
    spoil, message = BAD[case]
    spoil(folder)
    with pytest.raises(InputError, match=message) as error:
        audits.run(DeployedConfig(predictions=str(folder), workdir=str(folder / "w"), attacks="loss"))
    assert "\n" not in str(error.value)


def test_a_plan_changes_nobody_when_models_are_added():
    few, many = mia.plan(N, 4), mia.plan(N, 10)
    np.testing.assert_array_equal(few.member, many.member[:4])
    np.testing.assert_array_equal(few.seeds, many.seeds[:4])
    assert (many.member.sum(axis=0) == 5).all() and (many.seeds < 2**31).all()
    one = training_plan.plan(N, 3, train_size=70)
    assert (one.member.sum(axis=1) == 70).all() and len({row.tobytes() for row in one.member}) == 3
    for wrong in (dict(num_records=1), dict(num_models=0), dict(num_models=3), dict(train_size=N)):
        with pytest.raises(InputError):
            mia.plan(**(dict(num_records=N, num_models=4) | wrong))


@pytest.mark.integration
def test_the_script_writes_a_plan(tmp_path):
    def script(*argv):
        command = [sys.executable, "scripts/plan.py", *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    out = f"--out={tmp_path}/answers/plan.npz"  # as in docs/predictions.md: a folder that is not there
    done = script(f"--num_records={N}", f"--num_models={K}", out, f"--rows={tmp_path}/rows")
    assert done.returncode == 0, done.stderr
    plan = training_plan.load(tmp_path / "answers" / "plan.npz")
    np.testing.assert_array_equal(plan.member, PLAN.member)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "rows" / "rows-3.txt", dtype=int), PLAN.rows(3))
    assert script(f"--num_records={N}", f"--num_models={K}", out).returncode == 0  # the same once more
    done = script(f"--num_records={N}", f"--num_models={K}", "--seed=1", out)
    assert done.returncode == 2 and "another plan, by which models may have been trained" in done.stderr
    np.testing.assert_array_equal(training_plan.load(tmp_path / "answers" / "plan.npz").member, PLAN.member)
    (tmp_path / "other.npz").write_text("hello")
    done = script(f"--num_records={N}", f"--num_models={K}", f"--out={tmp_path}/other.npz")
    assert done.returncode == 2 and "or no plan: give another --out, or remove it" in done.stderr
    for wrong in (("--num_records=0", out), ("--num_records=9", "--num_models=3", out), ("--num_records=9", "--out=x")):
        done = script(*wrong)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("given", [list, np.stack, lambda answers: [p.tolist() for p in answers]])
def test_answers_in_one_list_or_array_are_those_of_models_0_to_the_last(given):
    """It was a TypeError of pathlib."""
    p = np.full((len(PLAN.member), PLAN.member.shape[1], 2), 0.5)
    p[:, :, 0] += np.linspace(0, 0.4, len(p))[:, None]
    p[:, :, 1] = 1 - p[:, :, 0]
    np.testing.assert_allclose(mia.collect(PLAN, given([*p]))["shadows"], p)


@pytest.mark.parametrize("given", [[P[0], P[1]], np.stack(P[:2]), (p.tolist() for p in P[:2])])
def test_answers_in_one_list_of_fewer_models_are_those_of_the_first(given):
    said = []
    arrays = mia.collect(PLAN, given, notify=said.append)
    assert len(arrays["shadows"]) == 2 and np.array_equal(arrays["shadow_member"], PLAN.member[:2])
    assert any(f"2 of {K} models have answered; missing: 2" in line for line in said)


def test_answers_in_one_list_of_more_models_than_the_plan_has_are_refused():
    with pytest.raises(InputError, match=rf"of model {K}, and the plan has models 0 to {K - 1}"):
        mia.collect(PLAN, [*P[:K], P[0]])


def test_answers_of_models_by_their_numbers():
    """None stands for a model that has not answered; numbers of NumPy are numbers, too."""
    said = []
    arrays = mia.collect(PLAN, [P[0], None, P[2]], target=np.int64(2), notify=said.append)
    np.testing.assert_array_equal(arrays["shadows"], P[:1])
    np.testing.assert_array_equal(arrays["target"], P[2])
    with pytest.raises(InputError, match=r"'model-0' is no number of a model: give \{0: answers"):
        mia.collect(PLAN, {"model-0": P[0]})
    with pytest.raises(InputError, match=rf"are \[S, {N}, c\]; it has shape .* of one model give \{{0: p\}}"):
        mia.collect(PLAN, P[0])
