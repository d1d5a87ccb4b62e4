"""What a user's function reads from the globals of its module: settings, as values, and local functions, as code.

Settings are ``EPOCHS``, ``args.epochs``: they decide what it does as its source does, and a script may set them from
its command line. Only plain values count, and only those whose names stand in the function, or in local functions and
classes that it uses. Where a file defines a function twice, as the cells of a notebook do, the one that is called
counts. What is read from files, or from the environment, is not seen.
"""

import dis
import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

SIZE = 256  # entries of a list or dict that is still a setting
DEPTH = 4
MUTATORS = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear"}
NEAR = 6  # instructions before an assignment to an entry, among which its holder is loaded


def of_function(function: types.FunctionType, local: Callable[[str], bool]) -> list[list[Any]]:
    """[name, value] of settings that a function reads, and the code of functions, in the order of their names.

    Args:
        function: the user's.
        local: whether a module, by its name, is the user's own: others are not followed.
    """
    found: dict[str, Any] = {}
    _follow(function, local, found, set())
    return [[name, value] for name, value in sorted(found.items())]


def _follow(function: types.FunctionType, local: Callable[[str], bool], found: dict[str, Any], seen: set[int]) -> None:
    if id(function) in seen:
        return
    seen.add(id(function))
    codes = [*_codes(function.__code__)]
    names = {name for code in codes for name in code.co_names}
    own = {name for code in codes for name in _changed([*dis.get_instructions(code)])}
    where = function.__module__ or "__main__"
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
    found[f"{where}.{function.__qualname__}()"] = [*_computed(function.__code__), [*filter(is_plain, defaults)]]
    for name in sorted(names - own):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if is_plain(value):
            found[f"{where}.{name}"] = value
            continue
        for each in _functions(value, local):
            _follow(each, local, found, seen)
        for attribute, one in _attributes(value, names, local):
            found[f"{where}.{name}.{attribute}"] = one


def _computed(code: types.CodeType) -> list[Any]:
    """What a function computes: no source, whose file may be edited while this process runs."""
    consts = [_computed(const) if isinstance(const, types.CodeType) else const for const in code.co_consts]
    return [code.co_code.hex(), [*code.co_names], [*code.co_varnames], code.co_flags, consts]


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _changed(steps: list[dis.Instruction]) -> Iterator[str]:
    """Globals that a function changes itself: a counter, a list of what it did, a cache. They are no settings."""
    for k, step in enumerate(steps):
        if step.opname == "STORE_GLOBAL":
            yield step.argval
        elif step.opname in ("LOAD_METHOD", "LOAD_ATTR") and step.argval in MUTATORS:
            yield from (one.argval for one in steps[max(0, k - 1) : k] if one.opname == "LOAD_GLOBAL")
        elif step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            yield from (one.argval for one in steps[max(0, k - NEAR) : k] if one.opname == "LOAD_GLOBAL")


def _functions(value: Any, local: Callable[[str], bool]) -> list[types.FunctionType]:
    """The user's own functions that a global holds: itself, or the methods of a class."""
    while hasattr(value, "__wrapped__") and not isinstance(value, types.FunctionType):  # jit, cache
        value = value.__wrapped__
    if isinstance(value, functools.partial):
        value = value.func
    held = [value, *vars(value).values()] if isinstance(value, type) else [value]
    return [each for each in held if isinstance(each, types.FunctionType) and local(each.__module__ or "__main__")]


def _attributes(value: Any, names: set[str], local: Callable[[str], bool]) -> list[tuple[str, Any]]:
    """Plain attributes of a global that the code names: of a namespace of arguments, a configuration, a module."""
    kind = type(value)
    known = isinstance(value, types.SimpleNamespace) or (kind.__module__, kind.__name__) == ("argparse", "Namespace")
    if isinstance(value, types.ModuleType):
        known = local(value.__name__)
    elif isinstance(value, type):
        known = local(value.__module__)
    elif not known:
        known = local(kind.__module__)
    if not known or not hasattr(value, "__dict__"):
        return []
    return [(name, vars(value)[name]) for name in sorted(names & {*vars(value)}) if is_plain(vars(value)[name])]


def is_plain(value: Any, depth: int = DEPTH) -> bool:
    """Whether a value is a number, a text, or a small holder of such."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return True
    if depth == 0 or not isinstance(value, list | tuple | set | frozenset | Mapping) or len(value) > SIZE:
        return False
    held = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    return all(is_plain(each, depth - 1) for each in held)
