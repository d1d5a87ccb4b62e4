"""docs/results-schema.md beside the types of results.json and beside runs of every plan."""

import pathlib
import re
import types
import typing

import numpy as np
import pytest
import small_runs

import mia_jax
from mia_jax import audits
from mia_jax.reports import results

PAGE = (pathlib.Path(mia_jax.__file__).parents[1] / "docs" / "results-schema.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|([PBDC ]*)\|", PAGE, re.MULTILINE)
BOUND = {key.removeprefix("<bound>."): kind for key, kind, _ in ROWS if key.startswith("<bound>.")}
TYPES = {key: kind for key, kind, _ in ROWS if not key.startswith("<bound>.")}
TYPES |= {
    f"{place}.{name}.{key}": kind
    for place in ("attacks.<attack>", "canaries.lira")
    for name in ("epsilon", "epsilon_gaussian")
    for key, kind in BOUND.items()
}
PLANS = {key: plans.split() or [*"PBDC"] for key, _, plans in ROWS}
PLACEHOLDERS = {
    "attacks": "<attack>",
    "tpr_at_fpr": "<rate>",
    "tail_tnr": "<rate>",
    "per_record_tpr_at_fpr": "<rate>",
    "ppv_at_prior": "<prior>",
    "by_shadows": "<count>",
}
PLACEHOLDERS["chosen_threshold"] = "<rate>"
FREE = ("config", "versions", "seconds", "paper.rows", "shadows.curves", "shadows.synthesis", "exposure.quantiles")
FREE += ("target.answers_of_earlier_runs", "shadows.diverged", "attacks.<attack>.shadows")  # not described key by key
FREE += ("overlap.any", "overlap.most", "overlap.all")


def test_every_typed_key_is_described():
    assert set(_typed(results.Results)) <= {*TYPES}


def test_every_described_key_is_typed_or_within_one_that_is_not():
    typed = set(_typed(results.Results))
    for key in TYPES:
        parents = [key[: match.start()] for match in re.finditer(r"\.|\[\]", key)]
        assert key in typed or any(parent in typed for parent in parents), key


def test_values_of_measures_are_described():
    for name in typing.get_type_hints(results.Measure):
        assert f'"{name}"' in PAGE


@pytest.mark.integration
@pytest.mark.parametrize("plan", ["P", "B", "D", "C"])
def test_runs_have_these_keys_and_no_others(plan, own, tmp_path):
    found = dict(_flat(_run(plan, own, tmp_path)))
    for key, value in found.items():
        if not key.endswith("[]") and (key in FREE or not key.startswith(FREE)):
            assert key in TYPES, key
            assert _is(value, TYPES[key]), (key, value, TYPES[key])
            assert plan in PLANS.get(key, plan), (key, plan)
    always = {key for key, _, plans in ROWS if not plans.strip() and "." not in key}
    assert always <= {*found}


def _run(plan: str, own: pathlib.Path, folder: pathlib.Path) -> results.Results:
    work = str(folder / "run")
    match plan:
        case "P":
            return audits.run(small_runs.config(own, folder / "run", num_epochs=1, num_shadows=2, attack_l2=1e-3))
        case "B":
            few = dict(num_models=6, num_targets=2, num_epochs=3, hidden=8, attacks="lira,gap")
            return audits.run(audits.BalancedConfig(dataset=str(own), workdir=work, **few))
        case "C":
            few = dict(canaries=60, train_size=100, num_epochs=2, hidden=8)
            few |= dict(canary_kind="clean,ood", num_models=4, num_targets=2)
            return audits.run(audits.CanaryConfig(dataset=str(own), workdir=work, **few))
    rng = np.random.default_rng(0)
    labels, trained = rng.integers(2, size=100), rng.random((5, 100)) < 0.5
    p = rng.beta(2 + 3 * trained, 2)
    p = np.where(np.eye(2, dtype=bool)[labels], p[..., None], 1 - p[..., None])
    saved = dict(labels=labels, target=p[0], member=trained[0], shadows=p[1:], shadow_member=trained[1:])
    np.savez(folder / "p.npz", **saved)
    return audits.run(audits.DeployedConfig(predictions=str(folder / "p.npz"), attacks="loss,rmia", workdir=work))


def _flat(value, path: str = ""):
    """(key, value) of everything in JSON, keys as on the page; what is a measure is not taken apart."""
    if path:
        yield path, value
    if isinstance(value, dict) and "value" not in value and path not in FREE:
        name = PLACEHOLDERS.get(path.rpartition(".")[2])
        for key, each in value.items():
            yield from _flat(each, f"{path}.{name or key}" if path else key)
    elif isinstance(value, list) and path not in FREE:
        for each in value:
            if isinstance(each, dict):
                yield from _flat(each, f"{path}[]")


def _is(value, kind: str) -> bool:
    """Whether a value is of a type as the page names it."""
    kinds = {"int": int, "float": int | float, "str": str, "dict": dict, "null": types.NoneType}
    kind = kind.strip()
    if kind.startswith("list of "):
        of = kind.removeprefix("list of ")
        return isinstance(value, list) and all(of == "list" or _is(each, of) for each in value)
    for one in re.split(r", | or ", kind):
        if one == "bool":
            if isinstance(value, bool):
                return True
        elif one == "measure":
            if isinstance(value, dict) and "value" in value and {*value} <= {"value", "low", "high", "reason", "read"}:
                return True
        elif isinstance(value, kinds[one]) and not isinstance(value, bool):
            return True
    return False


def _typed(block: type, path: str = "") -> list[str]:
    keys = []
    for name, hint in typing.get_type_hints(block).items():
        key = f"{path}.{name}" if path else name
        keys.append(key)
        if key == "attacks":
            keys += _typed(results.Attack, "attacks.<attack>")
        elif hint is not results.Measure and typing.is_typeddict(hint):
            keys += _typed(hint, key)
    return keys
