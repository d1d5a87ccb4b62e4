"""Users' code: imported by its name, called with care, and named by its source, so that what it made is found again
only while the source is the same.

Local code is what lies neither in the standard library nor in site-packages: those have versions, local files change.
A module's source is its own file and those of all local modules that it imports, transitively, wherever in the file the
import stands; content decides, paths do not. Settings among a module's globals count by their values
(``user_globals``). What code reads from files of other kinds or the environment is not seen.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import re
import sys
import sysconfig
import types
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from mia_jax import user_globals
from mia_jax.storage import artifacts
from mia_jax.types import InputError

LIBRARY = __name__.partition(".")[0]
_INSTALLED = {
    pathlib.Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
}
_STYLE = re.compile(r"\x1b\[[\d;]*m")  # colors and bold type, which libraries write into their messages
_seen: dict[str, tuple[Any, str]] = {}  # loaded module -> its spec (another one after a reload), digest when first seen
_brought: dict[str, frozenset[str]] = {}  # module that was imported here -> local modules that came with it


# --- import and call -------------------------------------------------------------------------------------------------


def load(path: str, flag: str) -> Any:
    """What ``module:name`` or ``module.name`` names; modules are looked for in the current folder, too.

    Args:
        path: as a user wrote it.
        flag: what to call it in messages, as in "model=mine:net".

    Raises:
        InputError: there is no such thing, or importing its module ends in an error, or ends Python.
    """
    name, _, attribute = path.rpartition(":" if ":" in path else ".")
    if not name or not attribute:
        raise InputError(f"{flag} names nothing to import: give module:name")
    module = _module(name, flag)
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise InputError(f"{flag}: {name} has no {attribute!r}") from None


def _module(name: str, flag: str) -> types.ModuleType:
    if os.getcwd() not in sys.path:  # of a command only its own folder is
        sys.path.insert(0, os.getcwd())
    before = set(sys.modules)
    importlib.invalidate_caches()
    try:
        with guarded(f"{flag} cannot be imported: {name}"):
            module = importlib.import_module(name)
    except ImportError as error:
        missing = error.name or ""
        if isinstance(error, ModuleNotFoundError) and (name == missing or name.startswith(f"{missing}.")):
            raise InputError(f"{flag} cannot be imported: {error}; is {name}.py in this folder?") from error
        raise InputError(f"{flag} cannot be imported: {error}, which {name} asks for; install or mend that") from error
    if name not in before:
        _brought[name] = frozenset(new for new in set(sys.modules) - before if _file(new) is not None)
    digest_of(name)  # what is loaded now is what its file holds now
    return module


@contextlib.contextmanager
def guarded(what: str) -> Generator[None]:
    """Turn whatever users' code raises, and its ``sys.exit``, into an InputError of one line; ImportErrors pass.

    Args:
        what: runs, as a subject: "model=mine:net".

    Raises:
        InputError: for SystemExit and every Exception but InputError and ImportError.
    """
    try:
        yield
    except (InputError, ImportError):
        raise
    except SystemExit as error:
        raise InputError(f"{what} calls sys.exit({error.code!r}): nothing may end Python here") from error
    except Exception as error:
        raise InputError(f"{what} raised {type(error).__name__}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The line of an error that says what is wrong: the first, but for where Keras says first which layer raised it."""
    lines = [line.strip() for line in _STYLE.sub("", str(error)).splitlines() if line.strip()]
    where = len(lines) > 1 and lines[0].startswith("Exception encountered when calling")
    return lines[where] if lines else ""


# --- the source of modules -------------------------------------------------------------------------------------------


