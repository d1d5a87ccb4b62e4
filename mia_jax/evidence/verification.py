"""Whether a folder of evidence is as it was written: every digest, no file more and no file less."""

import json
import os
import pathlib
import re
import tempfile
from typing import Any, NamedTuple

from mia_jax import sanitize
from mia_jax.evidence.manifest import FOLDER, MANIFEST, SCHEMA, SIDECAR, file_digest, sidecar
from mia_jax.storage import objects, places
from mia_jax.types import InputError

# Detached signatures of the manifest, which whoever vouches for it puts beside it: GnuPG, minisign, cosign, OpenSSL.
SIGNATURE = re.compile(re.escape(MANIFEST) + r"\.(asc|sig|minisig|bundle|pem|crt|p7s|sigstore(\.json)?)")
AGAIN = "get the folder anew from whoever ran the audit"
NAMED = 5  # files that an error names


class Verified(NamedTuple):
    """A folder of evidence that is as it was written."""

    folder: places.Place
    sha256: str  # of manifest.json
    manifest: dict[str, Any]
    signatures: tuple[str, ...]  # files beside it, which are not checked

    def __str__(self) -> str:
        m = self.manifest
        policy = f"policy {m['policy']['file']} {m['policy']['status']}" if m.get("policy") else "no policy"
        signed = f"signatures are not checked here: {', '.join(self.signatures)}" if self.signatures else "not signed"
        mark = "SIMULATED " if m.get("simulated") else ""
        made = f"{m['date']}, {m['code']['package']} {m['code']['version']}"
        return (
            f"Verified: {len(m['files'])} files in {self.folder} are as {MANIFEST} says, and that has SHA-256"
            f" {self.sha256} ({mark}{m['data']['name']}, {made}, {policy}; {signed})"
        )


def verify(folder: str | os.PathLike) -> Verified:
    """Check a folder of evidence against its manifest, and the manifest against its sidecar.

    Nothing is believed of who made it: whoever can write to the folder can write all of it anew.

    Args:
        folder: of the evidence, or the workdir that holds it; or its address, as s3://bucket/run/evidence.

    Raises:
        InputError: a file was changed, is missing or does not belong there: one line with its name.
    """
    path = places.place(folder)
    if isinstance(path, places.Address):
        return _verify_copy(path)
    path = path / FOLDER if (path / FOLDER / MANIFEST).is_file() else path
    if not (path / MANIFEST).is_file() and not (path / SIDECAR).is_file():
        raise InputError(f"{path} holds no evidence: there is no {MANIFEST}; a run with `evidence` writes it")
    try:
        sha256, manifest = _manifest(path)
        faults, signatures = _faults(path, manifest["files"])
        found = Verified(path, sha256, manifest, signatures)
        str(found)  # reads all that a line on it says
    except InputError:
        raise
    except OSError as error:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(path)
        raise InputError(f"{name} cannot be read ({error.strerror}), so this evidence is not verified") from None
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise InputError(f"{path / MANIFEST} is no manifest of evidence, though its digest is right: {AGAIN}") from None
    if faults:
        more = f", and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise InputError(f"{path} is not as it was written: {'; '.join(faults[:NAMED])}{more}; {AGAIN}")
    return found


def _verify_copy(address: places.Address) -> Verified:
    """Of what lies in an object store, fetched once."""
    store = objects.open_store(address)
    if f"{FOLDER}/" in store.names():
        address = address / FOLDER
        store = objects.open_store(address)
    with tempfile.TemporaryDirectory(prefix="mia_jax-") as temporary:
        copy = pathlib.Path(temporary)
        for name in store.names():
            if name.endswith("/"):
                (copy / name).mkdir()
            else:
                (copy / name).write_bytes(store.read(name) or b"")
        try:
            return verify(copy)._replace(folder=address)
        except InputError as error:
            raise InputError(str(error).replace(temporary, str(address))) from None


def _manifest(path: pathlib.Path) -> tuple[str, dict[str, Any]]:
    """The digest of the manifest, and what it says. Raises InputError where the sidecar says otherwise."""
    for name in (MANIFEST, SIDECAR):
        if not (path / name).is_file():
            raise InputError(f"{path} is not as it was written: {name} is missing; {AGAIN}")
    sha256 = file_digest(path / MANIFEST)
    if (path / SIDECAR).read_bytes() != sidecar(sha256):
        raise InputError(
            f"{path} is not as it was written: {MANIFEST} or {SIDECAR} was changed, for they differ; {AGAIN}"
        )
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["schema"] != SCHEMA:
        raise InputError(
            f"{path / MANIFEST} has schema {manifest['schema']!r}, not {SCHEMA}: verify it by the version that wrote it"
        )
    return sha256, sanitize.harmless_values(manifest)


def _faults(path: pathlib.Path, files: dict[str, Any]) -> tuple[list[str], tuple[str, ...]]:
    """What is wrong with the files, in words; and the signatures that lie beside them."""
    faults = []
    for name, about in files.items():
        file = path / name
        if file.parent != path or file.name != name:
            faults.append(f"{MANIFEST} names {sanitize.line(name)}, which is no file of this folder")
        elif file.is_symlink() or not file.is_file():
            faults.append(f"{name} is {'no file' if file.exists() else 'missing'}")
        elif file.stat().st_size != about["bytes"] or file_digest(file) != about["sha256"]:
            faults.append(f"{name} was changed")
    others = sorted(file.name for file in path.iterdir() if file.name not in {*files, MANIFEST, SIDECAR})
    signatures = tuple(name for name in others if SIGNATURE.fullmatch(name) and (path / name).is_file())
    faults += [f"{sanitize.line(name)} does not belong there" for name in others if name not in signatures]
    return faults, signatures
