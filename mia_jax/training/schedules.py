"""How the learning rate changes over a training: factors of it, by step, as schedules of optax.

A ``Shape`` is a schedule whose length is not known yet: (steps of the whole training) -> (step -> factor of the
learning rate, 1 at its peak). ``SCHEDULES`` has them by name, ``parse`` reads them from text, and ``rate`` makes of one
what an optimizer takes.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import optax

from mia_jax import calls
from mia_jax.types import InputError

Shape = Callable[[int], optax.Schedule]


def constant() -> Shape:
    """The learning rate as it is."""
    return lambda steps: optax.constant_schedule(1.0)


def cosine(final: float = 0.0) -> Shape:
    """Down to ``final`` along half a cosine (Loshchilov and Hutter 2017, without restarts; torch's CosineAnnealingLR).

    Torch's is usually moved on once an epoch, this one at every step.
    """
    _share("cosine", "final", final)
    return lambda steps: optax.cosine_decay_schedule(1.0, steps, alpha=final)


def fixmatch() -> Shape:
    """cos(7 pi / 16 * share of the steps done), so down to .195 (Sohn et al. 2020, "FixMatch"; LiRA's code has it)."""
    return lambda steps: lambda step: jnp.cos(7 * jnp.pi / 16 * step / steps)


def linear(final: float = 0.0) -> Shape:
    """Down to ``final`` along a line."""
    _share("linear", "final", final)
    return lambda steps: optax.linear_schedule(1.0, final, steps)


def triangular(peak: float = 0.23, start: float = 0.2, final: float = 0.07) -> Shape:
    """Up from ``start`` to 1 at the share ``peak`` of the steps, and down to ``final``; the defaults are airbench's."""
    for name, value in (("peak", peak), ("start", start), ("final", final)):
        _share("triangular", name, value)

    def shape(steps: int) -> optax.Schedule:
        up = int(peak * steps)
        down = optax.linear_schedule(1.0, final, max(1, steps - up))
        return optax.join_schedules([optax.linear_schedule(start, 1.0, up), down], [up]) if up else down

    return shape


def one_cycle(peak: float = 0.3, start: float = 0.04, final: float = 4e-6) -> Shape:
    """Up from ``start`` to 1 at the share ``peak`` of the steps, and down to ``final``, both along half a cosine.

    Smith and Topin 2018, as torch's OneCycleLR with its defaults and ``optax.cosine_onecycle_schedule`` have it.
    """
    for name, value in (("peak", peak), ("start", start), ("final", final)):
        _share("one_cycle", name, value)
    if min(start, final) == 0:
        raise InputError("one_cycle: start and final must be above 0")

    def shape(steps: int) -> optax.Schedule:
        if int(peak * steps) in (0, steps):  # too few steps for two phases
            return optax.cosine_decay_schedule(1.0, steps, alpha=final)
        return optax.cosine_onecycle_schedule(steps, 1.0, peak, div_factor=1 / start, final_div_factor=start / final)

    return shape


def piecewise(*shares: float, factor: float = 0.1) -> Shape:
    """Times ``factor`` after each of these shares of the steps (torch's MultiStepLR)."""
    for share in shares:
        _share("piecewise", "each share of the steps", share)
    if not 0 < factor < math.inf:
        raise InputError(f"piecewise: factor={factor:g} must be above 0")

    def shape(steps: int) -> optax.Schedule:
        at: dict[int, float] = {}
        for share in shares:
            step = round(share * steps)
            at[step] = at.get(step, 1.0) * factor
        return optax.piecewise_constant_schedule(1.0, at)

    return shape


SCHEDULES: dict[str, Callable[..., Shape]] = {
    "constant": constant,
    "cosine": cosine,
    "fixmatch": fixmatch,
    "linear": linear,
    "triangular": triangular,
    "one_cycle": one_cycle,
    "piecewise": piecewise,
}


def parse(text: str) -> Shape:
    """Read a schedule from text.

    Raises:
        InputError: it is none of ``SCHEDULES``, or takes other arguments.

    >>> schedule = parse("piecewise(0.5, 0.75)")(100)
    >>> [round(float(schedule(step)), 3) for step in (0, 49, 50, 75)]
    [1.0, 1.0, 0.1, 0.01]
    """
    found = calls.parse(text, SCHEDULES, setting="schedule", noun="schedule", example="cosine or triangular(0.23)")
    if len(found) != 1:
        raise InputError(f"`schedule={text}`: give one of {', '.join(SCHEDULES)}")
    return found[0]


def warmed_up(shape: Shape, share: float) -> Shape:
    """The shape times a line from 0 to 1 over the first ``share`` of the steps, as LiRA's code has it.

    optax's ``warmup_cosine_decay_schedule`` lets the cosine begin when the warm-up has ended; here it has begun before.

    Args:
        shape: of the rest.
        share: of the steps, at least 0 and below 1; 0: no warm-up.
    """
    _share("warmup", "its share of the steps", share)
    if share == 0:
        return shape

    def longer(steps: int) -> optax.Schedule:
        schedule = shape(steps)
        return lambda step: schedule(step) * jnp.minimum(1.0, step / (share * steps))

    return longer


def rate(learning_rate: float, shape: Shape, steps: int, *, decay: float = 0.0) -> optax.Schedule:
    """The learning rate at step t: learning_rate * shape(t) / (1 + t * decay).

    Args:
        learning_rate: at the peak of the shape.
        shape: of the whole training.
        steps: of the whole training; those beyond have the rate of the last.
        decay: by the step, as Torch7 and the paper (Shokri et al. 2017) have it.
    """
    schedule = shape(max(1, steps))

    def at(step):
        value = learning_rate * schedule(jnp.minimum(step, steps))
        return value / (1.0 + step * decay) if decay else value

    return at


def _share(name: str, what: str, value: float) -> None:
    """Refuse what is no share of a whole. Raises InputError."""
    if not 0 <= value <= 1:
        raise InputError(f"{name}: {what} must be from 0 to 1, and is {value:g}")
