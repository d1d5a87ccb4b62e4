"""Evidence of a run: what the manifest says, that one byte tells, what the annex says, PDFs."""

import hashlib
import json
import pathlib
import re
import shutil
import sys

import attack_worlds as worlds
import numpy as np
import pytest
import report_pages
import services
import small_runs

import mia_jax as mia
from mia_jax import audits, evidence
from mia_jax.audits import policy, policy_verdict, release
from mia_jax.evidence import annex, manifest, paths
from mia_jax.reports import pdf, results
from mia_jax.storage import places
from mia_jax.types import InputError, MiaError

SIGNED = ("manifest.json.asc", "manifest.json.bundle", "manifest.json.minisig")
EXAMPLE = pathlib.Path(mia.__file__).parents[1] / "docs" / "policy.toml"
POLICY = (
    '[required]\nmembers = 10\nblind_baseline = true\nnegative_control = true\n[limits]\nauc = 0.99\n"tpr@0.1" = 0.9\n'
)
PROOF = "without random canaries cannot give it"


def made(folder, **about):
    """A run's folder of drawn scores, with a page in two words, and its evidence."""
    workdir = report_pages.paper_run(folder, m=60, **about)
    found = json.loads((workdir / "results.json").read_text())
    (workdir / "report.html").write_text("<p>the page</p>")
    return evidence.write(workdir, found, {"models/a.npz": "0" * 64, "scores/b.npz": "1" * 64})


def flipped(folder):
    """Name of each file, while one of its bytes is another: the first, one in the middle, the last."""
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            yield file.name
        file.write_bytes(content)


def check(folder):
    """It verifies, and no byte of it can be another."""
    found = evidence.verify(folder)
    assert {*found.manifest["files"], "manifest.json", "manifest.sha256"} == {f.name for f in folder.iterdir()}
    for name in flipped(folder):
        with pytest.raises(InputError, match=re.escape(name)) as error:
            evidence.verify(folder)
        assert "\n" not in str(error.value)
    assert evidence.verify(folder) == found
    return found


# --- the folder ------------------------------------------------------------------------------------------------------


def test_one_byte_of_any_file_tells(tmp_path):
    written = made(tmp_path / "w")
    found = check(written.folder)
    assert found.sha256 == written.sha256 == hashlib.sha256((written.folder / "manifest.json").read_bytes()).hexdigest()
    assert evidence.verify(tmp_path / "w") == found  # the workdir will do
    assert "5 files" not in str(found) and f"{len(found.manifest['files'])} files in " in str(found)
    assert "not signed" in str(found) and "no policy" in str(found)


def test_a_file_more_or_less_is_named(tmp_path):
    folder = made(tmp_path / "w").folder
    for name in ("results.json", "manifest.json", "manifest.sha256"):
        shutil.move(folder / name, tmp_path / "away")
        with pytest.raises(InputError, match=f"{re.escape(name)} is missing"):
            evidence.verify(folder)
        shutil.move(tmp_path / "away", folder / name)
    for name in ("more.txt", "manifest.json.txt", ".hidden"):
        (folder / name).write_text("")
        with pytest.raises(InputError, match=f"{re.escape(name)} does not belong there"):
            evidence.verify(folder)
        (folder / name).unlink()
    (folder / "folder").mkdir()
    with pytest.raises(InputError, match="folder does not belong there"):
        evidence.verify(folder)
    (folder / "folder").rmdir()
    shutil.copy(folder / "results.json", tmp_path / "same")
    (folder / "results.json").unlink()
    (folder / "results.json").symlink_to(tmp_path / "same")
    with pytest.raises(InputError, match=r"results\.json is no file"):
        evidence.verify(folder)


def test_signatures_lie_beside_the_manifest_and_are_said_to_be_unchecked(tmp_path):
    folder = made(tmp_path / "w").folder
    for name in SIGNED:
        (folder / name).write_bytes(b"signed")
    assert evidence.verify(folder).signatures == SIGNED
    assert f"signatures are not checked here: {', '.join(SIGNED)}" in str(evidence.verify(folder))


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": 2}', "nothing", '{"schema": 1, "files": {"../x": {}}}'])
def test_a_manifest_that_is_none_is_one_line_though_its_digest_is_right(tmp_path, text):
    folder = made(tmp_path / "w").folder
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_bytes(manifest.sidecar(hashlib.sha256(text.encode()).hexdigest()))
    with pytest.raises(InputError) as error:
        evidence.verify(folder)
    assert "\n" not in str(error.value)


