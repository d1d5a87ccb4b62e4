"""A policy: what a model may tell of its training records, in a TOML file that people decide on and audits read.

    title = "Models that leave the hospital"

    [required]                        # what must have been looked at, or nothing is decided
    attacks = ["lira", "rmia"]
    members = 1000                    # judged, of each target
    non_members = 1000
    shadows = 16
    blind_baseline = true
    negative_control = true

    [limits]                          # of every attack that ran, each a measure as a gate has it
    end = "high"                      # the upper end of the 95 % interval must not exceed the limit; or value, low
    auc = 0.6
    "tpr@0.01" = 0.05
    "lira:balanced_accuracy" = 0.55
    epsilon = 2                       # the lower bound that is proven, whatever the end

    [limits.subgroups]                # of every group of records
    "tpr@0.01" = 0.1

Limits are conditions of a gate (``audits/gate.py``), which decides them and fails closed where it cannot; ``judge`` in
``audits/policy_verdict.py`` has the outcome. docs/policy.md has the keys.
"""

import difflib
import hashlib
import math
import os
import pathlib
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, NoReturn

from mia_jax.audits import gate
from mia_jax.audits.gate import Condition
from mia_jax.types import InputError

CONFIDENCE = 0.95  # of all intervals of this library
ENDS = ("high", "value", "low")
LARGEST = 1 << 20  # bytes of a policy
TABLES: dict[str, dict[str, type]] = {  # table -> key -> type
    "": {"title": str, "required": dict, "limits": dict},
    "required": {
        "attacks": list,
        "members": int,
        "non_members": int,
        "shadows": int,
        "blind_baseline": bool,
        "negative_control": bool,
    },
    "limits": {"end": str, "confidence": float, "subgroups": dict},
    "limits.subgroups": {},
}
MEASURED = ("limits", "limits.subgroups")  # tables in which all other keys are measures
OF_GROUPS = ("auc", "tpr")  # measures of groups of records, of the attack that finds most
TYPES: dict[type, str] = {
    str: "text",
    dict: "a table",
    list: "a list of names",
    int: "a whole number",
    bool: "true or false",
}
QUOTES = 'names with @, : or a dot stand in quotes, as in "tpr@0.01" = 0.05'
GUESSING = {"auc": 0.5, "balanced_accuracy": 0.5}  # what guessing gives; of tpr@r and ppv@p that is r and p

_PART = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
_KEYS = rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*"
_HEADER, _PAIR = re.compile(rf"\s*\[{_KEYS}\]"), re.compile(rf"{_KEYS}=")


class Limit(NamedTuple):
    """A number that a measure must not exceed."""

    rule: str  # where it stands in the policy: limits.auc
    limit: float
    condition: Condition  # that must not hold


class Policy(NamedTuple):
    """What ``read`` makes of a file."""

    file: str  # its name, without folders
    text: bytes
    title: str
    required: Mapping[str, Any]
    end: str  # of intervals, that must not exceed a limit
    limits: tuple[Limit, ...]
    subgroups: tuple[Limit, ...]

    @property
    def sha256(self) -> str:
        """The digest of its text, lower-case hex."""
        return hashlib.sha256(self.text).hexdigest()


def read(path: str | os.PathLike, *, attacks: Collection[str] | None = None) -> Policy:
    """The policy in a file, checked before any work.

    Args:
        path: of a TOML file.
        attacks: those that may run, where that is known; a policy that asks for others is refused.

    Raises:
        InputError: the file cannot be read, a key is unknown, a value is of another type or impossible, or nothing is
            asked for: one line with the key, and the line of the file.
    """
    file = pathlib.Path(path)
    try:
        with open(file, "rb") as f:
            text = f.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise InputError(f"policy {file}: it has more than {LARGEST:,} bytes, and is no policy")
        values = tomllib.loads(text.decode())
    except OSError as error:
        raise InputError(f"policy {file} cannot be read ({error.strerror}): give the path of a TOML file") from None
    except UnicodeDecodeError:
        raise InputError(f"policy {file} is no text in UTF-8: write it anew as TOML") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        hint = f"; {QUOTES}" if "'=' after a key" in str(error) else ""
        raise InputError(f"policy {file} is no TOML: {error}{hint}") from None
    return _Reading(file, text, _lines(text.decode())).policy(values, attacks)


