"""Networks, as pairs of pure functions. Only this file and ``dense`` know flax.

Networks of the paper (Shokri et al. 2017, section VI-B): one hidden layer of 128 tanh units for Purchase, two
convolution and max-pooling layers and a hidden layer of 128 tanh units for CIFAR, multinomial logistic regression for
what Amazon trained.
"""

import inspect
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mia_jax import artifacts, imported
from mia_jax.types import InputError, Model, Schema

NAMES = ("mlp", "cnn", "logistic")
ALIGNED = 16  # float32 numbers of a cache line: matmuls over a multiple of it are faster on CPUs


# --- the paper's networks --------------------------------------------------------------------------------------------


class _MLP(nn.Module):
    num_classes: int
    hidden: Sequence[int]
    activation: Callable
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = x.reshape(len(x), -1)
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


class _CNN(nn.Module):
    num_classes: int
    channels: Sequence[int]
    kernel: int
    dense: int
    activation: Callable
    dropout: float
    convolution: Callable

    @nn.compact
    def __call__(self, x, train):
        x = x[..., None] if x.ndim == 3 else x
        for channels in self.channels:
            x = nn.Conv(channels, (self.kernel, self.kernel), conv_general_dilated=self.convolution)(x)
            # Pooling first: activations are monotone, so the result is the same and there is a quarter to activate.
            x = self.activation(max_pool(x))
        x = x.reshape(len(x), -1)
        x = self.activation(nn.Dense(self.dense)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


def mlp(
    num_classes: int,
    hidden: Sequence[int] = (128,),
    *,
    activation: Callable = jnp.tanh,
    scale: float = 1.0,
    dropout: float = 0.0,
) -> Model:
    """Fully connected layers on the flattened record (the paper's "local" network for Purchase).

    Args:
        num_classes: c.
        hidden: units of each hidden layer.
        activation: of the hidden layers.
        scale: what records are multiplied by; 1/255 for pixels.
        dropout: probability that a hidden unit is dropped in training.
    """
    return from_flax(_MLP(num_classes, tuple(hidden), activation, dropout), scale=scale)


def cnn(
    num_classes: int,
    *,
    channels: Sequence[int] = (32, 32),
    kernel: int = 5,
    dense: int = 128,
    activation: Callable = jnp.tanh,
    scale: float = 1 / 255,
    dropout: float = 0.0,
    convolution: Callable | None = None,
) -> Model:
    """Convolution and 2x2 max-pooling layers, a fully connected layer, softmax (the paper's network for CIFAR).

    Channels and kernel size are ours: the paper does not give them. Convolutions keep the height and width.

    Args:
        num_classes: c.
        channels: of each convolution.
        kernel: height and width of each convolution's kernel.
        dense: units of the fully connected layer.
        activation: of every hidden layer; monotone, for pooling comes before it.
        scale: what records are multiplied by.
        dropout: probability that a unit of the fully connected layer is dropped in training.
        convolution: ``conv_same``, which is fast under ``vmap`` over kernels on CPUs, or
            ``jax.lax.conv_general_dilated``, the vendor's own, which we have not measured on GPU and TPU.
    """
    module = _CNN(num_classes, tuple(channels), kernel, dense, activation, dropout, convolution or conv_same)
    return from_flax(module, scale=scale)


def logistic(num_classes: int, *, scale: float = 1.0) -> Model:
    """Multinomial logistic regression: what Amazon's service trained (paper, section VI-B)."""
    return mlp(num_classes, (), scale=scale)


def conv_same(x: jax.Array, kernel: jax.Array, strides=(1, 1), padding="SAME", **rest) -> jax.Array:
    """2-D convolution as copies and one matmul.

    Under ``vmap`` over kernels ``lax.conv_general_dilated`` becomes a grouped convolution, and inside ``scan`` it
    leaves the fast path, which on CPUs costs a factor of 20 and more (benchmarks/README.md). This one becomes a batched
    matmul.

    The taps of a kernel's row are concatenated as channels. Its rows are concatenated, too, where that is less to copy,
    or else are columns of the matmul, whose results are shifted and added.

    Args:
        x: [b, h, w, i].
        kernel: [kh, kw, i, o].
        strides, padding, rest: what flax passes besides; nothing but its defaults is implemented.

    Returns:
        [b, h, w, o], equal to ``lax.conv_general_dilated`` with padding SAME, up to rounding.
    """
    assert tuple(strides) == (1, 1) and padding == "SAME", "only what cnn() uses"
    kh, kw, i, o = kernel.shape
    b, h, w, _ = x.shape
    above, left = (kh - 1) // 2, (kw - 1) // 2
    x = jnp.concatenate([_shifted(x, left - s, axis=2) for s in range(kw)], axis=-1)
    if kw * i <= o:
        x = [_shifted(x, above - r, axis=1) for r in range(kh)]
        unaligned = -(kh * kw * i) % ALIGNED
        x = jnp.concatenate([*x, jnp.zeros((b, h, w, unaligned), x[0].dtype)], axis=-1)
        kernel = jnp.pad(kernel.reshape(-1, o), ((0, unaligned), (0, 0)))
        return (x.reshape(b * h * w, -1) @ kernel).reshape(b, h, w, o)
    columns = kernel.transpose(1, 2, 0, 3).reshape(kw * i, kh * o)
    y = (x.reshape(b * h * w, kw * i) @ columns).reshape(b, h, w, kh * o)
    # Split, not sliced: so that the gradient is a concatenation, not a sum of padded arrays.
    rows = jax.lax.split(y, [o] * kh, axis=-1)
    return sum(_shifted(row, above - r, axis=1) for r, row in enumerate(rows))


def _shifted(x: jax.Array, by: int, axis: int) -> jax.Array:
    """x, moved along an axis; zeros come in, what leaves is lost."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), config)


def max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pooling of [b, h, w, i] with stride 2; an odd last row or column is dropped, as by flax and PyTorch.

    By reshaping: the gradient of ``lax.reduce_window`` is slow on CPUs.
    """
    b, h, w, i = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, i).max(axis=(2, 4))


