"""Settings that are written as calls of named functions, as in ``top_k(3),round_to(2)`` or ``cosine(0.1)``."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from mia_jax.types import InputError

T = TypeVar("T")

_CALL = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*(,|$)")


def parse(text: str, table: Mapping[str, Callable[..., T]], *, setting: str, noun: str, example: str) -> list[T]:
    """What the functions give that a text calls, in its order; their arguments are numbers.

    Args:
        text: calls, separated by commas; a name alone is a call without arguments.
        table: functions by name.
        setting: what the text is the value of, for errors.
        noun: what one of the functions is, for errors.
        example: a text that can be read, for errors.

    Raises:
        InputError: an unknown name, arguments that it does not take, or text that is no list of calls.

    >>> parse("pair(1, b=2), pair(3)", {"pair": lambda a, b=0: (a, b)}, setting="pairs", noun="pair", example="pair(1)")
    [(1.0, 2.0), (3.0, 0)]
    """
    found, at = [], 0
    while at < len(text.rstrip()):
        call = _CALL.match(text, at)
        if call is None or (call[3] and not text[call.end() :].strip()):
            raise InputError(f"`{setting}={text}`: cannot be read from {text[at:]!r} on; write {example}")
        found.append(_called(call[1], call[2] or "", table, noun))
        at = call.end()
    return found


def usage(name: str, function: Callable) -> str:
    """How a function is called, as text."""
    return f"{name}({', '.join(inspect.signature(function).parameters)})"


def _called(name: str, arguments: str, table: Mapping[str, Callable[..., T]], noun: str) -> T:
    if name not in table:
        every = ", ".join(usage(n, f) for n, f in table.items())
        raise InputError(f"there is no {noun} {name!r}; use {every}")
    use = usage(name, table[name])
    positional, named = [], {}
    for argument in arguments.split(",") if arguments.strip() else []:
        key, equals, value = argument.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise InputError(f"{name}({arguments}): {value.strip()!r} is not a number; use {use}") from None
        if equals and (key.strip() in named):
            raise InputError(f"{name}({arguments}): {key.strip()} is given twice; use {use}")
        if equals:
            named[key.strip()] = number
        else:
            positional.append(number)
    try:
        inspect.signature(table[name]).bind(*positional, **named)
    except TypeError as error:
        raise InputError(f"{name}({arguments}): {error}; use {use}") from None
    return table[name](*positional, **named)
