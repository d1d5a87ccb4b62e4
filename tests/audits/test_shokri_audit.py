"""The main job: what it writes, what it reuses, what it refuses."""

import json
import math
import shutil

import numpy as np
import pytest
from small_runs import LOGISTIC, SHADOWS, C, F, M, N, artifact_files, config, records, scores, write_data

from mia_jax import audits, data
from mia_jax.attacks.shokri import STRENGTHS
from mia_jax.audits import config as configs
from mia_jax.data import simulated
from mia_jax.reports.report import write_report
from mia_jax.reports.sections import method
from mia_jax.types import InputError

pytestmark = pytest.mark.usefixtures("no_pages")  # test_the_report_is_there has a run that drew one


@pytest.fixture
def again(finished, own, tmp_path):
    """A copy of the finished run, to be gone on with."""
    workdir = tmp_path / "again"
    shutil.copytree(finished[0], workdir)
    return workdir


# --- what it writes --------------------------------------------------------------------------------------------------

INTERVAL = {"value": float, "low": float, "high": float}
UNRESOLVED = {"value": None, "reason": str}
ATTACK = {
    "title": str,
    "accuracy": INTERVAL,
    "precision": (INTERVAL, UNRESOLVED),
    "recall": INTERVAL,
    "auc": INTERVAL,
    "tpr_at_fpr": {rate: (INTERVAL, UNRESOLVED) for rate in ("0.1", "0.01", "0.001")},
    "per_class": [{"class": int, "members": int, "non_members": int, "precision": object, "recall": object}],
    "unscored": int,
}
SCHEMA_1 = {
    "schema": int,
    "command": str,
    "date": str,
    "machine": str,
    "config": dict,
    "versions": {"python": str, "jax": str, "numpy": str},
    "devices": [str],
    "dataset": {
        "name": str,
        "title": str,
        "source": str,
        "digest": str,
        "records": int,
        "features": int,
        "classes": int,
        "class_counts": [int],
        "notes": list,
    },
    "target": {"kind": str, "train_records": int, "train_accuracy": float, "test_accuracy": float},
    "shadows": {"count": int, "train_records": int, "train_accuracy": float, "test_accuracy": float, "data": str},
    "attacks": {"shokri": ATTACK, "confidence": ATTACK, "majority": ATTACK},
    "classes_without_rows": list,
    "paper": {"rows": list},
    "seconds": {"data": float, "target": float, "shadows": float, "attack": float, "evaluation": float},
}


def matches(value, schema, at="results"):
    """Assert that a JSON value has the keys and types of a schema; further keys are welcome."""
    match schema:
        case dict():
            assert isinstance(value, dict), at
            for key, inner in schema.items():
                assert key in value, f"{at}[{key!r}]"
                matches(value[key], inner, f"{at}[{key!r}]")
        case [inner]:
            assert isinstance(value, list) and value, at
            for number, element in enumerate(value):
                matches(element, inner, f"{at}[{number}]")
        case tuple():
            matches(value, schema[1] if value["value"] is None else schema[0], at)
        case None:
            assert value is None, at
        case _:
            assert isinstance(value, schema), f"{at} = {value!r}"
            assert not isinstance(value, float) or math.isfinite(value), at


def test_results_are_of_schema_1(finished, own):
    workdir, returned = finished
    results = json.loads((workdir / "results.json").read_text(encoding="utf-8"))
    assert results == returned
    matches(results, SCHEMA_1)
    assert results["schema"] == 1 and results["command"] == "the command"
    assert results["config"]["num_epochs"] == 3 and results["config"]["train_size"] == M
    told = results["dataset"]
    assert (told["name"], told["source"], told["records"], told["features"]) == ("own", "local", N, F)
    assert told["classes"] == C == len(told["class_counts"]) and sum(told["class_counts"]) == M
    assert told["digest"] == data.load(own)[1].digest
    assert results["target"]["kind"] == "nn" and results["target"]["train_records"] == M
    assert results["shadows"]["count"] == SHADOWS and results["shadows"]["data"] == "real"
    assert len(results["devices"]) == 1
    for block in results["attacks"].values():
        assert [row["class"] for row in block["per_class"]] == list(range(C))
        assert sum(row["members"] for row in block["per_class"]) == M
        assert block["tpr_at_fpr"]["0.001"]["value"] is None