# --- a user's networks -----------------------------------------------------------------------------------------------


def from_flax(module: nn.Module, *, scale: float = 1.0) -> Model:
    """A flax linen module as a ``Model``.

    Records are cast to float32 and multiplied by ``scale`` before the module sees them. If its ``__call__`` has an
    argument ``train`` or ``training``, that tells whether it is trained; ``deterministic`` tells the opposite. Dropout
    draws from the random stream "dropout".

    Raises:
        InputError: on init, if the module keeps statistics of batches (or any state other than parameters).
    """
    arguments = inspect.signature(module.__call__).parameters

    def mode(train: bool) -> dict[str, bool]:
        modes = {"train": train, "training": train, "deterministic": not train}
        return {name: value for name, value in modes.items() if name in arguments}

    def cast(x):
        x = jnp.asarray(x).astype(jnp.float32)
        return x if scale == 1 else x * scale

    def init(key, x):
        variables = module.init(key, cast(x), **mode(False))
        if state := set(variables) - {"params"}:
            raise InputError(
                f"{type(module).__name__} keeps {', '.join(sorted(state))}: models are functions of their parameters;"
                " use GroupNorm or LayerNorm instead of BatchNorm"
            )
        return variables.get("params", {})

    def apply(params, x, *, key=None):
        rngs = None if key is None else {"dropout": key}
        return module.apply({"params": params}, cast(x), **mode(key is not None), rngs=rngs)

    return Model(init, apply)


def build(name: str, schema: Schema, *, hidden: int = 128, dropout: float = 0.0) -> Model:
    """The model that ``--model`` names, for records of a schema.

    Args:
        name: "mlp", "cnn", "logistic", or "module:factory", where ``factory(num_classes=c, shape=(*f,))`` returns a
            ``Model`` or a flax linen module. Modules are looked for in the current folder, too. All but a ``Model`` of
            your own see pixels, and columns that the schema says so of (``Field.zero``, ``Field.one``), scaled.
        schema: of the records.
        hidden: units of the fully connected layer of mlp and cnn.
        dropout: probability that one of these units is dropped in training.

    Raises:
        InputError: there is no such model, or it does not fit the records. Nothing is computed to find out.
    """
    pixels = all(field.kind == "pixel" for field in schema.fields)
    scale = 1 / max(field.high for field in schema.fields) if pixels else 1.0
    own = False
    if not 0 <= dropout < 1:
        raise InputError(f"--dropout={dropout} must be at least 0 and below 1")
    if dropout and name not in ("mlp", "cnn"):
        raise InputError(f"--dropout={dropout} is for mlp and cnn; a network of your own brings its own dropout")
    if name == "mlp":
        model = mlp(schema.num_classes, (hidden,), scale=scale, dropout=dropout)
    elif name == "cnn":
        if len(schema.shape) not in (2, 3) or min(schema.shape[:2]) < 4:
            raise InputError(
                f"the model cnn needs images, and records of {schema.name} have shape {schema.shape}; use --model=mlp"
            )
        model = cnn(schema.num_classes, dense=hidden, scale=scale, dropout=dropout)
    elif name == "logistic":
        model = logistic(schema.num_classes, scale=scale)
    elif ":" in name:
        factory = _load(name)
        with imported.guarded(f"--model={name}, called with num_classes= and shape=,"):
            model = factory(num_classes=schema.num_classes, shape=schema.shape)
        own = isinstance(model, Model)  # functions of the user see the records as they are
        if isinstance(model, nn.Module):
            model = from_flax(model, scale=scale)
        if not isinstance(model, Model):
            raise InputError(
                f"{name} returned {type(model).__name__}; a factory returns a mia_jax.Model or a flax linen module"
            )
    else:
        raise InputError(f"there is no model {name!r}; use {', '.join(NAMES)}, or module:factory for your own")
    if not own and (scaling := units(schema)):
        model = rescaled(model, *scaling)
    _check(name, model, schema)
    return model