def test_evidence_in_a_bucket(tmp_path, monkeypatch):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    monkeypatch.setattr(type(memory), "store", {})
    monkeypatch.setattr(type(memory), "pseudo_dirs", [""])
    local = evidence.verify(made(tmp_path / "w").folder)
    for file in local.folder.iterdir():
        memory.pipe_file(f"/b/run/evidence/{file.name}", file.read_bytes())
    memory.pipe_file("/b/run/models/a.npz", b"large")
    for address in ("memory://b/run", "memory://b/run/evidence"):
        assert str(evidence.verify(address)) == str(local).replace(str(local.folder), "memory://b/run/evidence")
    memory.pipe_file("/b/run/evidence/scores.npz", b"others")
    with pytest.raises(InputError, match=r"^memory://b/run/evidence is not as it was written: scores.npz"):
        evidence.verify("memory://b/run")


def test_what_is_no_evidence_is_one_line(tmp_path):
    with pytest.raises(InputError, match="holds no evidence"):
        evidence.verify(tmp_path)


def test_the_same_run_leaves_the_same_bytes_and_another_policy_none_of_the_first(tmp_path):
    workdir = made(tmp_path / "w").folder.parent
    found = json.loads((workdir / "results.json").read_text())
    before = {file.name: file.read_bytes() for file in (workdir / "evidence").iterdir()}
    (workdir / "policy.toml").write_text(POLICY)
    answers = {"scores/b.npz": "1" * 64, "models/a.npz": "0" * 64}
    judged = found | {"policy": {"file": "p.toml", "sha256": "2" * 64, "status": "met", "title": "", "rules": []}}
    evidence.write(workdir, judged, answers)
    assert "policy.toml" in check(workdir / "evidence").manifest["files"]
    (workdir / "policy.toml").unlink()
    evidence.write(workdir, found, answers)
    assert {file.name: file.read_bytes() for file in (workdir / "evidence").iterdir()} == before


