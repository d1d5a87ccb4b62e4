"""The folder of evidence: copies of a run's files, an annex, and manifest.json, which has the digest of each.

    manifest.json      what was audited, by what code, command, settings and policy, with SHA-256 digests
    manifest.sha256    the digest of manifest.json, as sha256sum writes it
    results.json, scores.npz, report.html, policy.toml    as the run has left them
    annex.html         one page: what is shown, and what is not (``annex.py``)

Paths in the manifest are relative, and a URL has no query. Digests tell a change, and not who made it: whoever can
write to the folder can make all of them anew. A detached signature of manifest.json beside it says who vouches for it.
"""

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import mia_jax
from mia_jax.evidence import annex
from mia_jax.evidence.paths import shortened, shortened_values
from mia_jax.reports import measures
from mia_jax.storage import artifacts, places
from mia_jax.storage.files import json_text, replacing

FOLDER = "evidence"
MANIFEST, SIDECAR = "manifest.json", "manifest.sha256"
COPIED = ("results.json", "scores.npz", "report.html", "policy.toml")
WRITTEN = (*COPIED, "annex.html", "report.pdf", "annex.pdf")
SCHEMA = 1
SOURCES = (".py", ".html", ".css", ".tsv", ".typed")  # of the package

Print = Callable[[pathlib.Path, pathlib.Path], None]  # (page, .pdf to write)


class Evidence(NamedTuple):
    """A folder of evidence that was written."""

    folder: pathlib.Path
    sha256: str  # of manifest.json, lower-case hex


def write(
    workdir: pathlib.Path, results: Mapping[str, Any], answers: Mapping[str, str], *, pdf: Print | None = None
) -> Evidence:
    """Write the evidence of a finished run into a folder of its workdir; the manifest last.

    Args:
        workdir: holds results.json, scores.npz and report.html, and policy.toml where there is a policy.
        results: what results.json holds.
        answers: relative path -> SHA-256 of what was kept of the models and their answers.
        pdf: makes a PDF of a page, where they are wanted.
    """
    folder = workdir / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # what it says does not hold from here on
    for name in WRITTEN:
        (folder / name).unlink(missing_ok=True)
    there = [name for name in COPIED if (workdir / name).is_file()]
    for name in there:
        with replacing(folder / name) as partial:
            partial.write_bytes((workdir / name).read_bytes())
    about = describe(workdir, results, answers)
    digests = {name: file_digest(folder / name) for name in there}
    with replacing(folder / "annex.html") as partial:
        partial.write_text(annex.page(results, about, digests), encoding="utf-8")
    if pdf is not None:
        for name in ("report", "annex"):
            pdf(folder / f"{name}.html", folder / f"{name}.pdf")
    names = sorted(name for name in WRITTEN if (folder / name).is_file())
    files = {name: {"sha256": file_digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    text = json_text({**about, "files": files}).encode()
    sha256 = hashlib.sha256(text).hexdigest()
    for name, content in ((SIDECAR, sidecar(sha256)), (MANIFEST, text)):
        with replacing(folder / name) as partial:
            partial.write_bytes(content)
    return Evidence(folder, sha256)


def digest(workdir: places.Place) -> str | None:
    """SHA-256 of the manifest of a workdir's evidence; None where there is none of the run that is there now."""
    try:
        now, then = (places.read(workdir, name) for name in ("results.json", f"{FOLDER}/results.json"))
        manifest = places.read(workdir, f"{FOLDER}/{MANIFEST}")
    except FileNotFoundError:
        return None
    return hashlib.sha256(manifest).hexdigest() if now == then else None


def describe(workdir: pathlib.Path, results: Mapping[str, Any], answers: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says of a run, but for its files.

    Args:
        workdir: holds scores.npz.
        results: what results.json holds.
        answers: as of ``write``.
    """
    data, policy = results["dataset"], results.get("policy")
    return {
        "schema": SCHEMA,
        "what": "evidence of a membership inference audit",
        "simulated": data["source"] == "simulated",
        "date": results["date"],
        "plan": measures.plan(results),
        "command": shortened(results["command"]),
        "seed": results["config"].get("seed"),
        "config": {name: shortened_values(v) for name, v in results["config"].items() if name != "workdir"},
        "data": {
            **{name: shortened_values(data[name]) for name in ("name", "source", "records", "features", "classes")},
            "sha256": data["digest"],
            "members_sha256": _members(workdir / "scores.npz"),
        },
        "answers": {"sha256": _together(answers), "artifacts": dict(sorted(answers.items()))},
        "policy": None if policy is None else {name: policy[name] for name in ("file", "sha256", "status")},
        "code": code(),
        "versions": results["versions"],
        "machine": results["machine"],
        "devices": results["devices"],
    }


def code() -> dict[str, Any]:
    """Which code this is: the version, and one digest over all source files of the package.

    It is that of the lines that ``sha256sum`` writes of the files, in the order of their paths.
    """
    package = pathlib.Path(mia_jax.__file__).parent
    files = sorted(
        (path.relative_to(package.parent).as_posix(), path) for path in package.rglob("*") if path.suffix in SOURCES
    )
    digests = {name: file_digest(path) for name, path in files}
    return {
        "package": "mia-jax",
        "version": mia_jax.__version__,
        "files": len(digests),
        "sha256": _together(digests),
    }


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sidecar(sha256: str) -> bytes:
    """What manifest.sha256 holds: ``sha256sum -c manifest.sha256`` reads it, too."""
    return f"{sha256}  {MANIFEST}\n".encode()


def _together(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _members(scores: pathlib.Path) -> str | None:
    """The digest of who was a member; None where it is not known."""
    with np.load(scores, allow_pickle=False) as f:
        return artifacts.array_digest(f["member"]) if "member" in f.files else None
