"""Variants of one model side by side: differences on the same records, and what is refused."""

import json

import attack_worlds as worlds
import numpy as np
import pytest
from small_runs import python

import mia_jax as mia
from mia_jax.audits import comparison, gate, release
from mia_jax.reports import terminal
from mia_jax.types import InputError

N = 600
WORLD, CALM = (worlds.gaussian(41, N, 8, shift=shift) for shift in (2.5, 0.3))
SHADOWS = worlds.others(WORLD)


def write(folder, name, world=WORLD, **changed):
    p = np.exp(worlds.answers(world.phi, world.y))
    arrays = dict(labels=world.y, target=p[0], shadows=p[SHADOWS], shadow_member=world.member[SHADOWS])
    arrays |= dict(member=world.member[0]) | changed
    np.savez(folder / name, **{key: array for key, array in arrays.items() if array is not None})
    return str(folder / name)


def compare(folder, *files, **settings):
    given = dict(attacks="loss,rmia", workdir=str(folder / "w")) | settings
    return comparison.compare(mia.DeployedConfig(predictions=",".join(files), **given))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    files = [write(folder, "plain.npz"), write(folder, "same.npz"), write(folder, "defended.npz", CALM)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mia_jax.reports.report.write_report", lambda workdir: None)
        return compare(folder, *files), files


def test_each_model_is_an_ordinary_audit(compared, tmp_path, no_pages):
    (folder, _, audits), files = compared
    assert list(audits) == ["plain", "same", "defended"]
    alone = mia.run(mia.DeployedConfig(predictions=files[0], attacks="loss,rmia", workdir=str(tmp_path / "w")))
    assert audits["plain"]["attacks"] == alone["attacks"]
    assert (tmp_path / "w" / "scores.npz").read_bytes() == (folder / "plain" / "scores.npz").read_bytes()


def test_a_model_does_not_differ_from_itself_and_a_defended_one_does(compared):
    differences = compared[0].comparison["differences"]
    for by_attack in differences["same"].values():
        assert by_attack["auc"] == {"value": 0, "low": 0, "high": 0}
    one, audits = differences["defended"]["rmia"]["auc"], compared[0].audits
    areas = [audits[name]["attacks"]["rmia"]["auc"]["value"] for name in ("plain", "defended")]
    assert one["value"] == pytest.approx(areas[1] - areas[0], abs=1e-4)  # scores are kept as float32
    assert one["low"] < one["value"] < one["high"] < -0.1
    assert differences["defended"]["rmia"]["tpr_at_fpr"]["0.001"]["reason"].startswith("not resolvable")


def test_the_page_the_file_and_the_table_say_so(compared):
    folder, found, audits = compared[0]
    assert json.loads((folder / "comparison.json").read_text()) == found
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert "defended tells less to 2 of 2 attacks than plain does" in page
    areas = {name: by["auc"]["value"] for name, by in found["differences"]["defended"].items()}
    most = min(areas, key=areas.__getitem__)
    assert f"the AUC of {most} differs most, by {areas[most]:+.3f} [" in page
    assert "same tells no attack measurably more or less than plain does" in page
    table = terminal.comparison_table(found, audits)
    assert "defended beside plain" in table and max(map(len, table.splitlines())) <= 100
    assert "+0.000 [+0.000, +0.000]" in table


def test_a_gate_is_asked_of_each(compared):
    def enforce(condition):
        release.enforce(release.NOTHING, compared[0].audits, gate.parse(condition))

    with pytest.raises(gate.GateExceeded, match=r"plain: the gate is exceeded; auc>0.8: .*; same: ") as error:
        enforce("auc>0.8")
    assert "defended" not in str(error.value)
    with pytest.raises(gate.GateUndecided):
        enforce("tpr@0.001>0.9")
    enforce("auc>0.99")


OTHER = {
    "labels": (
        dict(labels=(WORLD.y + 1) % 4),
        r"b.npz: labels differs from .*a.npz at 600 of 600 records, first at record 0",
    ),
    "member": (dict(member=np.roll(WORLD.member[0], 1)), "b.npz: member differs from .* in the same order"),
    "unknown": (dict(member=None), "b.npz does not say who is a member, and models are compared by that"),
}


@pytest.mark.parametrize("case", OTHER)
def test_other_records_are_refused_before_any_work(tmp_path, case):
    changed, message = OTHER[case]
    first, other = write(tmp_path, "a.npz"), write(tmp_path, "b.npz", **changed)
    with pytest.raises(InputError, match=message) as error:
        compare(tmp_path, first, other)
    assert "\n" not in str(error.value) and not (tmp_path / "w").exists()


def test_fewer_records_and_one_file_twice_are_refused(tmp_path):
    first = write(tmp_path, "a.npz")
    with pytest.raises(InputError, match=r"b.npz: labels has shape \(300,\), and \(600,\) in"):
        short = worlds.gaussian(41, 300, 8, shift=2.5)
        compare(tmp_path, first, write(tmp_path, "b.npz", short))
    with pytest.raises(InputError, match="two files or more, each once"):
        compare(tmp_path, first, first)
    with pytest.raises(InputError, match=r"there is no file .*none\.npz"):
        compare(tmp_path, first, str(tmp_path / "none.npz"))


def test_names_are_those_of_the_files_and_tell_them_apart(tmp_path):
    (tmp_path / "a,b.npz").touch()
    assert comparison.files(str(tmp_path / "a,b.npz")) == [str(tmp_path / "a,b.npz")]
    assert comparison.files("a.npz, b.npz,") == ["a.npz", "b.npz"] and comparison.files(None) == []
    files = [write(tmp_path, "one.npz"), write(tmp_path, "two.npz")]
    assert comparison.files(str(tmp_path)) == files
    np.savez(tmp_path / "plan.npz", member=WORLD.member)  # a folder of the plan's models
    assert comparison.files(str(tmp_path)) == [str(tmp_path)]
    assert comparison.names_of(["x/preds.npz", "y/preds.npz", "z.npz"]) == ["x-preds", "y-preds", "z"]


@pytest.mark.integration
def test_the_command_compares_and_each_model_has_to_pass_the_gate(tmp_path, shared):
    files = [write(tmp_path, "plain.npz"), write(tmp_path, "defended.npz", CALM)]
    argv = [f"--predictions={','.join(files)}", "--attacks=loss,rmia", f"--workdir={tmp_path / 'w'}", "--csv"]
    done = python(shared, "-m", "mia_jax", "audit", *argv, "--fail_if=auc>0.8")
    assert done.returncode == 3 and "error: plain: the gate is exceeded; auc>0.8: " in done.stderr
    assert "defended beside plain" in done.stdout and f"{tmp_path / 'w'}/comparison.html" in done.stdout
    assert all((tmp_path / "w" / name / "scores.csv").exists() for name in ("plain", "defended"))
    assert "python -m mia_jax audit" in json.loads((tmp_path / "w" / "comparison.json").read_text())["command"]
    assert (tmp_path / "w" / "defended" / "report.html").exists()
