"""An equinox module as a ``Model``: it computes one record, and is mapped over the batch.

Equinox is no dependency of this library: who has a module of its has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from mia_jax.models import convolutions
from mia_jax.models.adapters import called, cast, modes
from mia_jax.types import InputError, Model, Params, Variables

if TYPE_CHECKING:
    import equinox as eqx

AXIS = "batch"  # of a module that names none


def from_equinox(module: eqx.Module | Callable[[jax.Array], eqx.Module], *, scale: float = 1.0) -> Model:
    """An equinox module as a ``Model``.

    It is called with one record x [*f] and, where it keeps state, with an ``eqx.nn.State``; where ``__call__`` takes
    ``key``, with a key of that record's own in training, and None otherwise. ``eqx.nn.inference_mode`` tells whether it
    is trained, and so do arguments ``train``, ``training``, ``deterministic`` and ``inference``. What
    ``eqx.is_inexact_array`` holds for is trained; other arrays are constants. BatchNorm's statistics are those of the
    records of a batch, not of what pads it. On CPUs plain convolutions are computed by ``convolutions.conv``.

    Args:
        module: a function of a key that makes one, which takes x [*f] to logits [c]: ``lambda key: Net(key=key)``; it
            may give the State, too, as ``eqx.nn.make_with_state(Net)(key=key)`` does. Or an instance, with whose
            parameters every network then begins.
        scale: what records are multiplied by; 1/255 for pixels.

    Raises:
        InputError: equinox is not installed; it makes no equinox module; the module keeps state outside of BatchNorm
            and SpectralNorm, or its BatchNorm layers name several axes.

    >>> import jax, numpy as np, mia_jax as mia, equinox as eqx  # doctest: +SKIP
    >>> model = mia.models.from_equinox(lambda key: eqx.nn.MLP(4, 3, 16, depth=1, key=key))  # doctest: +SKIP
    >>> params = model.init(jax.random.key(0), np.zeros((2, 4)))  # doctest: +SKIP
    >>> model.apply(params, np.zeros((2, 4))).shape  # doctest: +SKIP
    (2, 3)
    """
    parts = _apart(module)

    def init(key, x):
        params, stats = parts.begin(key)
        return Variables(params, stats) if parts.stats else params

    def forward(variables, x, weight, key):
        import equinox as eqx

        params, stats = variables if isinstance(variables, Variables) else (variables, {})
        made, state = parts.together(params, stats)
        x = cast(x, scale)
        keys = None if key is None else jax.random.split(key, len(x))
        made = eqx.nn.inference_mode(made, value=key is None)
        weight = jnp.ones(len(x)) if weight is None else weight
        given = modes(made, train=key is not None)

        def one(x, weight, key, state):
            prepared = _prepared(made, None if key is None else weight)
            keyed = {"key": key} if "key" in called(made) else {}
            if not parts.stats:
                return prepared(x, **keyed, **given), state
            return prepared(x, state, **keyed, **given)

        mapped = jax.vmap(one, (0, 0, None if keys is None else 0, None), (0, None), axis_name=parts.axis)
        logits, state = mapped(x, weight, keys, state)
        return logits, _numbered(state)

    def apply(variables, x, *, key=None):
        return forward(variables, x, None, key)[0]

    def train(variables, x, weight, *, key):
        return forward(variables, x, weight, key)

    return Model(init, apply, train=train)


# --- taken apart -----------------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    shapes: Any  # the module, with shapes in the place of arrays
    state: Any  # its State, likewise
    stats: bool  # whether that holds anything
    axis: str
    make: Callable[[Any], tuple[Any, Any]]  # (key) -> module, state

    def begin(self, key) -> tuple[Params, dict]:
        """The parameters and statistics that a network begins with."""
        made, state = self.make(key)
        return _named(made), _numbered(state)

    def together(self, params: Params, stats: dict) -> tuple[Any, Any]:
        """A module and a State with these arrays."""
        leaves, structure = jax.tree_util.tree_flatten_with_path(self.shapes)
        constants: list = [leaf for _, leaf in leaves]
        if any(_is_array(leaf) and not _is_trained(leaf) for leaf in constants):  # constants, of no key's making
            with jax.ensure_compile_time_eval():
                constants = jax.tree.leaves(self.make(jax.random.key(0))[0])
        filled = [
            _at(params, path) if _is_trained(leaf) else constant
            for (path, leaf), constant in zip(leaves, constants, strict=True)
        ]
        kept = [jnp.asarray(stats[name], stats[name].dtype) for name in sorted(stats)]  # of no weak type
        state = jax.tree.unflatten(jax.tree.structure(self.state), kept)
        return jax.tree.unflatten(structure, filled), state


def _apart(module) -> _Parts:
    try:
        import equinox as eqx
    except ImportError:
        raise InputError("from_equinox needs the package equinox: pip install equinox") from None

    if isinstance(module, type) or not (isinstance(module, eqx.Module) or callable(module)):
        raise InputError(
            "from_equinox takes an equinox module, or a function of a key that makes one: lambda key: Net(key=key)"
        )
    given = isinstance(module, eqx.Module)

    def make(key):
        made = module if given else module(key)
        return made if isinstance(made, tuple) else eqx.nn.make_with_state(lambda: made)()

    shapes, state = eqx.filter_eval_shape(make, jax.random.key(0))
    if not isinstance(shapes, eqx.Module) or not callable(shapes):
        raise InputError(f"from_equinox: the function makes {type(shapes).__name__}, no equinox module that is called")
    return _Parts(shapes, state, bool(jax.tree.leaves(state)), _axis(shapes), make)


def _axis(module: eqx.Module) -> str:
    """The axis that BatchNorm layers take means over. Raises InputError if there are several, or other state."""
    import equinox as eqx

    known = eqx.nn.BatchNorm, eqx.nn.SpectralNorm
    layers = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, (*known, eqx.nn.StateIndex)))
    if any(isinstance(layer, eqx.nn.StateIndex) for layer in layers):
        raise InputError(
            f"{type(module).__name__} keeps state outside of eqx.nn.BatchNorm: a model is a function of its parameters"
            " and batch statistics, so it cannot keep hidden state"
        )
    names = {
        name
        for layer in layers
        if isinstance(layer, eqx.nn.BatchNorm)
        for name in (layer.axis_name if isinstance(layer.axis_name, tuple | list) else (layer.axis_name,))
    }
    if len(names) > 1:
        raise InputError(
            f"BatchNorm layers of {type(module).__name__} name the axes {', '.join(sorted(map(str, names)))}: a network"
            " is mapped over its batch alone, so name one"
        )
    return names.pop() if names else AXIS


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def _is_trained(leaf: Any) -> bool:
    return _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _name(entry: Any) -> str:
    """Of one step of a path: an attribute's, or a number in a list, or a dict's key."""
    return str(next(getattr(entry, each) for each in ("name", "idx", "key") if hasattr(entry, each)))


def _named(module: Any) -> dict:
    """What is trained, as nested dicts."""
    nested: dict = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(module)[0]:
        if _is_trained(leaf):
            inner = nested
            for entry in path[:-1]:
                inner = inner.setdefault(_name(entry), {})
            inner[_name(path[-1])] = leaf
    return nested


def _at(tree: Any, path: tuple) -> Any:
    for entry in path:
        tree = tree[_name(entry)]
    return tree


def _numbered(state: Any) -> dict[str, jax.Array]:
    """The arrays of a State, by numbers that sort as they stand."""
    return {f"{number:04}": leaf for number, leaf in enumerate(jax.tree.leaves(state))}


# --- layers in the place of equinox's --------------------------------------------------------------------------------


def _prepared(module: Any, weight: jax.Array | None) -> Any:
    """The module as it is called inside of vmap, with some of its layers replaced.

    BatchNorm layers leave out records whose ``weight`` [] is 0, if it is given; on CPUs convolutions are ours.
    """
    import equinox as eqx

    kinds = (eqx.nn.BatchNorm, eqx.nn.Conv)

    def replace(node):
        if isinstance(node, eqx.nn.BatchNorm) and weight is not None:
            return _as(_weighted_norm(weight), node)
        plain = isinstance(node, eqx.nn.Conv) and (node.groups, node.padding_mode) == (1, "ZEROS")
        return _as(_our_conv(), node) if plain and convolutions.are_ours() else node

    return jax.tree.map(replace, module, is_leaf=lambda node: isinstance(node, kinds))


def _as(kind: type, layer: Any) -> Any:
    """A layer with the same fields, of a subclass."""
    clone = object.__new__(kind)
    for name, value in vars(layer).items():
        object.__setattr__(clone, name, value)
    return clone


def _our_conv() -> type:
    """A class of convolutions that compute by ``convolutions.conv``."""
    import equinox as eqx

    class Conv(eqx.nn.Conv):
        def __call__(self, x, *, key=None):
            y = convolutions.conv(
                jnp.moveaxis(x, 0, -1)[None],
                jnp.moveaxis(self.weight, (0, 1), (-1, -2)),
                self.stride,
                self.padding,
                rhs_dilation=self.dilation,
                dimension_numbers=convolutions.channels_last(self.num_spatial_dims),
            )[0]
            y = jnp.moveaxis(y, -1, 0)
            return y if self.bias is None else y + self.bias

    return Conv


def _weighted_norm(weight: jax.Array) -> type:
    """A class of BatchNorm layers that do what equinox's do, with means over the records whose weight is not 0."""
    import equinox as eqx

    class Weighted(eqx.nn.BatchNorm):
        def __call__(self, x, state, *, key=None, inference=None):
            if self.inference if inference is None else inference:
                return super().__call__(x, state, key=key, inference=True)
            real = (weight != 0).astype(x.dtype)

            def mean(values):  # [i, ...] of one record -> [i] of all of them
                own = values.reshape(len(values), -1).mean(axis=1)
                return jax.lax.psum(real * own, self.axis_name) / jax.lax.psum(real, self.axis_name)

            def spread(values):  # [i] as [i, 1, ...]
                return values.reshape(-1, *[1] * (x.ndim - 1))

            center = mean(x)
            variance = mean((x - spread(center)) ** 2)
            if self.mode == "ema":
                first = state.get(self.ema_first_time_index)
                state = state.set(self.ema_first_time_index, jnp.array(False))
                running = state.get(self.ema_state_index)
                now = tuple(
                    jnp.where(first, new, self.momentum * old + (1 - self.momentum) * new)
                    for old, new in zip(running, (center, variance), strict=True)
                )
                state = state.set(self.ema_state_index, now)
                center, variance = now
            else:
                state = state.set(self.batch_counter, state.get(self.batch_counter) + 1)
                hidden = state.get(self.batch_state_index)
                now = tuple(
                    self.momentum * old + (1 - self.momentum) * new
                    for old, new in zip(hidden, (center, variance), strict=True)
                )
                state = state.set(self.batch_state_index, now)
            out = (x - spread(center)) / jnp.sqrt(spread(variance) + self.eps)
            if self.channelwise_affine:
                out = out * spread(self.weight) + spread(self.bias)
            return out, state

    return Weighted
