"""The report of an audit of a deployed model: by saved answers, behind a defense, of a service that tells little."""

import json
import re

import numpy as np
import pytest
from report_pages import audited, check_page, visible

from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.reports import plots, report
from mia_jax.types import InputError


def predictions(path, known):
    """Saved answers of overfitted models; each remembers the half of the records that it was trained on."""
    rng = np.random.default_rng(0)
    n, shadows = 400, 8
    labels = np.arange(n) % 3
    member = rng.random((shadows + 1, n)) < 0.5
    logits = rng.normal(0, 1, (shadows + 1, n, 3))
    logits[:, np.arange(n), labels] += 0.5 + 2.5 * member
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    extra = {"member": member[0]} if known else {}
    np.savez(path, labels=labels, target=p[0], shadows=p[1:], shadow_member=member[1:], **extra)
    return str(path)


@pytest.mark.parametrize("known", [True, False])
def test_saved_predictions_are_reported(tmp_path, known):
    """A real run of the other mode: plain attacks on answers that were had elsewhere."""
    path, workdir = predictions(tmp_path / "preds.npz", known), tmp_path / "run"
    config = DeployedConfig(predictions=path, attacks="loss,lira,attack_r", workdir=str(workdir))
    summary = audits.run(config, command="the command")
    table = report.terminal_table(summary)
    assert max(map(len, table.splitlines())) <= 100
    if not known:
        assert f"{workdir}/scores.npz" in table and "score_attack_r" in table and "do not say who is a member" in table
        text = (workdir / "report.html").read_text()
        check_page(workdir, text, plots.PLOTS["deployed"])
        shown = visible(text)
        assert "how well the attacks do cannot be measured" in shown
        assert re.search("Records of which [^ ]+ is surest", shown)
        return
    assert "over records" in table and re.search(r"\nlira +0\.[89]", table)
    text = (workdir / "report.html").read_text()
    assert check_page(workdir, text, plots.PLOTS["deployed"]) == {
        "roc",
        "agreement",
        "confidence",
        "entropy",
    }
    shown = visible(text)
    assert "known by saved predictions alone" in shown and "8 shadow models" in shown
    assert summary["attacks"]["lira"]["epsilon"]["low"] > 0.5 and "epsilon >= x" in table
    assert "random split into training and test data" in shown
    assert "another model, or another seed" in shown and re.search("Members of which [^ ]+ is surest", shown)
    assert summary["dataset"]["digest"] in shown and "num_epochs" not in summary["config"]


def test_saved_predictions_behind_a_defense(tmp_path, no_pages):
    """What these models would tell if they told labels alone; settings that mean nothing here are refused."""
    path = predictions(tmp_path / "preds.npz", True)
    plain, defended, unaware = (
        audits.run(DeployedConfig(predictions=path, attacks="loss", workdir=str(tmp_path / name), **given))
        for name, given in (
            ("plain", {}),
            ("defended", dict(defenses="label_only")),
            ("unaware", dict(defenses="label_only", adaptive=False)),
        )
    )
    auc = [run["attacks"]["loss"]["auc"]["value"] for run in (plain, defended, unaware)]
    assert auc[0] > auc[1] + 0.03 and auc[1] == auc[2]
    shift = np.subtract(*(np.load(tmp_path / name / "scores.npz")["score_loss"] for name in ("defended", "unaware")))
    assert np.ptp(shift) < 1e-5 < abs(shift[0])  # a threshold that was set on answers which the target does not give
    for number, worn in enumerate(
        ("top_k(2)", "round_to(1)", "round_to(2),top_k(1)", "temperature(5)", "bounded_noise(0.5)")
    ):
        told = DeployedConfig(predictions=path, attacks="loss", defenses=worn, workdir=str(tmp_path / str(number)))
        assert 0.6 < audits.run(told)["attacks"]["loss"]["auc"]["value"] < 0.95, worn
    for idle in (dict(num_shadows=77), dict(rate=3.0), dict(shadow_data="search"), dict(num_epochs=7)):
        with pytest.raises(InputError, match=f"`{next(iter(idle))}` has no meaning with `predictions`"):
            audits.run(DeployedConfig(predictions=path, **idle))


def test_a_target_that_tells_little(tmp_path):
    """A service, without its accuracy on training records; the shadows are known by number alone."""
    folder = audited(tmp_path / "run", names=("loss", "attack_r"), n=400, targets=1)
    summary = json.loads((folder / "results.json").read_text())
    del summary["exposure"]
    summary |= {
        "plan": "deployed",
        "target": {
            "kind": "a service",
            "train_records": 200,
            "test_accuracy": 0.7,
            "url": "http://localhost:1/predict",
        },
        "shadows": {"count": 1, "data": "noisy"},
    }
    (folder / "results.json").write_text(json.dumps(summary))
    with np.load(folder / "scores.npz") as held:
        arrays = {name: held[name] for name in held.files}
    arrays = {name: a[0] if a.ndim == 2 else a for name, a in arrays.items()}
    np.savez(folder / "scores.npz", **arrays)
    text = report.write_report(folder).read_text()
    check_page(folder, text, plots.PLOTS["deployed"])
    assert "a service at http://localhost:1/predict" in visible(text) and text.count("No figure: ") == 2
    assert "1 shadow model imitates it" in text
