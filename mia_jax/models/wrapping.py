"""A model around a model: what it sees, its parameters, and the context that it is traced in are changed."""

import contextlib
from collections.abc import Callable
from typing import Any

from mia_jax.types import Array, Model, Params


def wrapped(
    model: Model,
    *,
    x: Callable[[Array], Any] = lambda x: x,
    params: Callable[[Params], Params] = lambda params: params,
    context: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> Model:
    """The model, each of whose functions sees changed arguments, within a context.

    Args:
        model: any.
        x: what records [b, *f] become, when it is made, too.
        params: what its parameters, or ``Variables``, become before a forward pass; ``init`` gives them unchanged.
        context: entered around each function.
    """
    change_x, change_params = x, params

    def init(key, x):
        with context():
            return model.init(key, change_x(x))

    def apply(params, x, *, key=None):
        with context():
            return model.apply(change_params(params), change_x(x), key=key)

    def train(variables, x, weight, *, key):
        assert model.train is not None
        with context():
            return model.train(change_params(variables), change_x(x), weight, key=key)

    return model._replace(init=init, apply=apply, train=None if model.train is None else train)