def test_digests_are_those_that_sha256sum_gives(tmp_path):
    folder = made(tmp_path / "w").folder
    told = json.loads((folder / "manifest.json").read_text())
    for name, about in told["files"].items():
        content = (folder / name).read_bytes()
        assert about == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    lines = "".join(f"{digest}  {name}\n" for name, digest in (("models/a.npz", "0" * 64), ("scores/b.npz", "1" * 64)))
    assert told["answers"]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    package = pathlib.Path(mia.__file__).parent
    files = [file for file in package.rglob("*") if file.suffix in manifest.SOURCES]
    names = sorted(file.relative_to(package.parent).as_posix() for file in files)
    lines = [f"{hashlib.sha256((package.parent / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert told["code"]["sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


# --- what it says ----------------------------------------------------------------------------------------------------

SHORTENED = [
    ("python /home/me/x.py --data='/home/my data/a.npz' --l2=0.1", "python x.py --data='a.npz' --l2=0.1"),
    ("mia-jax audit --predictions=/a/b.npz,/a/c.npz,d/e.npz", "mia-jax audit --predictions=b.npz,c.npz,d/e.npz"),
    (
        "mia-jax audit --target=https://me:pw@host:1/v1/m:predict?key=1",
        "mia-jax audit --target=https://host:1/v1/m:predict",
    ),
    ("mia-jax audit --target https://host/m?key=1,2&b=3", "mia-jax audit --target https://host/m"),
    (r"mia-jax train --data_dir=C:\Users\me\data --workdir=~/runs/x", "mia-jax train --data_dir=data --workdir=x"),
    ("mia_jax.audit(predict, x, shadows='/home/me/p.npz')", "mia_jax.audit(predict, x, shadows='p.npz')"),
    ("mia-jax train --dataset=file:///home/me/x.npz", "mia-jax train --dataset=x.npz"),
    ("mia-jax audit --fail_if='tpr@0.01>0.05'", "mia-jax audit --fail_if='tpr@0.01>0.05'"),
    ("mia-jax audit --target_kind=mine:fit --data=../a.npz", "mia-jax audit --target_kind=mine:fit --data=../a.npz"),
]


@pytest.mark.parametrize(("command", "short"), SHORTENED)
def test_the_manifest_has_no_folder_of_the_machine_and_no_secret(command, short):
    assert paths.shortened(command) == short


def test_settings_are_shortened_too():
    given = {"dataset": "/home/my data/x.npz", "n": 3, "none": None, "of": ["/a/b", {"c": "https://h/p?q"}]}
    assert paths.shortened_values(given) == {
        "dataset": "x.npz",
        "n": 3,
        "none": None,
        "of": ["b", {"c": "https://h/p"}],
    }


def page(tmp_path, found):
    about = manifest.describe(tmp_path / "w", found, {})
    return report_pages.visible(annex.page(found, about, {"scores.npz": "3" * 64}))


def test_the_annex_says_what_is_shown_and_what_is_not(tmp_path):
    made(tmp_path / "w", leak=2.5, title=report_pages.HOSTILE)
    found = results.read(tmp_path / "w").results
    text = page(tmp_path, found)
    for name in ("OWASP AISVS 1.0, C11.2.5", "EDPB Opinion 28/2024", "NIST AI 100-2", "SATRE 2.0.1", "2409.19798"):
        assert name in text
    assert PROOF in text and "(?)" in text and report_pages.HOSTILE in text
    assert "exceed guessing, so it is not met" in text and "none: nothing was decided" in text
    assert "SIMULATED" not in text


def test_the_annex_of_a_model_that_tells_nothing_does_not_say_that_it_is_safe(tmp_path):
    made(tmp_path / "w", leak=0.0, source="simulated")
    text = page(tmp_path, results.read(tmp_path / "w").results)
    assert "No attack that exceeds guessing as far as this audit can tell" in text
    assert "What other attacks, or more records, would find" in text
    assert "SIMULATED" in text and "That the model is anonymous" in text


def test_the_annex_says_that_a_delta_promises_nothing(tmp_path):
    made(tmp_path / "w", leak=2.5)
    found = results.read(tmp_path / "w").results
    assert "protects no single record" not in page(tmp_path, found)
    for block in found["attacks"].values():
        block["epsilon"] = {"low": 1.5, "delta": 0.5, "confidence": 0.95}
    assert "(delta 0.5 is above 1/" in page(tmp_path, found)


def test_the_annex_says_first_that_a_split_is_confounded(tmp_path):
    made(tmp_path / "w")
    found = results.read(tmp_path / "w").results
    told = {"auc": {"value": 0.8, "low": 0.75, "high": 0.85}, "told": True, "columns": [{"column": "age", "auc": 0.78}]}
    assert "a classifier that never asks it" in page(tmp_path, found | {"blind": told})
    assert "a classifier that never asks it" not in page(tmp_path, found | {"blind": told | {"told": False}})


# --- runs of every plan ----------------------------------------------------------------------------------------------


def world_file(folder):
    world = worlds.gaussian(41, 400, 6, shift=1.0)
    shadows = worlds.others(world)
    p = np.exp(worlds.answers(world.phi, world.y))
    saved = dict(labels=world.y, target=p[0], member=world.member[0], shadows=p[shadows])
    np.savez(folder / "p.npz", shadow_member=world.member[shadows], **saved)
    return str(folder / "p.npz")


def in_process(folder):
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 4), np.float32), np.arange(200) % 2
    member = np.arange(200) < 100
    return (lambda rows: np.column_stack([1 - rows[:, 0], rows[:, 0]])), x, y, member