def digest_of(*modules: str, library: bool = False) -> str:
    """SHA-256 of the source of modules and of all local ones that they import; lower-case hex.

    A module that is loaded has the source that it was first seen with here: where its file is another one by now, that
    is told in a warning.

    Args:
        modules: their names. Those that are not local count by the version of their package.
        library: follow the modules of this library, too, but no packages of it.
    """
    digests: dict[str, str] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in digests or (not library and name.partition(".")[0] == LIBRARY):
            continue
        file = _file(name)
        if file is None:
            if name in modules:
                digests[name] = _version(name)
            continue
        if library and name.partition(".")[0] == LIBRARY and file.name == "__init__.py":
            continue  # they import everything
        content = file.read_bytes()
        digests[name] = _first_seen(name, file, hashlib.sha256(content).hexdigest())
        todo += _imports(name, file, content)
        todo += _brought.get(name, ())
    return artifacts.digest(digests)


def _first_seen(name: str, file: pathlib.Path, now: str) -> str:
    module = sys.modules.get(name)
    if module is None:
        return now
    spec, then = _seen.setdefault(name, (module.__spec__, now))
    if spec is not module.__spec__:
        _seen[name] = (module.__spec__, now)
        return now
    if then != now and not name.startswith(LIBRARY):
        warnings.warn(f"{file} has changed since it was imported, and what was imported is used", stacklevel=2)
    return then


@functools.lru_cache(maxsize=1024)
def _imports(name: str, file: pathlib.Path, content: bytes) -> tuple[str, ...]:
    """Names of modules that the source may import, and of some that are none."""
    if file.suffix != ".py":  # compiled
        return ()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # it may never be imported
        return ()
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    modules: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules += [alias.name for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                parents = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*parents, *([module] if module else [])])
                modules += [base, *(f"{base}.{alias.name}" for alias in names)]
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")) if (
                node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
            ):
                modules.append(node.args[0].value)
    every = {".".join(parts[: i + 1]) for parts in (each.split(".") for each in modules) for i in range(len(parts))}
    return tuple(sorted(every - {""}))


def _file(name: str) -> pathlib.Path | None:
    """The file of a local module, or of one of this library; None for other modules, and for what is none."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or (top != name and _installed(top)):
        return None
    module = sys.modules.get(name)
    if module is not None and getattr(module, "__file__", None):
        place = module.__file__
    else:
        spec = _spec(name)
        place = spec.origin if spec is not None and spec.has_location else None
    if not place or not os.path.isfile(place):
        return None
    file = pathlib.Path(place).resolve()
    return file if top == LIBRARY or not _is_installed(file) else None


def _is_installed(file: pathlib.Path) -> bool:
    return bool({"site-packages", "dist-packages"} & {*file.parts}) or any(file.is_relative_to(p) for p in _INSTALLED)


def _installed(top: str) -> bool:
    """Whether a top-level module or package is there and not local: nothing in it is looked for."""
    spec = _spec(top)
    if top == LIBRARY or spec is None or not spec.has_location or spec.origin is None:
        return False
    return _is_installed(pathlib.Path(spec.origin).resolve())


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Where a module would be imported from; nothing is imported to find out."""
    parent, _, _ = name.rpartition(".")
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        if not parent:
            return importlib.util.find_spec(name)
        if (above := _spec(parent)) is not None and above.submodule_search_locations is not None:
            return importlib.machinery.PathFinder.find_spec(name, above.submodule_search_locations)
    return None


def _version(name: str) -> str:
    return str(getattr(sys.modules.get(name.partition(".")[0]), "__version__", ""))


# --- the source of things --------------------------------------------------------------------------------------------


def describe(thing: Any, *, library: bool = False) -> str:
    """SHA-256 of what decides what a function, class or object of a user does: sources and parameters.

    Parameters are those of scikit-learn's ``get_params``, of ``functools.partial`` and of closures, and what pickle
    would keep of other objects.

    Args:
        thing: the object.
        library: what it uses of this library counts, too.
    """
    modules: set[str] = set()
    value = _described(thing, modules, ())
    return artifacts.digest({"told": value, "sources": digest_of(*sorted(modules), library=library)})


