"""An attack by its name, and what it makes of one of several models with the others as its shadows."""

import difflib
import inspect
from typing import Any

import jax
import numpy as np

from mia_jax.attacks import ATTACKS
from mia_jax.plans import membership
from mia_jax.types import Array, Attack, InputError, Key, Seen


def attack(name: str, num_classes: int, **options: Any) -> Attack:
    """An attack by its name in ``mia_jax.attacks.ATTACKS``, with its options.

    Args:
        name: "lira", "rmia", "shokri", ...; ``ATTACKS[name].reference`` is its paper.
        num_classes: c.
        options: of the attack's factory, as ``gamma=`` of RMIA; ``help(mia_jax.attacks.ATTACKS[name].factory)`` tells
            them. Options that are left out have the factory's defaults.

    Raises:
        InputError: there is no such attack, it has no such option, or it cannot do without one that is not given.

    >>> import mia_jax as mia
    >>> mia.attack("rmia", num_classes=10, gamma=2.0).per_example
    True
    """
    if name not in ATTACKS:
        close = difflib.get_close_matches(str(name).lower(), ATTACKS, n=2)
        hint = f"did you mean {' or '.join(close)}? There" if close else "there"
        raise InputError(f'there is no attack "{name}"; {hint} are {", ".join(ATTACKS)}')
    parameters = list(inspect.signature(ATTACKS[name].factory).parameters.values())[1:]
    known = [parameter.name for parameter in parameters]
    if unknown := [option for option in options if option not in known]:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise InputError(f"{name} has no option {unknown[0]!r}; {has}")
    required = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]
    if lacking := [option for option in required if option not in options]:
        raise InputError(f"{name} needs {' and '.join(f'{option}=' for option in lacking)}")
    return ATTACKS[name](num_classes, **options)


def score(
    key: Key,
    attack: Attack,
    observed: Seen,
    member: Array,
    *,
    target: int,
    index: Array | None = None,
    population: Seen | None = None,
) -> np.ndarray:
    """Scores of one model's records, by the attack fitted on the other models: they are its shadows.

    Models that trained on the same records as the target, or on all others, as its partner in the balanced plan, are
    no shadows: counts over the rest would give the target's training set away.

    Args:
        key: for attacks that draw random numbers, as shokri's networks.
        attack: any.
        observed: what ``attack.observe`` sees of S models, leaves [S, n, ...], as ``observe_shadows`` gives it.
        member: bool [S, n], which of its n records trained each model; column j of all models is one record, unless
            there is an ``index``.
        target: the model that is attacked, below S.
        index: int [S, n], the record behind each column of each model, where models were asked about different ones, as
            in the paper's plan. Attacks that compare a record with itself in other models cannot be used then.
        population: what was seen of records that trained no model, leaves [S, m, ...], for attacks that need it.

    Returns:
        float64 [n]; larger = more likely a member, 0 = the boundary that was learned on the shadows. NaN: no score.

    Raises:
        InputError: shapes that do not fit, or no shadow is left.

    >>> import jax, numpy as np, mia_jax as mia
    >>> plan = mia.plans.balanced(jax.random.key(0), 6, num_models=4)
    >>> member = mia.plans.membership_matrix(plan, 6)
    >>> confident = {"phi": np.where(member, 3.0, -1.0)}  # scaled logits of models that remember what they saw
    >>> scores = mia.score(jax.random.key(1), mia.attack("lira_fixed", 2), confident, member, target=0)
    >>> bool(((scores > 0) == member[0]).all())
    True
    """
    member = np.asarray(member)
    models = len(member)
    _check(attack, observed, member, target, index)
    trained = member.astype(bool) if index is None else _over_the_pool(member.astype(bool), np.asarray(index))
    shadows = membership.unrelated(membership.related(trained), np.arange(models), target)
    if not len(shadows):
        raise InputError(
            f"no shadow is left for model {target}: the {models - 1} others trained on the same records, or on all that"
            " it did not train on" + ("" if index is not None else "; are these different records? Give index= then")
        )
    others = jax.tree.map(lambda leaf: np.asarray(leaf)[shadows], observed)
    if population is not None:
        rows = np.append(target, shadows)
        population = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], population)
    state = attack.fit(key, others, member[shadows].astype(bool), population)
    return np.asarray(attack.score(state, jax.tree.map(lambda leaf: np.asarray(leaf)[target], observed)), np.float64)


def _check(attack: Attack, observed: Seen, member: np.ndarray, target: int, index: Array | None) -> None:
    leaves = jax.tree.leaves(observed)
    if member.ndim != 2 or any(np.shape(leaf)[:2] != member.shape for leaf in leaves):
        raise InputError(
            f"member is bool [S, n] beside what was observed, leaves [S, n, ...]; they have the shapes {member.shape}"
            f" and {', '.join(str(np.shape(leaf)) for leaf in leaves)}"
        )
    if not 0 <= target < len(member):
        raise InputError(f"the target is one of {len(member)} models, 0 to {len(member) - 1}; there is no {target}")
    if index is not None and np.shape(index) != member.shape:
        raise InputError(f"index is int {list(member.shape)}, the record behind each column; it has {np.shape(index)}")
    if index is not None and attack.per_example:
        raise InputError(
            "this attack compares a record with itself in other models, so all must be asked about the same records:"
            " use the balanced plan, or observe all models on one set of records"
        )


def _over_the_pool(member: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Bool [S, N], the records of the pool that trained each model."""
    trained = np.zeros((len(member), int(index.max()) + 1), bool)
    for row, inside, records in zip(trained, member, index, strict=True):
        row[records[inside]] = True
    return trained