def of_plan(plan, own, folder, policy):
    """A small run of a plan, judged by a policy, in folder/run."""
    work, few = str(folder / "run"), dict(num_epochs=2, hidden=8)
    match plan:
        case "shokri":
            config = small_runs.config(own, folder / "run", num_epochs=1, num_shadows=2, attack_l2=1e-3)
        case "balanced":
            config = audits.BalancedConfig(
                dataset=str(own), workdir=work, num_models=6, num_targets=2, attacks="lira,gap", **few
            )
        case "canaries":
            config = audits.CanaryConfig(dataset=str(own), workdir=work, canaries=60, train_size=100, **few)
        case "predictions":
            config = audits.DeployedConfig(predictions=world_file(folder), attacks="loss,rmia", workdir=work)
        case "in process":
            return mia.audit(*in_process(folder), workdir=work, policy=policy).results
    return audits.run(config, command=f"python {folder}/train.py --dataset={own}", policy=policy)


@pytest.mark.integration
@pytest.mark.parametrize("plan", ["shokri", "balanced", "canaries", "predictions", "in process"])
def test_a_run_of_every_plan_leaves_evidence_of_which_no_byte_can_be_another(plan, own, tmp_path):
    (tmp_path / "p.toml").write_text(POLICY)
    found = of_plan(plan, own, tmp_path, tmp_path / "p.toml")
    told = check(tmp_path / "run" / "evidence").manifest
    assert found["policy"]["status"] == told["policy"]["status"]
    status = {rule["rule"]: rule["status"] for rule in found["policy"]["rules"]}
    assert status["required.members"] == status["limits.auc"] == "met"
    # A file of answers has no records, and without shadows nobody plays the target.
    assert status["required.blind_baseline"] == ("undecided" if plan == "predictions" else "met")
    assert status["required.negative_control"] == ("undecided" if plan == "in process" else "met")
    assert told["data"]["sha256"] == found["dataset"]["digest"] and told["data"]["members_sha256"]
    assert (tmp_path / "run" / "policy.toml").read_text() == POLICY
    assert str(tmp_path) not in json.dumps(told) and "/" not in told["config"].get("dataset", "")
    assert "Policy" in report_pages.visible((tmp_path / "run" / "report.html").read_text())
    assert plan == "predictions" or told["answers"]["artifacts"]
    again = of_plan(plan, own, tmp_path, tmp_path / "p.toml")  # all of it is there
    assert again["policy"] == found["policy"]
    assert evidence.verify(tmp_path / "run").manifest["answers"] == told["answers"]


@pytest.mark.integration
def test_evidence_of_a_service_has_its_answers_and_no_key(tmp_path):
    pytest.importorskip("httpx", reason="needs the extra `remote`")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (80, 10)).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x=x, y=x[:, 0], member=np.arange(80) < 20)
    (tmp_path / "p.toml").write_text(POLICY)
    work = dict(data=str(tmp_path / "mine.npz"), workdir=str(tmp_path / "run"), attacks="loss", seed=1)
    with services.answering(lambda x: (np.eye(2)[x[:, 0]] * 0.8 + 0.1).tolist()) as url:
        target = f"{url}?key=SECRETTOKEN"
        config = audits.DeployedConfig(target=target, num_shadows=2, num_epochs=2, hidden=8, **work)
        audits.run(
            config, command=f"mia-jax audit --target={target} --data={tmp_path}/mine.npz", policy=tmp_path / "p.toml"
        )
    told = check(tmp_path / "run" / "evidence").manifest
    assert any(name.startswith("target/answers-") for name in told["answers"]["artifacts"])
    assert told["config"]["target"].startswith("http://127.0.0.1") and "data=mine.npz" in told["command"]
    for file in (tmp_path / "run" / "evidence").iterdir():
        assert b"SECRETTOKEN" not in file.read_bytes(), file.name


@pytest.mark.integration
def test_a_workdir_that_several_policies_judge_trains_once(own, tmp_path):
    config = small_runs.config(own, tmp_path / "run", num_epochs=1, num_shadows=2, attack_l2=1e-3)
    first = audits.run(config, evidence=True)
    assert "policy" not in first and evidence.verify(tmp_path / "run").manifest["policy"] is None
    there = small_runs.artifact_files(tmp_path / "run", "models")
    for limit, status in (("0.99", "met"), ("0.5", "not met")):
        (tmp_path / "p.toml").write_text(f"[limits]\nauc = {limit}")
        judged = audits.run(config, policy=tmp_path / "p.toml", evidence=False)
        assert judged["policy"]["status"] == status
        assert small_runs.artifact_files(tmp_path / "run", "models") == there
    audits.run(config)
    assert not (tmp_path / "run" / "policy.toml").exists()


