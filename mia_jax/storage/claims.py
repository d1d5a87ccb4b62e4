"""Whether a folder is this run's to write to: another configuration's, and files that are no run's, are refused."""

import glob
import json
import pathlib
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mia_jax.storage.files import write_json
from mia_jax.storage.objects import ObjectStore
from mia_jax.types import DiskError, InputError

Description = Mapping[str, Any]  # JSON values
ARTIFACT = re.compile(r"[0-9a-f]{32}\.npz")
MANY = 20  # folders, more than a run has


def refuse_url(path: pathlib.Path) -> None:
    """Refuse what was an object store's address, and became a path: a folder of that name would be made here.

    Raises:
        InputError: it says what to do.
    """
    if re.match(r"[A-Za-z][\w+.-]+:/", path.as_posix()):  # pathlib makes one slash of two
        url = path.as_posix().replace(":/", "://", 1)
        raise InputError(
            f"the workdir {path.as_posix()} is no folder: give an address as a text, as {url}, where one may stand"
        )


def refuse_foreign(path: pathlib.Path) -> None:
    """Refuse a folder that holds files and no run: its report.html might be somebody's.

    Raises:
        InputError: it says what is there.
    """
    if not path.is_dir() or (path / "config.json").exists() or _signs_of_a_run(path):
        return

    def shown(folder: pathlib.Path) -> list[pathlib.Path]:
        return [p for p in folder.iterdir() if not p.name.startswith(".")]

    others = sorted(p.name for p in shown(path) if p.name != "lock" and (not p.is_dir() or shown(p)))
    if others:
        raise InputError(_foreign(f"the folder {path}", others) + "; choose another workdir, or leave it out")


def _foreign(where: str, names: Sequence[str]) -> str:
    return f"{where} holds no run but {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def in_stages(path: pathlib.Path) -> list[pathlib.Path]:
    """The .npz files one level below a workdir, of which another process may remove a folder meanwhile, as locks/."""
    return [path / name for name in glob.glob("*/*.npz", root_dir=path)]  # pathlib's fails then, before Python 3.13


def _signs_of_a_run(path: pathlib.Path) -> bool:
    """Whether a run has left anything in a folder, its configuration apart."""
    queried = (path / "target" / "asked").exists() or any(path.glob("target/answers-*.bin"))
    if queried or any(ARTIFACT.fullmatch(file.name) for file in in_stages(path)):
        return True
    try:
        results = json.loads((path / "results.json").read_text(encoding="utf-8"))
        return {"schema", "config", "attacks"} <= results.keys()
    except (OSError, ValueError, AttributeError):
        return False


def _text(path: pathlib.Path) -> str:
    """What config.json says. Another process is about to write an empty one, where there are no links."""
    for _ in range(20):
        if text := path.read_text(encoding="utf-8"):
            return text
        time.sleep(0.1)
    return ""


def check_config(path: pathlib.Path, config: Description) -> None:
    """Refuse a folder whose config.json (``path``) is another run's; one that is damaged is written anew.

    Raises:
        InputError: it says what differs.
    """
    try:
        there = json.loads(_text(path))
        if not isinstance(there, dict):
            raise ValueError("it is no configuration")
    except FileNotFoundError:
        return
    except (ValueError, IsADirectoryError):
        if path.is_dir() or not _signs_of_a_run(path.parent):
            raise InputError(f"{path} is damaged; remove the workdir, or choose another") from None
        # Nothing wrong can be taken up: artifacts are named by what made them, and say so themselves.
        warnings.warn(
            f"{path} is damaged: it is written anew, as this run is configured; what is there and fits is used",
            stacklevel=4,
        )
        write_json(path, config)
        return
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); choose another workdir") from None
    if not {*there} & {*config} and not _signs_of_a_run(path.parent):
        raise InputError(
            _foreign(f"the folder {path.parent}", ["a config.json of something else"])
            + "; choose another workdir, or leave it out"
        )
    refuse_another(path.parent, there, config)


def refuse_another(workdir: Any, there: Description, config: Description) -> None:
    """Refuse a workdir whose configuration is ``there``, where that is another one.

    Raises:
        InputError: it says what differs.
    """
    differ = [
        f"{key}: {there.get(key)!r} there, {config.get(key)!r} asked for"
        for key in sorted({*there, *config})
        if there.get(key) != config.get(key)
    ]
    if differ:
        raise InputError(
            f"the workdir {workdir} holds another configuration ({'; '.join(differ)});"
            " choose another workdir, or leave it out"
        )


def check_store(store: ObjectStore, config: Description) -> bool:
    """Refuse an address that holds another run, or something else than a run; returns whether it holds this one's.

    Raises:
        InputError: it says what is there, or that the store cannot be read.
    """
    try:
        content = store.read("config.json")
        others = _others(store) if content is None else []
    except DiskError as error:
        raise InputError(str(error)) from None
    if others:
        raise InputError(f"{_foreign(str(store.address), others)}; choose another workdir")
    if content is None:
        return False
    if (there := _parsed(content)) is None:
        raise InputError(f"{store.address / 'config.json'} is no configuration; remove it, or choose another workdir")
    refuse_another(store.address, there, config)
    return True


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        there = json.loads(content)
    except ValueError:
        return None
    return there if isinstance(there, dict) else None


def _others(store: ObjectStore) -> list[str]:
    """What an address without a configuration holds, where no run has been there."""
    names = [name for name in store.names() if not name.startswith(".") and name != "locks/"]
    if "results.json" in names:
        return []
    folders = [name.rstrip("/") for name in names if name.endswith("/")]
    if len(folders) > MANY:  # as of a whole bucket, each of which would be listed
        return names
    inside = (each for folder in folders for each in store.names(folder))
    is_run = any(ARTIFACT.fullmatch(each) or each == "asked" or each.startswith("answers-") for each in inside)
    return [] if is_run else names