class _Reading(NamedTuple):
    """A file that is read."""

    file: pathlib.Path
    text: bytes
    lines: Mapping[tuple[str, ...], int]

    def refuse(self, path: tuple[str, ...], what: str) -> NoReturn:
        """Raises InputError that names the key, and its line as far as it is known."""
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        where = f", line {line}" if line else ""
        raise InputError(f"policy {self.file}{where}: {_written(path)} {what}")

    def policy(self, values: Mapping[str, Any], attacks: Collection[str] | None) -> Policy:
        """The policy of the file's ``values``."""
        self.check_table((), values)
        required, limits = values.get("required", {}), values.get("limits", {})
        self.check_table(("required",), required)
        self.check_table(("limits",), limits)
        self.check_table(("limits", "subgroups"), limits.get("subgroups", {}))
        self.check_required(required, attacks)
        end = limits.get("end", "high")
        if end not in ENDS:
            self.refuse(("limits", "end"), f"= {end!r} is not one of {', '.join(ENDS)}")
        if limits.get("confidence", CONFIDENCE) != CONFIDENCE:
            self.refuse(("limits", "confidence"), f"is {CONFIDENCE} of all intervals here: leave it out")
        found = [self.limits(("limits",), limits, end, attacks)]
        found.append(self.limits(("limits", "subgroups"), limits.get("subgroups", {}), end, attacks))
        asked = {name: value for name, value in required.items() if value not in (False, [])}
        if not asked and not any(found):
            raise InputError(
                f"policy {self.file} asks for nothing: give a limit under [limits], as auc = 0.6, or leave it out"
            )
        return Policy(self.file.name, self.text, values.get("title", ""), asked, end, *found)

    def check_table(self, path: tuple[str, ...], values: Mapping[str, Any]) -> None:
        """Refuse unknown keys, and values of another type."""
        known = TABLES[".".join(path)]
        for key, value in values.items():
            kind = known.get(key, float if ".".join(path) in MEASURED else None)
            if kind is None:
                tables = [name for name in TABLES if key in TABLES[name] and name]
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                hint = f"it belongs under [{tables[0]}]" if tables else hint
                self.refuse((*path, key), f"is not known; {hint}")
            if kind is float and isinstance(value, dict):
                self.refuse((*path, key), f"is a table: {QUOTES}")
            if kind is float and (isinstance(value, bool) or not isinstance(value, int | float)):
                self.refuse((*path, key), f"= {value!r} must be a number")
            if kind is not float and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
                self.refuse((*path, key), f"= {value!r} must be {TYPES[kind]}")

    def check_required(self, required: Mapping[str, Any], attacks: Collection[str] | None) -> None:
        """Refuse attacks that do not run, and counts below 1."""
        for key, value in required.items():
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                self.refuse(("required", key), f"= {value} must be at least 1")
        names = required.get("attacks", [])
        if stray := [name for name in names if not isinstance(name, str)]:
            self.refuse(("required", "attacks"), f"has {stray[0]!r}, which is no name")
        if attacks is not None and (stray := [name for name in names if name not in attacks]):
            self.refuse(("required", "attacks"), f"has {stray[0]}, and the attacks of this audit are {_few(attacks)}")

    def limits(
        self, path: tuple[str, ...], values: Mapping[str, Any], end: str, attacks: Collection[str] | None
    ) -> tuple[Limit, ...]:
        """The limits in a table, as conditions that must not hold."""
        found = []
        for key, value in values.items():
            if key in TABLES[".".join(path)]:
                continue
            try:
                (condition,) = gate.parse(_condition(key, end), attacks=attacks)
            except InputError as error:
                self.refuse((*path, key), f"is no measure: {str(error).removeprefix('gate: ')}")
            if path[-1] == "subgroups" and (condition.attack or condition.measure not in OF_GROUPS):
                self.refuse((*path, key), "is not known of groups of records: they have auc and tpr@...")
            if impossible := _impossible(condition, value):
                self.refuse((*path, key), f"= {value:g} {impossible}")
            condition = condition._replace(text=_written((*path, key)), bound=float(value))
            found.append(Limit(condition.text, float(value), condition))
        return tuple(found)


def _condition(key: str, end: str) -> str:
    """A limit as a condition of a gate that must not hold: auc.high>0.5, of some number."""
    if "," in key or ">" in key:
        raise InputError(f"{key!r}; one is written tpr@0.01, or lira:auc")
    fixed = key.endswith((".low", ".high")) or "epsilon" in key or end == "value"
    return f"{key}{'' if fixed else f'.{end}'}>0.5"


def _impossible(condition: Condition, limit: float) -> str:
    """Why a limit is none, or cannot be kept, in words that follow the number; else empty."""
    share = condition.measure != "epsilon"
    if not math.isfinite(limit) or limit < 0 or (share and limit > 1):
        hint = f"; {limit:g} % is {limit / 100:g}" if share and 1 < limit <= 100 else ""
        return f"is impossible: {condition.measure} is a number from 0 {'to 1' if share else 'up'}{hint}"
    if share and limit == 1:
        return f"limits nothing: {condition.measure} is at most 1"
    guess = GUESSING.get(condition.measure, condition.at)
    if guess is not None and limit < guess and condition.end != "low":
        return f"cannot be kept: guessing gives {guess:g}"
    return ""


def _written(path: tuple[str, ...]) -> str:
    """A key as it stands in the file."""
    return ".".join(part if re.fullmatch(r"[\w-]+", part) else f'"{part}"' for part in path)


def _few(names: Collection[str]) -> str:
    some = list(names)
    return ", ".join(some[:30]) + (", ..." if len(some) > 30 else "")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of each key of a TOML text, from 1; within texts of several lines none is looked for."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    open_text = ""  # the quotes that end a text of several lines
    for number, line in enumerate(text.splitlines(), 1):
        if not open_text and (header := _HEADER.match(line)):
            table = _parts(header[1])
            found.setdefault(table, number)
        elif not open_text and (pair := _PAIR.match(line)):
            parts = _parts(pair[1])
            for n in range(1, len(parts) + 1):
                found.setdefault((*table, *parts[:n]), number)
        for quotes in re.findall(r'"""|' + "'''", line):
            open_text = "" if quotes == open_text else open_text or quotes
    return found


def _parts(keys: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, keys))
