"""Anybody's network by "module:factory", whatever library it was written with."""

import contextlib
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Generator

from flax import linen as nn
from flax import nnx

from mia_jax import user_code
from mia_jax.models.adapters import from_flax, instead
from mia_jax.models.adapters_equinox import from_equinox
from mia_jax.models.adapters_nnx import from_nnx
from mia_jax.types import InputError, Model, Schema


def from_factory(name: str, schema: Schema, scale: float) -> tuple[Model, bool]:
    """What "module:factory" returns, as a Model; and whether it was one, or a pair of functions, from the beginning.

    Args:
        name: of the factory, which is called with ``num_classes=`` and ``shape=``; with ``rngs=`` or ``key=``, too,
            where it has such an argument, once for each network: it then returns an nnx module, or an equinox module.
        schema: of the records.
        scale: what records are multiplied by before a module sees them; a Model sees them as they are.

    Raises:
        InputError: there is no such factory, it raises, or returns something else.
    """
    factory = load(name)
    sized = functools.partial(factory, num_classes=schema.num_classes, shape=schema.shape)
    takes = _arguments(factory) & {"rngs", "key"}
    with user_code.guarded(f"model={name}, called with num_classes= and shape=,"), _naming(name):
        if "rngs" in takes:
            return from_nnx(lambda rngs: sized(rngs=rngs), scale=scale), False
        if "key" in takes:
            return from_equinox(lambda key: sized(key=key), scale=scale), False
        made = sized()
        if isinstance(made, Model):
            return made, True
        if isinstance(made, tuple) and len(made) == 2 and all(map(inspect.isfunction, made)):
            return _of_functions(*made), True
        if isinstance(made, nn.Module):
            return from_flax(made, scale=scale), False
        if isinstance(made, nnx.Module):
            _same_beginning(name, "rngs (nnx.Rngs)")
            return from_nnx(made, scale=scale), False
        if _is_equinox(made[0] if isinstance(made, tuple) and made else made):
            _same_beginning(name, "key")
            return from_equinox(made if not isinstance(made, tuple) else lambda key: made, scale=scale), False
    kind = "a class" if isinstance(made, type) else type(made).__name__
    raise InputError(
        f"{name} returned {kind}; a factory returns a mia_jax.Model, two functions (init, apply), or a module of"
        f" flax.linen, flax.nnx or equinox: {instead(made)}"
    )


def load(name: str) -> Callable:
    """The factory of that name; raises InputError."""
    factory = user_code.load(name, f"model={name}")
    if not callable(factory):
        module, _, called = name.partition(":")
        raise InputError(f"model={name}: {called!r} of {module} is {type(factory).__name__}, no function")
    return factory


def _arguments(function: Callable) -> set[str]:
    """The names of a function's arguments; none where Python cannot tell."""
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()


def _of_functions(init: Callable, apply: Callable) -> Model:
    """Two functions as a Model; ``apply`` need not take a key."""
    if "key" in _arguments(apply):
        return Model(init, apply)
    return Model(init, lambda params, x, *, key=None: apply(params, x))


def _is_equinox(thing: object) -> bool:
    equinox = sys.modules.get("equinox")  # who has a module of equinox has imported it
    return equinox is not None and isinstance(thing, equinox.Module)


def _same_beginning(name: str, argument: str) -> None:
    warnings.warn(
        f"model={name}: every network begins with the parameters of the module that was returned; let the factory take"
        f" {argument} for a beginning of its own each",
        stacklevel=4,
    )


@contextlib.contextmanager
def _naming(name: str) -> Generator[None]:
    """Errors of adapters say which model it is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"model={name}: {error}") from error