def _described(value: Any, modules: set[str], above: tuple[int, ...]) -> Any:
    """JSON that tells a value; the modules that its classes and functions come from are added."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | complex | bytes | np.generic):
        return f"{type(value).__name__} {value!r}"
    if id(value) in above:
        return f"number {above.index(id(value))} above"
    down = functools.partial(_described, modules=modules, above=(*above, id(value)))
    match value:
        case np.ndarray() | jax.Array():
            array = np.asarray(value)
            return (
                ["array", [down(one) for one in array.flat]] if array.dtype.hasobject else artifacts.array_digest(array)
            )
        case Mapping():
            return ["mapping", [[down(key), down(each)] for key, each in value.items()]]
        case list() | tuple():
            return [type(value).__qualname__, *map(down, value)]
        case set() | frozenset():
            return ["set", *sorted((down(each) for each in value), key=str)]
        case types.ModuleType():
            modules.add(value.__name__)
            return ["module", value.__name__]
        case type():
            modules.add(value.__module__)
            methods = [each for each in vars(value).values() if isinstance(each, types.FunctionType)]
            more = [*_interactive(value, down), *_settings(methods, down)]
            return ["type", value.__module__, value.__qualname__, *more]
        case functools.partial():
            return ["partial", down(value.func), down(value.args), down(value.keywords)]
        case types.MethodType():
            return ["method", down(value.__func__), down(value.__self__)]
        case types.FunctionType():
            modules.add(value.__module__ or "__main__")  # none where code was executed in a namespace without a name
            cells = [_cell(cell, down) for cell in value.__closure__ or ()]
            defaults = [down(value.__defaults__), down(value.__kwdefaults__)]
            more = [*_interactive(value, down), *_settings([value], down)]
            return ["function", value.__module__, value.__qualname__, cells, defaults, *more]
        case types.BuiltinFunctionType() | np.ufunc():
            return ["function", getattr(value, "__module__", None), getattr(value, "__qualname__", value.__name__)]
    if hasattr(value, "__wrapped__"):  # jit, cache
        return ["wrapped", down(value.__wrapped__)]
    if hasattr(value, "get_params") and not isinstance(value, type):
        return ["estimator", down(type(value)), down(value.get_params(deep=False))]
    return ["object", down(type(value)), down(_state(value))]


def _cell(cell: Any, down: Callable[[Any], Any]) -> Any:
    try:
        return down(cell.cell_contents)
    except ValueError:
        return "empty"


def _state(value: Any) -> Any:
    """What pickle would keep of an object; its text without addresses where it would not."""
    try:
        kept = value.__reduce_ex__(4)
    except Exception:
        kept = None
    if isinstance(kept, tuple):  # a function, its arguments, the state, items
        more = [list(each) if isinstance(each, Iterator) else each for each in kept[1:5]]
        return more
    return kept if isinstance(kept, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _settings(functions: Iterable[types.FunctionType], down: Callable[[Any], Any]) -> Iterator[Any]:
    """What functions of a local module read from its globals, where those are settings."""
    for function in functions:
        if _is_local(function.__module__ or "__main__"):
            for name, value in user_globals.of_function(function, _is_local):
                yield ["setting", name, down(value)]


def _is_local(module: str) -> bool:
    """Whether a module is the user's, and has a file."""
    return module.partition(".")[0] != LIBRARY and _file(module) is not None


def _interactive(thing: Any, down: Callable[[Any], Any]) -> Iterable[Any]:
    """Of what was typed into a notebook, which has no file: its code, and what of the notebook it uses."""
    module = sys.modules.get(thing.__module__)
    if getattr(module, "__file__", None) or thing.__module__ in sys.builtin_module_names:
        return
    if isinstance(thing, type):
        for name, value in sorted(vars(thing).items()):
            if inspect.isfunction(value) or isinstance(value, bool | int | float | str):
                yield [name, down(value)]
        return
    yield from _code(thing.__code__, thing.__globals__, down)


def _code(code: types.CodeType, namespace: Mapping[str, Any], down: Callable[[Any], Any]) -> Iterator[Any]:
    yield code.co_code.hex()
    for const in code.co_consts:
        yield from _code(const, namespace, down) if isinstance(const, types.CodeType) else [down(const)]
    for name in code.co_names:
        yield [name, down(namespace[name]) if name in namespace else None]