def test_the_strength_of_the_attack_is_told(finished):
    results = finished[1]
    l2 = results["attacks"]["shokri"]["l2"]
    assert l2 in STRENGTHS and results["config"]["attack_l2"] is None
    assert method.steps(results)[2].endswith(f"with an L2 of {l2:g} that was chosen on answers held out from them.")
    given = results | {"config": results["config"] | {"attack_l2": l2}}
    assert method.steps(given)[2].endswith(f"with an L2 of {l2:g}.")


def test_scores_are_those_of_the_results(finished):
    workdir, results = finished
    with np.load(workdir / "scores.npz") as f:
        found = {name: f[name] for name in f.files}
    columns = {"score", "score_confidence", "score_majority", "member", "label", "index", "confidence", "entropy"}
    columns |= {"p_value", "told"}
    assert found.keys() == columns and all(array.shape == (2 * M,) for array in found.values())
    member, data = found["member"], records()
    assert member.dtype == bool and member.sum() == M
    assert len(np.unique(found["index"])) == 2 * M
    np.testing.assert_array_equal(found["label"], data["y"][found["index"]])
    np.testing.assert_array_equal(np.bincount(found["label"][member]), results["dataset"]["class_counts"])
    called = found["score"] > 0
    block = results["attacks"]["shokri"]
    assert block["accuracy"]["value"] == pytest.approx((called == member).mean())
    assert block["recall"]["value"] == pytest.approx(called[member].mean())
    for values, low, high in ((found["confidence"], 0, 1), (found["entropy"], 0, 1)):
        assert (values >= low).all() and (values <= high + 1e-6).all() and np.ptp(values) > 0


def test_the_report_is_there(finished):
    workdir, _ = finished
    page = (workdir / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "SIMULATED" not in page
    assert "<span>the</span> <span>command</span>" in page
    assert {p.stem for p in (workdir / "figures").glob("*.png")} >= {"roc", "learning_curves", "confidence", "entropy"}


@pytest.mark.integration
def test_simulated_records_are_called_so_everywhere(own, tmp_path):
    held, schema = data.load(own)
    data.save(tmp_path / "fake.npz", held, schema._replace(source="simulated", name="fake"))
    told = []
    results = audits.run(config(tmp_path / "fake.npz", tmp_path / "w"), notify=told.append)
    assert results["dataset"]["source"] == results["shadows"]["data"] == "simulated"
    assert any(line.startswith("fake (SIMULATED): 400 records, 3 classes") for line in told)
    write_report(tmp_path / "w")
    page = (tmp_path / "w" / "report.html").read_text(encoding="utf-8")
    assert page.count("SIMULATED") > 10


# --- what it reuses --------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_more_shadows_train_only_what_is_missing(finished, again, own, tmp_path):
    before = artifact_files(again)
    assert len([name for name in before if name.startswith("models/")]) == 1 + SHADOWS
    results = audits.run(config(own, again, num_shadows=5))
    after = artifact_files(again)
    assert results["shadows"]["count"] == 5
    assert len([name for name in after if name.startswith("models/")]) == 1 + 5
    assert before.items() <= after.items()  # not even written again
    audits.run(config(own, tmp_path / "afresh", num_shadows=5, chunk=1))
    assert scores(again) == scores(tmp_path / "afresh") != scores(finished[0])
    audits.run(config(own, again))  # and back
    assert scores(again) == scores(finished[0]) and artifact_files(again) == after


@pytest.mark.integration
@pytest.mark.usefixtures("two_devices")
def test_neither_chunk_nor_devices_change_a_byte(finished, own, tmp_path):
    results = audits.run(config(own, tmp_path / "w", chunk=3))
    assert len(results["devices"]) == 2
    assert scores(tmp_path / "w") == scores(finished[0])


def test_what_is_damaged_is_noticed_and_made_again(finished, again, own):
    damaged = [min((again / "models").iterdir()), *(again / "scores").iterdir()]
    whole = [path.read_bytes() for path in damaged]
    for path, content in zip(damaged, whole, strict=True):
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + bytes(255 - b for b in content[middle : middle + 8]) + content[middle + 8 :]
        )
    with pytest.warns(UserWarning, match="is damaged .* and is made again") as caught:
        audits.run(config(own, again))
    assert [w.message.args[0].split(" is damaged")[0] for w in caught] == [str(path) for path in damaged]
    assert scores(again) == scores(finished[0])
    for path in damaged:
        with np.load(path) as mended, np.load(finished[0] / path.relative_to(again)) as first:
            for name in first.files:
                if name != "__meta__":  # which holds the seconds
                    np.testing.assert_array_equal(mended[name], first[name])


