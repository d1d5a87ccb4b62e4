"""Fields of configurations, what is said of each, and those that the options of attacks bring."""

import dataclasses
from typing import TYPE_CHECKING, Any

from mia_jax import attacks
from mia_jax.attacks.entries import ANSWERS


def about_field(
    help: str,
    *,
    identity: bool = True,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    above: float | None = None,
    key: str | None = None,
    flag: bool = True,
) -> dict[str, Any]:
    """What is said of a field.

    Args:
        help: of its flag.
        identity: part of what the run is, so of the workdir's name; the rest is how it is shown or done.
        choices: the values that it may have; any, where there are none.
        low: the least that it may be.
        above: what it must exceed.
        key: its name in JSON, where that is another: results.json keeps its keys.
        flag: whether it has one.
    """
    return dict(help=help, identity=identity, choices=choices, low=low, above=above, key=key, flag=flag)


def option(default: Any, help: str, **about: Any) -> Any:
    """A field; ``about`` as of ``about_field``."""
    return dataclasses.field(default=default, metadata=about_field(help, **about))


def _of_attacks(beyond_answers: bool) -> list[tuple[str, Any, Any]]:
    """Fields (name, type, field) for the options of attacks that flags set (``mia_jax.attacks.ATTACKS``).

    Args:
        beyond_answers: those of attacks that need more than plain answers, as queries of their own; or the others.
    """
    fields = {}
    for entry in attacks.ATTACKS.values():
        for flag, o in entry.flags().items():
            if beyond_answers == bool((entry.needed() | o.needs) - ANSWERS):
                kind = o.type if o.default is not None else o.type | None
                field = option(o.default, o.help, choices=o.choices, low=o.low, above=o.above)
                fields[flag] = (flag, kind, field)
    return [*fields.values()]


# Options of attacks that are always part of a run's identity, as they were when the first workdirs were written. One
# that came later counts where it is not at its default: a new attack changes nobody's workdir.
FIRST_OPTIONS = frozenset(
    {
        "attack_batch_size",
        "attack_hidden",
        "attack_l2",
        "attack_learning_rate",
        "attack_rows",
        "attack_steps",
        "augment",
        "num_queries",
    }
)

# ``attack_hidden``, ``attack_steps``, ...
AttackOptions: Any = dataclasses.make_dataclass("AttackOptions", _of_attacks(beyond_answers=False), frozen=True)
# ``augment``, ``num_queries``, ...: where there are models to be asked as often as it takes
if TYPE_CHECKING:  # two bases that may be anything have no order

    class QueryOptions: ...
else:
    QueryOptions = dataclasses.make_dataclass("QueryOptions", _of_attacks(beyond_answers=True), frozen=True)
