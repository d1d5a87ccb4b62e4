"""The dense layers of a flax network, whose gradient is known without asking for it.

For a record, the gradient of a dense layer's kernel is the outer product of what enters the layer and of the gradient
at its output; that of its bias is the latter. So both are enough to clip every record's gradient (``dp_sgd``), or to
sum the gradients of many microbatches in one matmul (``single``). To have them, zeros are added to what the layers put
out: the gradient with respect to these offsets is the gradient at the output.
"""

import jax
import jax.core
import jax.numpy as jnp
from flax import linen as nn

from mia_jax.types import Array, Key, Model, Params

Path = tuple[str, ...]  # of a layer in params


def offsets(
    model: Model, params: Params, x: Array | jax.ShapeDtypeStruct, key: Key | None = None
) -> dict[Path, jax.Array]:
    """Zeros [b, o] for each dense layer whose gradient can be known in this way.

    Those that are plain ``nn.Dense``, with parameters that are in ``params`` as they are, called once, on one row per
    record [b, i], and not inside another transformation (a loop, ``nn.vmap``, rematerialization). Nothing is computed
    to find them. Of a model that is not of flax layers none is known.

    Args:
        model, params: of one network.
        x: [b, *f], or its shape and type.
        key: means training mode, in which layers may be called that otherwise are not.
    """

    def once(params, x, key):
        inputs = _watched(model, params, x, {}, key)[1]
        return {path: calls[0] for path, calls in inputs.items() if len(calls) == 1}

    try:
        traced, inputs = jax.make_jaxpr(once, return_shape=True)(params, x, key)
    except jax.errors.UnexpectedTracerError:
        return {}
    if any(isinstance(const, jax.core.Tracer) for const in traced.consts):  # an input from inside a transformation
        return {}
    flat = [path for path, a in inputs.items() if a.ndim == 2 and len(a) == len(x)]
    return {path: jnp.zeros((len(x), _at(params, path)["kernel"].shape[1])) for path in flat}


def apply(
    model: Model, params: Params, x: Array, offsets: dict[Path, jax.Array], key: Key | None = None
) -> tuple[jax.Array, dict[Path, jax.Array]]:
    """The forward pass with offsets added to what dense layers put out.

    In gradients they take these layers' place: a layer that has an offset is computed from fixed parameters, and what
    its own use of them adds to the gradient is left to ``gradients``. Another use of the same parameters is not.

    Args:
        model, params, x, key: as of ``offsets``.
        offsets: what ``offsets`` gives, or some of it.

    Returns:
        Logits [b, c], and path -> what enters the layer [b, i].
    """
    logits, inputs = _watched(model, params, x, offsets, key)
    return logits, {path: inputs[path][0] for path in offsets}


def gradients(params: Params, inputs: dict[Path, jax.Array], outputs: dict[Path, jax.Array]) -> Params:
    """The gradient of dense layers' parameters, from their inputs [b, i] and the gradients at their outputs [b, o].

    Like ``params``, with zero in the place of everything else.
    """
    known = {}
    for path, d in outputs.items():
        known[*path, "kernel"], known[*path, "bias"] = inputs[path].T @ d, d.sum(axis=0)

    def at(path, leaf):
        names = tuple(getattr(entry, "key", None) for entry in path)
        return known[names].astype(leaf.dtype) if names in known else jnp.zeros_like(leaf)

    return jax.tree_util.tree_map_with_path(at, params)


def are_all(model: Model, params: Params, x: Array, offsets: dict[Path, jax.Array], key: Key | None = None) -> bool:
    """Whether ``gradients`` is the whole gradient: logits depend on parameters by layers that have offsets alone.

    Args:
        model, params, x, key: as of ``offsets``, x [b, *f].
        offsets: what ``offsets`` gives.
    """

    def tangent(params, direction, x, key):
        return jax.jvp(lambda params: apply(model, params, x, offsets, key)[0], (params,), (direction,))[1]

    jaxpr = jax.make_jaxpr(tangent)(params, params, x, key).jaxpr
    leaves = len(jax.tree.leaves(params))
    used = {id(v) for v in (*jaxpr.outvars, *(v for equation in jaxpr.eqns for v in equation.invars))}
    return not any(id(v) in used for v in jaxpr.invars[leaves : 2 * leaves])


def has_bias(params: Params, path: Path) -> bool:
    """Whether the dense layer at ``path`` has a bias."""
    return "bias" in _at(params, path)


def _watched(model, params, x, offsets, key) -> tuple[jax.Array, dict[Path, list[jax.Array]]]:
    """Logits, and what entered each dense layer at each of its calls."""
    inputs: dict[Path, list[jax.Array]] = {}

    def intercept(next_method, args, kwargs, context):
        layer = context.module
        if context.method_name != "__call__" or len(args) != 1 or kwargs or not _is_plain(layer, params):
            return next_method(*args, **kwargs)
        inputs.setdefault(layer.path, []).append(args[0])
        if layer.path not in offsets:
            return next_method(*args)
        own = jax.lax.stop_gradient(layer.variables["params"])
        a, kernel, bias = layer.promote_dtype(args[0], own["kernel"], own.get("bias"), dtype=layer.dtype)
        y = jnp.dot(a, kernel, precision=layer.precision)
        y = y if bias is None else y + bias[None]
        return y + offsets[layer.path].astype(y.dtype)

    with nn.intercept_methods(intercept):
        logits = model.apply(params, x, key=key)
    return logits, inputs


def _is_plain(layer: nn.Module, params: Params) -> bool:
    """Whether it is flax's dense layer, and its parameters are those of ``params``, not copies that something made."""
    if type(layer) is not nn.Dense or layer.promote_dtype is not nn.Dense.promote_dtype:
        return False
    if layer.dot_general is not None or layer.dot_general_cls is not None:
        return False
    try:
        theirs = _at(params, layer.path)
        own = layer.variables["params"]
        return all(isinstance(leaf, jax.Array) and theirs[name] is leaf for name, leaf in own.items())
    except (KeyError, TypeError):
        return False


def _at(params: Params, path: Path) -> Params:
    for name in path:
        params = params[name]
    return params