@pytest.mark.integration
def test_other_records_are_not_taken_for_these(again, own, tmp_path):
    """The same path with other contents: nothing that was learned from the old ones is used."""
    before = artifact_files(again, "models")
    x = records()["x"]
    held = own.read_bytes()
    try:
        write_data(own, x=1 - x)
        audits.run(config(own, again))
    finally:
        own.write_bytes(held)
    assert len(artifact_files(again, "models")) == 2 * len(before)


# --- what it refuses -------------------------------------------------------------------------------------------------


def with_a(value):
    x = records()["x"].astype(np.float32)
    x[5, 3] = value
    return {"x": x}


Y = records()["y"]
BAD_FILES = {
    "infinity": (with_a(np.inf), "record 5 has a feature that is inf"),
    "a negative label": ({"y": np.where(np.arange(N) == 5, -1, Y)}, "record 5 has the label -1, which is negative"),
    "a label that leaves classes out": ({"y": np.where(Y == 2, 7, Y)}, "class 2 .* has no record"),
    "a label that is no whole number": ({"y": Y + 0.5}, "not whole numbers"),
    "fewer labels than records": ({"y": Y[:-3]}, r"y \(397,\); needed: a label for each record, y \[400\]"),
    "rows of different lengths": ({"x": np.array([[1], [1, 2]], object)}, "array 'x' holds Python objects"),
    "one class": ({"y": 0 * Y}, "single class"),
    "three records": (records(3), "has 3 records; .* at least 4"),
    "a class without a training record": ({"y": np.where(np.arange(N) == 7, 2, Y % 2)}, "of class 2 there is not a s"),
}
BAD_FLAGS = {
    "an unknown data set": (dict(dataset="locatoin"), "unknown data set 'locatoin'; did you mean location"),
    "no such file": (dict(dataset="nowhere/own.npz"), "there is no file nowhere/own.npz"),
    "more records than there are": (
        dict(train_size=150),
        r"needs 600 records, .* has 400; beside this target shadows of 50 \+ 50 would fit; any number of shadows of"
        r" 100 \+ 100 fit: use `train_size=100`",
    ),
    "far more records than there are": (dict(train_size=1000), "use `train_size=100`"),
    "a network that needs images": (dict(model="cnn"), "cnn needs images"),
    "an unknown network": (dict(model="nothing"), "no model 'nothing'"),
    "a network that cannot be imported": (dict(model="nothing:at_all"), "cannot be imported"),
    "an unknown platform": (dict(target_kind="aws"), "no platform is called 'aws'"),
    "a platform that cannot be imported": (dict(target_kind="sklearn:sklearn.Nothing"), "sklearn has no 'Nothing'"),
    "an unknown defense": (dict(defenses="prayer(3)"), "no defense 'prayer'"),
    "a defense that cannot be read": (dict(defenses="top_k(2"), "cannot be read"),
    "a defense for our networks only": (dict(target_kind=LOGISTIC, l2=0.1), "`l2` is for our own networks"),
    "a dropout of everything": (dict(dropout=1.0), "dropout=1.0"),
    "a table of marginals that is not there": (
        dict(shadow_data="marginal", marginals="nowhere.npz"),
        "there is no file nowhere.npz",
    ),
    "too much noise": (dict(shadow_data="noisy", noise=1.5), "`noise=1.5`"),
    "steps that grow": (dict(shadow_data="search", k_min=9, k_max=3), "`k_min=9` must not be above `k_max=3`"),
    "no shadows": (dict(num_shadows=0), "`num_shadows=0` must be at least 1"),
    "a file that is to be simulated": (dict(data_source="simulated"), "your own file, not simulated data"),
    "a file that is to be official": (dict(data_source="official"), "your own file, not official data"),
}


