"""Arrays [K, n, ...] of which a row is a model's, read row by row or in blocks of columns, and never whole.

What is known of K models about n records may be more than the memory holds. ``Rows`` reads of it what is asked for,
from wherever it lies (``storage/stored.py``); an attack that looks at one model's row at a time computes the same
numbers, bit for bit, from it as from an array. NumPy; never imports jax at run time.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mia_jax.types import Array


class Rows:
    """An array [K, n, ...] whose rows are read when they are asked for.

    ``rows[k]`` is a row as an array, ``rows[k, part]`` a part of it, ``rows[:, part]`` these columns of all rows, and
    ``rows[models]`` (numbers, or a slice) are Rows again: nothing is read. ``np.asarray(rows)`` reads all.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        read: Callable[[int, slice], np.ndarray],
        which: np.ndarray | None = None,
    ):
        """Rows that ``read`` (number of a row, columns start:stop) gives.

        Args:
            shape: (K, n, ...).
            dtype: of the numbers.
            read: gives a new array.
            which: [K], the rows that these are, where they are not all.
        """
        self.shape, self.dtype, self._read = shape, np.dtype(dtype), read
        self._which = np.arange(shape[0]) if which is None else which

    @property
    def ndim(self) -> int:
        """Axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, int | np.integer):
            if not isinstance(columns, slice) or columns.step not in (None, 1):
                return self[rows][columns]
            start, stop, _ = columns.indices(self.shape[1])
            return self._read(int(self._which[rows]), slice(start, max(start, stop)))
        which = self._which[rows]
        some = Rows((len(which), *self.shape[1:]), self.dtype, self._read, which)
        if not isinstance(key, tuple):
            return some
        return np.stack([row[columns] for row in some]) if not isinstance(columns, slice) else some._block(columns)

    def _block(self, columns: slice) -> np.ndarray:
        each = [self[k, columns] for k in range(len(self))]
        return np.stack(each) if each else np.zeros((0, *self.shape[1:]), self.dtype)[:, columns]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy  # always
        return self._block(slice(None)).astype(dtype or self.dtype, copy=False)


def through(rows: Rows, change: Callable[[np.ndarray], np.ndarray], dtype: Any) -> Rows:
    """Rows [K, n] whose numbers are changed one by one when they are read."""
    return Rows(rows.shape, dtype, lambda k, part: change(rows[k, part]))


def rows_of(values: "Array | Rows", dtype: Any = None) -> Any:
    """Rows as they are, and anything else as an array [K, n, ...], of a type if one is given."""
    return values if isinstance(values, Rows) else np.asarray(values, dtype)


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices of n columns, of so many each but the last."""
    return (slice(first, min(first + width, n)) for first in range(0, n, width))
