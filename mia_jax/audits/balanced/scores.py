"""The attacks of a balanced audit, each on every model that plays the target, with the others as its shadows.

When a model plays the target its partner plays no part: counts over the others would give membership away.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from mia_jax.attacks import ATTACKS, build, named, sources
from mia_jax.attacks.cmia import Retrain
from mia_jax.audits import bounds, seen, stages
from mia_jax.audits import config as configs
from mia_jax.audits.balanced.observations import Observed
from mia_jax.audits.balanced.plan import BalancedSetting
from mia_jax.audits.config import BalancedConfig
from mia_jax.audits.stages import stage_key
from mia_jax.audits.types import Run
from mia_jax.data import missing
from mia_jax.models import networks
from mia_jax.plans import membership
from mia_jax.progress import Advance
from mia_jax.rows import Rows
from mia_jax.statistics import metrics, thresholds
from mia_jax.storage import artifacts, stored
from mia_jax.storage.artifacts import Artifact
from mia_jax.storage.stored import Stored
from mia_jax.types import Attack, InputError, Key, Records, Remember

CURVE_TARGETS = 4  # that the curve over numbers of shadows is a mean of


class Judged(NamedTuple):
    """One attack on every target."""

    scores: np.ndarray | Rows  # float64 [T, n]; NaN where a record was not judged
    chosen: dict[str, list[float]]  # rate -> by target, the threshold chosen on a shadow
    curve: dict[int, np.ndarray | Rows]  # number of shadows -> of the first targets, scores [t, n]


# --- which attacks ---------------------------------------------------------------------------------------------------


def build_attacks(
    config: BalancedConfig,
    names: tuple[str, ...],
    setting: BalancedSetting,
    remember: Callable[[str], Remember],
    retrain: Retrain,
) -> dict[str, Attack]:
    """The attacks that can run, with what they need of the run.

    Args:
        config: of the attacks' options.
        names: of the attacks.
        setting: the records.
        remember: by attack, as its factory takes it.
        retrain: for attacks that train further shadows.

    Raises:
        InputError: one that was asked for by name cannot run.
    """
    schema = setting.schema
    has: dict[str, Any] = {"schema": schema, "retrain": retrain}
    if len(setting.population) > 0:
        has["population"] = Records(*(np.asarray(leaf)[setting.population] for leaf in setting.pool))
    if any("model" in ATTACKS[name].sources() for name in names):
        has["model"] = networks.build(configs.network(config), schema, hidden=config.hidden)
    run, lacks_values = configs.attack_run(config, **has), missing.lacking(setting.pool)
    attacks: dict[str, Attack] = {}
    for name in names:
        if reason := _cannot_run(name, run, lacks_values):
            raise_or_skip(config, name, reason)
            continue
        settings = configs.attack_settings(config)
        attacks[name] = build(name, schema.num_classes, settings, run | {"remember": remember(name)})
    return attacks


def _cannot_run(name: str, run: Mapping[str, Any], lacks_values: bool) -> str | None:
    """Why an attack cannot run here, in words; None if it can. ``lacks_values``: some features are NaN."""
    needs = ATTACKS[name].needed()
    if lacks_values and "features" in needs:
        return "it computes with features, and some are missing (NaN): fill them in"
    if "population" in needs and "population" not in run:
        return "it needs a `population`"
    if lacking := ATTACKS[name].lacks((*run, "remember")):
        return f"it needs {' and '.join(lacking)}, which this audit does not have"
    return None


def raise_or_skip(config: BalancedConfig, name: str, reason: str) -> None:
    """An attack that was asked for by name is missed; of ``all`` it is left out."""
    if name in named(config.attacks):
        raise InputError(f"`attacks`: {name} cannot run here: {reason}")


# --- scores ----------------------------------------------------------------------------------------------------------


def fit_and_score(key: Key, attack: Attack, observed: Observed, target: int, shadows: np.ndarray) -> np.ndarray:
    """What the attack makes of the target, learned on these shadows: float64 [n'], over ``observed.rows``."""
    place = {int(k): i for i, k in enumerate(observed.which)}
    rows = np.array([place[int(k)] for k in shadows], int)
    population = None
    if observed.population:
        seen = [observed.population[int(k)] for k in (target, *(shadows if attack.per_example else ()))]
        population = jax.tree.map(lambda *leaves: np.stack(leaves), *seen)
    learned = jax.tree.map(lambda leaf: leaf[rows], observed.fit)
    if attack.shadow_scores is None:  # an attack of one's own, that may look at all models at once
        learned = jax.tree.map(np.asarray, learned)
    state = attack.fit(key, learned, observed.fit_member[rows], population)
    return np.asarray(attack.score(state, observed.asked[int(target)]), np.float64)


def judge(
    run: Run[BalancedConfig],
    setting: BalancedSetting,
    name: str,
    attack: Attack,
    observed: Observed,
    model_names: list[str],
    *,
    parts: int,
    advance: Advance,
) -> Judged:
    """An attack on every target in turn, its partner left out; and what fewer shadows would have given.

    Args:
        run: its workdir keeps an artifact per target.
        setting: who trained on what.
        name: of the attack, in ``ATTACKS``.
        attack: itself.
        observed: what it saw.
        model_names: of each model, the digest of what made it [K].
        parts: of the attack's work on one target.
        advance: told of ``parts`` per target; an attack that has parts tells of those that it does itself.
    """
    key = jax.random.fold_in(stage_key(setting.root, "attack"), list(ATTACKS).index(name))
    options = configs.identity(run.config)
    common = {
        "version": stages.VERSION,
        "left_out": membership.VERSION,
        "attack": name,
        "source": sources([name]),
        "options": options,
        "key": stages.key_words(key),
        "candidates": artifacts.array_digest(setting.candidates, setting.population, observed.rows),
    }
    related = membership.related(setting.member)
    by_target, calibration_models = [], []
    for place, t in enumerate(setting.targets):
        shadows = membership.unrelated(related, observed.which, t)
        # Thresholds are chosen on its scores: another for each target.
        calibration_model = shadows[np.searchsorted(shadows, t) % len(shadows)]
        curve = place < CURVE_TARGETS
        description = {
            **common,
            "target": model_names[t],
            "shadows": [model_names[k] for k in shadows],
            "curve": curve,
            "rehearsal": model_names[calibration_model],
        }
        cached = run.workdir.load("scores", description)
        steps = parts if cached is not None or ATTACKS[name].parts is None else 0
        if cached is None:
            arrays = _attack_target(key, attack, observed, related, t, shadows, calibration_model, curve=curve)
            run.workdir.save("scores", description, arrays)
            cached = Artifact(arrays, {})
        if len(setting.targets) * seen.bytes_of(cached.arrays) > bounds.HELD // 16:  # of many attacks' each
            cached = run.workdir.located("scores", description, cached)
        advance(steps)
        by_target.append(cached.arrays)
        calibration_models.append(calibration_model)
    return _collected(setting, observed.rows, by_target, calibration_models)


def _attack_target(
    key: Key,
    attack: Attack,
    observed: Observed,
    related: np.ndarray,
    target: int,
    shadows: np.ndarray,
    calibration_model: int,
    *,
    curve: bool,
) -> dict[str, np.ndarray]:
    """Scores [n'] of one target, "score"; an attack that compares a record with itself in other models has more.

    "rehearsal" are the scores of ``calibration_model``, a shadow in the place of the target, on which thresholds are
    chosen; "curve/1", "curve/2", ... (if ``curve``) what the first so many shadows would have given. ``related``:
    ``membership.related``.
    """
    arrays = {"score": fit_and_score(key, attack, observed, target, shadows)}
    if "trainer" in attack.needs:  # each of what follows would train models of its own
        return arrays
    if attack.per_example and len(shadows) > 2:
        others = membership.unrelated(related, observed.which, target, calibration_model)
        arrays["rehearsal"] = fit_and_score(key, attack, observed, calibration_model, others)
    if attack.per_example and curve:
        for count in shadow_counts(len(shadows), attack):
            arrays[f"curve/{count}"] = fit_and_score(key, attack, observed, target, shadows[:count])
    return arrays


def _collected(
    setting: BalancedSetting, rows: np.ndarray, by_target: list[Mapping[str, np.ndarray]], calibration_models: list[int]
) -> Judged:
    """The arrays of ``_attack_target``, over ``rows``, of every target and its calibration model."""
    chosen: dict[str, list[float]] = {f"{rate:g}": [] for rate in metrics.RATES}
    curve: dict[int, list[Any]] = {}
    for arrays, calibration_model in zip(by_target, calibration_models, strict=True):
        if "rehearsal" in arrays:
            member = setting.member[calibration_model][rows]
            for rate in metrics.RATES:
                chosen[f"{rate:g}"].append(thresholds.threshold_at_fpr(_array(arrays["rehearsal"]), member, rate))
        for column, values in arrays.items():
            if column.startswith("curve/"):
                curve.setdefault(int(column.removeprefix("curve/")), []).append(values)
    n = len(setting.candidates)
    scores = _over_all([arrays["score"] for arrays in by_target], rows, n)
    return Judged(scores, chosen, {count: _over_all(each, rows, n) for count, each in curve.items()})


def _array(values: np.ndarray | Stored) -> np.ndarray:
    return values.read() if isinstance(values, Stored) else values


def _over_all(each: list[Any], rows: np.ndarray, n: int) -> np.ndarray | Rows:
    """Scores over ``rows`` [n'], of several targets, as [T, n]; NaN elsewhere."""
    if len(rows) == n and isinstance(each[0], Stored):
        return stored.stack(each)
    scores = np.full((len(each), n), np.nan)
    for row, values in zip(scores, each, strict=True):
        row[rows] = _array(values)
    return scores


def fits(attack: Attack, shadows: int, targets: int) -> list[int]:
    """Shadows of each time that ``judge`` fits an attack that compares a record with itself, over all targets."""
    calibration = [shadows - 2] if shadows > 2 else []
    return [shadows, *calibration] * targets + shadow_counts(shadows, attack) * min(targets, CURVE_TARGETS)


def shadow_counts(available: int, attack: Attack) -> list[int]:
    """1, 2, 4, ... shadows; an attack that needs both sides begins with a pair, which has every record on both."""
    counts, count = [], 2 if "in" in attack.needs else 1
    while count < available:
        counts.append(count)
        count *= 2
    return [*counts, available]