def units(schema: Schema) -> tuple[np.ndarray, np.ndarray] | None:
    """What is 0 to our networks in each column, and how far from there 1 is, float32 [*f] each.

    None where they see the records as they are.
    """
    if all((field.zero, field.one) == (0.0, 1.0) for field in schema.fields):
        return None
    zero, span = np.empty((2, schema.fields[-1].stop), np.float32)
    for field in schema.fields:
        columns = slice(field.start, field.stop)
        zero[columns], span[columns] = field.zero, field.one - field.zero
    return zero.reshape(schema.shape), span.reshape(schema.shape)


def rescaled(model: Model, zero: np.ndarray, span: np.ndarray) -> Model:
    """The model, which sees (x - zero) / span of a record x [*f]."""

    def seen(x):
        return (jnp.asarray(x).astype(jnp.float32) - zero[None]) / span[None]

    def apply(params, x, *, key=None):
        return model.apply(params, seen(x), key=key)

    return Model(lambda key, x: model.init(key, seen(x)), apply)


def source_digest(name: str) -> str:
    """SHA-256 of the source of a "module:factory" and all that it imports; "" for the models of this file.

    What is trained depends on it, and a changed file must not take up the models of the old one.
    """
    if ":" not in name:
        return ""
    factory = _load(name)
    return artifacts.digest(
        {"factory": imported.describe(factory), "module": imported.digest_of(name.partition(":")[0])}
    )


def program_digest(model: Model, x: jax.Array | np.ndarray) -> str:
    """SHA-256 of what a network computes on records like x [b, *f]: its traced program, and the arrays in that.

    It tells networks apart whose source is one and that were built by something else: a file of settings, a variable of
    the environment.
    """

    def forward(key, x):
        params = model.init(key, x)
        return model.apply(params, x), model.apply(params, x, key=key)

    traced = jax.make_jaxpr(forward)(jax.random.key(0), jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype))
    text = re.sub(r" at 0x[0-9a-f]+", "", str(traced))
    return artifacts.digest({"program": text, "arrays": [artifacts.array_digest(np.asarray(c)) for c in traced.consts]})


def _load(name: str) -> Callable:
    factory = imported.load(name, f"--model={name}")
    if not callable(factory):
        module, _, called = name.partition(":")
        raise InputError(f"--model={name}: {called!r} of {module} is {type(factory).__name__}, no function")
    return factory


def _check(name: str, model: Model, schema: Schema) -> None:
    """Shapes of a forward pass in training mode, without computing it."""
    natural = all(field.kind in ("binary", "pixel") for field in schema.fields)
    x = jax.ShapeDtypeStruct((2, *schema.shape), np.uint8 if natural else np.float32)

    def forward(x):
        key = jax.random.key(0)
        return model.apply(model.init(key, x), x, key=key)

    try:
        logits = jax.eval_shape(forward, x)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = str(error).strip().split("\n")[0]
        reason = f"it calls sys.exit({reason})" if isinstance(error, SystemExit) else reason
        raise InputError(f"--model={name} does not take records of shape {schema.shape}: {reason}") from error
    if getattr(logits, "shape", None) != (2, schema.num_classes):
        shape = getattr(logits, "shape", type(logits).__name__)
        raise InputError(
            f"--model={name} answers 2 records of {schema.name} with {shape}, not with logits (2, {schema.num_classes})"
        )
