"""A flax nnx module as a ``Model``: what it holds, as trees of arrays, and a fresh module around them at each call.

nnx modules change while they compute. Here they are taken apart into parameters, batch statistics, random streams and
the rest, put together inside the traced function, called as in anybody's own loop, and taken apart again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
from flax import nnx

from mia_jax.models import convolutions
from mia_jax.models.adapters import called, cast, modes, row_mask
from mia_jax.types import InputError, Model, Params, Variables

Path = tuple[Any, ...]  # of a leaf in a module: names of attributes, numbers in lists


def from_nnx(module: nnx.Module | Callable[[nnx.Rngs], nnx.Module], *, scale: float = 1.0) -> Model:
    """A flax nnx module as a ``Model``: one that works in a loop of yours works unchanged.

    It is called with the records alone, after ``module.train()`` or ``module.eval()``; where its ``__call__`` has
    arguments ``train``, ``training``, ``deterministic``, ``use_running_average`` or ``rngs``, they tell the same and
    are given. ``nnx.Param`` is trained; ``nnx.BatchStat`` is kept by network, and BatchNorm's statistics are those of
    the records of a batch, not of what pads it; random streams (dropout) are drawn anew at each training step; what
    ``sow`` keeps is dropped. Arrays and variables of other kinds are constants, the same for all networks. On CPUs
    ``nnx.Conv`` is computed by ``convolutions.conv``.

    Args:
        module: a function of random streams that makes one, whose class takes x [b, *f] to logits [b, c]:
            ``lambda rngs: Net(rngs=rngs)``. Or an instance, with whose parameters every network then begins.
        scale: what records are multiplied by; 1/255 for pixels.

    Raises:
        InputError: it makes no nnx module; it keeps batch statistics in a layer other than BatchNorm, which padded rows
            would enter; when it is called in training, it changes anything but its batch statistics and streams.

    >>> import jax, numpy as np, mia_jax as mia
    >>> from flax import nnx
    >>> model = mia.models.from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))
    >>> jax.eval_shape(lambda x: model.apply(model.init(jax.random.key(0), x), x), np.zeros((2, 4))).shape
    (2, 3)
    """
    parts = _apart(module)

    def init(key, x):
        params, stats = parts.begin(key)
        return Variables(params, stats) if parts.stats.paths else params

    def forward(variables, x, weight, key):
        params, stats = variables if isinstance(variables, Variables) else (variables, {})
        made, before = parts.together(params, stats, key)
        training = key is not None
        made.train() if training else made.eval()
        given = modes(made, training)
        if "rngs" in called(made):
            given["rngs"] = nnx.Rngs(jax.random.key(0) if key is None else jax.random.fold_in(key, 1))
        _prepare(made, None if weight is None else weight != 0)
        logits = made(cast(x, scale), **given)
        return logits, parts.stats.tree(_after(parts, made, before)) if training else stats

    def apply(variables, x, *, key=None):
        return forward(variables, x, None, key)[0]

    def train(variables, x, weight, *, key):
        return forward(variables, x, weight, key)

    return Model(init, apply, train=train)


# --- taken apart -----------------------------------------------------------------------------------------------------


class _Leaves(NamedTuple):
    """One kind of what a module holds: an nnx State of shapes, and the path of each of its arrays."""

    state: Any
    paths: tuple[Path, ...]

    def tree(self, leaves: list) -> dict:
        """The arrays as nested dicts; numbers in lists are names."""
        nested: dict = {}
        for path, leaf in zip(self.paths, leaves, strict=True):
            inner = nested
            for name in path[:-1]:
                inner = inner.setdefault(str(name), {})
            inner[str(path[-1])] = leaf
        return nested

    def filled(self, tree: dict) -> Any:
        """The State with the arrays of nested dicts."""
        return self.unflatten([_at(tree, path) for path in self.paths])

    def unflatten(self, leaves: list) -> Any:
        """The State with these arrays."""
        return jax.tree.unflatten(jax.tree.structure(self.state), leaves)


class _Parts(NamedTuple):
    graph: Any
    params: _Leaves
    stats: _Leaves
    streams: _Leaves  # keys and counters of random streams
    rest: _Leaves  # constants, which depend on no key: arrays, not shapes of them
    leaves: Callable[[Any], tuple[list, list]]  # (key) -> arrays of params, stats

    def begin(self, key) -> tuple[Params, dict]:
        """The parameters and batch statistics that a network begins with."""
        params, stats = self.leaves(key)
        return self.params.tree(params), self.stats.tree(stats)

    def together(self, params: Params, stats: dict, key) -> tuple[nnx.Module, list]:
        """A module with these arrays, and what must be in it after a call as before: parameters and constants."""
        states = [self.params.filled(params), self.stats.filled(stats), self.streams.unflatten(self._streams(key))]
        constants = jax.tree.leaves(self.rest.state)
        fixed = [*jax.tree.leaves(states[0]), *constants]
        return nnx.merge(self.graph, *states, self.rest.unflatten(constants)), fixed

    def _streams(self, key) -> list:
        """Keys that follow from the key of a step, and counters at zero."""
        key = jax.random.key(0) if key is None else key
        drawn = []
        for number, leaf in enumerate(jax.tree.leaves(self.streams.state)):
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                own = jax.random.fold_in(key, number)
                drawn.append(jax.random.split(own, leaf.shape) if leaf.shape else own)
            else:
                drawn.append(jnp.zeros(leaf.shape, leaf.dtype))
        return drawn


def _split(module: nnx.Module) -> tuple:
    """Its graph; parameters, batch statistics, streams, the rest, as States; what ``sow`` has left is dropped."""
    graph, params, stats, streams, _, rest = nnx.split(
        module, nnx.Param, nnx.BatchStat, nnx.RngState, nnx.Intermediate, ...
    )
    return graph, params, stats, streams, rest


def _apart(module) -> _Parts:
    given = isinstance(module, nnx.Module)
    if isinstance(module, type) or not (given or callable(module)):
        raise InputError(
            "from_nnx takes an nnx module, or a function of random streams that makes one: lambda rngs: Net(rngs=rngs)"
        )
    if given:
        for _, node in nnx.iter_graph(module):
            if isinstance(node, nnx.Intermediate):  # a module that was called: what it has sown is no part of it
                module = nnx.clone(module)
                nnx.pop(module, nnx.Intermediate)
                break

    def made(key) -> nnx.Module:
        made = module if given else module(nnx.Rngs(key))
        if not isinstance(made, nnx.Module):
            raise InputError(f"from_nnx: the function makes {type(made).__name__}, no nnx module")
        return made

    def shapes():
        each = made(jax.random.key(0))
        # nnx takes a plain array that is made under a trace for no data.
        arrays = any(
            isinstance(value, jax.core.Tracer) for _, node in nnx.iter_modules(each) for value in vars(node).values()
        )
        return () if arrays else _split(each)

    parts = jax.eval_shape(shapes)
    if not parts or jax.tree.leaves(parts[-1]):  # there are constants, so they are computed
        parts = _split(made(jax.random.key(0)))
    graph, *states = parts
    kinds = [_Leaves(state, tuple(path for path, _ in _flat(state))) for state in states]
    _check_statistics(nnx.merge(graph, *states), kinds[1])

    def begin(key) -> tuple[list, list]:
        _, params, stats, *_ = _split(made(key))
        return jax.tree.leaves(params), jax.tree.leaves(stats)

    return _Parts(graph, *kinds, begin)


def _flat(state) -> list[tuple[Path, Any]]:
    return list(nnx.to_flat_state(state))


def _at(tree: Any, path: Path) -> Any:
    for name in path:
        tree = tree[str(name)]
    return tree


def _check_statistics(module: nnx.Module, stats: _Leaves) -> None:
    """Refuse statistics of layers that do not know which rows of a batch are records. Raises InputError."""
    layers = dict(nnx.iter_modules(module))
    for path in stats.paths:
        layer = layers[path[:-1]]
        if not isinstance(layer, nnx.BatchNorm | nnx.SpectralNorm):
            raise InputError(
                f"{type(module).__name__} keeps batch statistics in {type(layer).__name__}"
                f" ({'.'.join(map(str, path))}), which cannot leave out the rows that fill up a last batch: use"
                " nnx.BatchNorm"
            )


# --- called ----------------------------------------------------------------------------------------------------------


def _prepare(module: nnx.Module, real: jax.Array | None) -> None:
    """Have BatchNorm layers leave out rows that are no records, and convolutions computed as fits the device."""
    for path, layer in nnx.iter_modules(module):
        if real is not None and isinstance(layer, nnx.BatchNorm):
            object.__setattr__(layer, "__class__", _masking(type(layer), real, ".".join(map(str, path))))
        fast = type(layer) is nnx.Conv and layer.conv_general_dilated is jax.lax.conv_general_dilated
        if fast and convolutions.are_ours():
            layer.conv_general_dilated = convolutions.conv


def _masking(kind: type, real: jax.Array, name: str) -> type:
    """A class of BatchNorm layers that leave rows of a batch that are no records, ``real`` [b], out."""

    def call(self, x, *args, mask=None, **kwargs):
        return kind.__call__(self, x, *args, mask=row_mask(x, real, name) if mask is None else mask, **kwargs)

    return type(kind.__name__, (kind,), {"__call__": call})


def _after(parts: _Parts, module: nnx.Module, before: list) -> list:
    """The batch statistics after a call. Raises InputError where it has changed anything but these and its streams."""
    _, params, stats, _, rest = _split(module)
    now = [*_flat(params), *_flat(rest)]
    values = [*jax.tree.leaves(params), *jax.tree.leaves(rest)]
    known = {*parts.params.paths, *parts.rest.paths}
    changed = [path for path, _ in now if path not in known] or [
        path for (path, _), new, old in zip(now, values, before, strict=True) if new is not old
    ]
    if changed or len(now) != len(before):
        names = ", ".join(".".join(map(str, path)) for path in changed) or "variables"
        raise InputError(
            f"{type(module).__name__} changes {names} when it is called: a model is a function of its parameters, batch"
            " statistics (nnx.BatchStat) and random streams (nnx.Rngs), so it cannot keep hidden state"
        )
    return jax.tree.leaves(stats)
