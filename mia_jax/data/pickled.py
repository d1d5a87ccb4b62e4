"""Pickles of plain containers and NumPy arrays, read without executing anything: the batches of CIFAR's Python version.

A pickle is a program that calls what it names. Here the only names are those that a NumPy array is made of, and they
stand for notes of ours: what was announced is looked at afterwards, and the array is made from its bytes.
"""

import io
import math
import pickle
from typing import Any

import numpy as np

from mia_jax import sanitize


class _Noted:
    """Instead of an array or a type: what the pickle calls it with, and the state that it sets."""

    state: Any = None

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _bytes(text: str, encoding: str) -> bytes:  # how Python 3 writes bytes for Python 2
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes {encoding}")
    return text.encode("latin1")


def _known() -> dict[tuple[str, str], Any]:
    """What a pickle may name; made anew for each, as a pickle may change the attributes of what it names."""

    class Array(_Noted):
        pass

    class Type(_Noted):
        pass

    def reconstruct(*arguments: Any) -> Array:
        return Array(*arguments)

    def encode(text: str, encoding: str) -> bytes:
        return _bytes(text, encoding)

    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return {
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Type,
        ("_codecs", "encode"): encode,
        **{(module, "_reconstruct"): reconstruct for module in modules},
    }


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._names = _known()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it would run {sanitize.quoted(f'{module}.{name}')}, and nothing is run")
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects elsewhere")


def load(data: bytes) -> dict:
    """The dict in a pickle; its values are containers, numbers, text, and arrays of numbers.

    Raises:
        ValueError: it would run something, is damaged, or holds something else.
    """
    try:
        content = _Unpickler(data).load()
    except pickle.UnpicklingError as error:
        raise ValueError(str(error) or "it is no pickle") from None
    except Exception as error:  # whatever a damaged pickle makes of itself; memory that is not there
        raise ValueError(f"it is damaged ({type(error).__name__})") from None
    if type(content) is not dict:
        raise ValueError("it is no dictionary")
    return {key: _array(value) if isinstance(value, _Noted) else value for key, value in content.items()}


def _array(noted: _Noted) -> np.ndarray:
    """The array [*shape] whose pickle told (version, shape, type, whether it is in Fortran order, bytes)."""
    try:
        _, shape, dtype, fortran, content = noted.state
        kind = dtype.arguments[0]
        kind = kind.decode("ascii") if isinstance(kind, bytes) else kind
        order = dtype.state[1].decode("ascii") if isinstance(dtype.state[1], bytes) else dtype.state[1]
        if kind not in ("u1", "i1", "i2", "i4", "i8", "f4", "f8") or order not in ("|", "<", ">"):
            raise ValueError
        if not all(type(size) is int and size >= 0 for size in shape) or not isinstance(content, bytes):
            raise ValueError
        array = np.frombuffer(content, np.dtype(kind).newbyteorder(order))
        if array.size != math.prod(shape):
            raise ValueError
    except (ValueError, TypeError, AttributeError, IndexError, UnicodeDecodeError):
        raise ValueError("it has an array that is no array of numbers") from None
    return array.reshape(shape, order="F" if fortran else "C")
