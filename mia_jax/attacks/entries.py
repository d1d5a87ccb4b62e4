"""What is registered in ``ATTACKS``: the factory of an attack, its names, what it needs, and its options.

Everything that is told of an attack elsewhere comes from its ``Entry``: its flags, their defaults and which of them are
refused without it, what it is called in tables, what it lacks where it cannot run.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from mia_jax.types import Attack, InputError

# What an attack may need, in the words of a message.
NEEDS = {
    "in": "shadow models that trained on the records",
    "out": "shadow models that did not train on the records",
    "population": "records that trained no model",
    "features": "the records themselves",
    "queries": "queries of its own to the target and the shadows",
    "trainer": "models to train",
}
BOTH, OUT = frozenset({"in", "out"}), frozenset({"out"})
ANSWERS = frozenset({"in", "out", "population"})  # what answers that were saved can give; the rest is beyond them


class Option(NamedTuple):
    """A parameter of an attack's factory, beside ``num_classes``.

    It is given what its flag says, where it has one; what the run has under the name ``source``, where the run has
    that; otherwise the factory's own default. One that has none of these is what the attack lacks.
    """

    name: str  # the factory's parameter
    type: type = str  # of its flag: bool, int, float or str
    default: Any = None  # of its flag
    help: str = ""  # of its flag
    flag: str | None = None  # without --; also its key in results.json and the field of a configuration. None: no flag
    low: float | None = None  # the least that it may be
    above: float | None = None  # what it must exceed
    choices: tuple[str, ...] = ()  # the values that it may have; any, where there are none
    # What of a run its value is: "schema", "population" (Records), "model", "remember", or a setting of the run's
    # configuration, as "seed" or "dp_noise_multiplier".
    source: str | None = None
    make: Callable[[Any, Mapping[str, Any]], Any] | None = None  # (value of the flag, run) -> what the factory is given
    needs: frozenset[str] = frozenset()  # what the attack needs besides, where the flag has not its default


def python_only(*names: str) -> tuple[Option, ...]:
    """Parameters that no flag sets: in an audit they have the factory's defaults."""
    return tuple(Option(name) for name in names)


class Entry(NamedTuple):
    """A registered attack, called as its factory is: (num_classes, **options) -> Attack."""

    factory: Callable[..., Attack]
    title: str  # for tables and legends
    reference: str
    short: str = ""  # for narrow columns and legends; "": its name in ATTACKS
    options: tuple[Option, ...] = ()  # all parameters of the factory beside num_classes
    needs: frozenset[str] | None = None  # of ``NEEDS``, as the Attack says; None: the factory is called to find out
    parts: Callable[..., int] | None = None  # of long work, by (num_classes, **options); the factory has ``remember``
    # It imitates the target: all that it asks of its own is its population, once, and it can do without shadows.
    imitates: bool = False
    by_name: bool = False  # it costs as much as many models do: "all" attacks are all but these

    def __call__(self, num_classes: int, **options: Any) -> Attack:
        """The attack.

        Raises:
            InputError: it needs something that there is not, or not what its entry says.
        """
        attack = checked(self.factory(num_classes, **options))
        more = frozenset().union(*(option.needs for option in self.options))
        if self.needs is not None and not self.needs <= attack.needs <= self.needs | more:
            said, true = (", ".join(sorted(needs)) or "nothing" for needs in (self.needs, attack.needs))
            raise InputError(f"{self.title}: its entry says that it needs {said}, and the attack {true}: make them one")
        return attack

    def needed(self) -> frozenset[str]:
        """What it needs, of ``NEEDS``, as long as no option adds to it.

        Raises:
            InputError: the entry does not say so, and the attack cannot be made without a run to find out.
        """
        if self.needs is not None:
            return self.needs
        if lacking := self.lacks(()):
            raise InputError(
                f"{self.title} takes {' and '.join(lacking)} of a run: its entry says what it needs (needs=)"
            )
        return self(2).needs

    def mismatch(self) -> str:
        """How its options are not the parameters of its factory, in words; "" where they are."""
        _, *parameters = inspect.signature(self.factory).parameters.values()
        taken, declared = {p.name for p in parameters}, {option.name for option in self.options}
        if silent := sorted(taken - declared):
            return f"its factory takes {silent[0]}, which its entry does not have: an Option, or python_only"
        if idle := sorted(declared - taken):
            return f"its entry has the option {idle[0]}, which its factory does not take"
        return ""

    def flags(self) -> dict[str, Option]:
        """Its options that flags set, by flag."""
        return {option.flag: option for option in self.options if option.flag is not None}

    def sources(self) -> frozenset[str]:
        """What of a run its options are, where the run has it."""
        return frozenset(option.source for option in self.options if option.source is not None)

    def lacks(self, run: Collection[str]) -> list[str]:
        """The sources without which it cannot be made and that ``run`` does not have."""
        parameters = inspect.signature(self.factory).parameters
        return [
            option.source
            for option in self.options
            if option.source is not None
            and option.source not in run
            and parameters[option.name].default is inspect.Parameter.empty
        ]

    def arguments(self, settings: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
        """Every option that is declared and has a value.

        Args:
            settings: values by flag; of other attacks' flags, too.
            run: what a run has, by ``Option.source``.
        """
        given: dict[str, Any] = {}
        for option in self.options:
            if option.flag is not None and option.flag in settings:
                value = settings[option.flag]
                given[option.name] = value if option.make is None else option.make(value, run)
            elif option.source is not None and option.source in run:
                given[option.name] = run[option.source]
        return given


def checked(attack: Attack) -> Attack:
    """The attack, if all that it needs is known.

    Raises:
        InputError: it needs something else.
    """
    if "public" in attack.needs:
        raise InputError('an attack that needs "public" is now said to need "population": name it so')
    if unknown := sorted(attack.needs - NEEDS.keys()):
        raise InputError(f"an attack needs {unknown[0]!r}, which is none of {', '.join(NEEDS)}")
    return attack