@pytest.mark.integration
def test_commands_end_with_the_policy_s_codes_and_verify_says_one_line(shared, own, tmp_path):
    (tmp_path / "p.toml").write_text('[required]\nshadows = 99\n[limits]\n"tpr@0.1" = 0.99')
    given = small_runs.arguments(dataset=own, workdir=tmp_path / "run", num_shadows=2, num_epochs=1)
    done = small_runs.script(shared, *given, f"--policy={tmp_path / 'p.toml'}")
    assert done.returncode == 6 and "Policy p.toml: undecided (rules: 1 met, 1 undecided)" in done.stdout
    assert "error: the policy p.toml cannot be decided; required.shadows: there were 2" in done.stderr.splitlines()[-1]
    sha256 = re.search(r"SHA-256 of its manifest: (\w{64})", done.stdout)[1]
    (tmp_path / "p.toml").write_text("[limits]\nauc = 0.5")
    assert small_runs.script(shared, *given, f"--policy={tmp_path / 'p.toml'}", "--noevidence").returncode == 3
    for argv in ((tmp_path / "run" / "evidence",), (f"--folder={tmp_path / 'run'}",)):
        verified = small_runs.python(shared, "-m", "mia_jax", "verify", *map(str, argv))
        assert verified.returncode == 0 and verified.stdout.count("\n") == 1 and sha256 in verified.stdout
    (tmp_path / "run" / "evidence" / "scores.npz").write_bytes(b"")
    spoilt = small_runs.python(shared, "-m", "mia_jax", "verify", str(tmp_path / "run"))
    assert spoilt.returncode == 2 and spoilt.stderr.startswith("error: ") and "scores.npz was changed" in spoilt.stderr
    refused = small_runs.script(shared, *given, f"--policy={tmp_path / 'none.toml'}")
    assert refused.returncode == 2 and refused.stderr.startswith("error: policy ") and refused.stderr.count("\n") == 1


@pytest.mark.integration
def test_evidence_of_a_run_in_an_object_store_lies_there(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    monkeypatch.setenv("MIA_JAX_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "p.toml").write_text(POLICY)
    (tmp_path / "copy").mkdir()
    mia.audit(*in_process(tmp_path), attacks="loss", workdir="memory://b/run", policy=tmp_path / "p.toml")
    for name, file in MemoryFileSystem.store.items():
        if name.startswith("/b/run/evidence/"):
            (tmp_path / "copy" / name.rpartition("/")[2]).write_bytes(file.getvalue())
    sha256 = evidence.verify(tmp_path / "copy").sha256
    assert sha256 == evidence.digest(places.place("memory://b/run")) == evidence.verify("memory://b/run").sha256


# --- PDFs ------------------------------------------------------------------------------------------------------------


def test_without_a_printer_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Chromium .*pip install 'mia-jax\[pdf\]'"):
        release.asked(audits.Config(), pdf=True)


def test_a_printer_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: sys.executable)
    with pytest.raises(MiaError, match="made no PDF") as error:
        pdf.printer()(tmp_path / "page.html", tmp_path / "page.pdf")
    assert "\n" not in str(error.value) and not (tmp_path / "page.pdf").exists()


@pytest.mark.integration
def test_the_annex_is_one_page_of_paper(tmp_path):
    try:
        printer = pdf.printer()
    except InputError as error:
        pytest.skip(str(error))
    workdir = report_pages.audited(tmp_path / "w", source="simulated", title_="A data set with a rather long name " * 2)
    found = results.read(workdir).results
    against = policy_verdict.judge(policy.read(EXAMPLE), found)
    worst = found | {"policy": against, "doubts": ["Labels and answers do not belong together. " * 20]}
    worst["command"] = "mia-jax audit " + "--dataset=location --num_models=128 " * 20
    (tmp_path / "annex.html").write_text(
        annex.page(worst, manifest.describe(workdir, worst, {}), dict.fromkeys(manifest.COPIED, "0" * 64))
    )
    printer(tmp_path / "annex.html", tmp_path / "annex.pdf")
    content = (tmp_path / "annex.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) == 1