def refused(given, reason):
    with pytest.raises(InputError, match=reason) as error:
        audits.run(given, progress=never)
    assert "\n" not in str(error.value) and error.value.exit_code == 2


def never(title, total):
    raise AssertionError(f"the work began: {title}")


@pytest.mark.parametrize("what", BAD_FILES)
def test_records_that_cannot_be_used(tmp_path, what):
    changed, reason = BAD_FILES[what]
    path = write_data(tmp_path / "own.npz", **changed)
    refused(config(path, tmp_path / "w", seed=1), reason)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("what", BAD_FLAGS)
def test_flags_that_cannot_be_used(own, tmp_path, what):
    changed, reason = BAD_FLAGS[what]
    refused(config(own, tmp_path / "w", **changed), reason)
    assert not (tmp_path / "w").exists()


def test_nothing_is_simulated_for_a_run_that_is_refused(tmp_path, monkeypatch):
    def simulate(*args, **kwargs):
        raise AssertionError("records were made")

    monkeypatch.setattr(simulated, "simulate", simulate)
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path))
    for changed, reason in (
        (dict(train_size=60_000), "needs 240,000 records"),
        (dict(model="resnet"), "there is no model 'resnet'"),
        (dict(defenses="nonsense(3)"), "nonsense"),
    ):
        given = dict(data_source="simulated", train_size=100) | changed
        refused(config("purchase20", tmp_path / "w", **given), reason)
    for run, kind in ((audits.run, configs.BalancedConfig), (audits.run, configs.CanaryConfig)):
        with pytest.raises(InputError, match="there is no model 'resnet'"):
            run(kind(dataset="purchase20", data_source="simulated", model="resnet", workdir=str(tmp_path / "w")))
    with pytest.raises(AssertionError, match="records were made"):
        audits.run(config("purchase20", tmp_path / "w", data_source="simulated", train_size=100))


def test_a_truncated_file(own, tmp_path):
    content = own.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 30):
        (tmp_path / "own.npz").write_bytes(content[:length])
        refused(config(tmp_path / "own.npz", tmp_path / "w"), "own.npz cannot be used: ")


def test_a_workdir_that_cannot_be_written(own):
    refused(config(own, own / "w"), f"{own}/w cannot be written .* choose another")


def test_a_workdir_of_another_configuration(finished, again, own):
    before = artifact_files(again)
    refused(
        config(own, again, seed=3, learning_rate=0.01, num_shadows=9),
        r"holds another configuration \(learning_rate: 0.001 there, 0.01 asked for; seed: 0 there, 3 asked for\)",
    )
    assert artifact_files(again) == before


def test_a_damaged_official_file(tmp_path):
    (tmp_path / "dataset_location.tgz").write_bytes(b"not what was published")
    refused(
        config("location", tmp_path / "w", data_dir=str(tmp_path)),
        "dataset_location.tgz cannot be used: it has 22 bytes",
    )
