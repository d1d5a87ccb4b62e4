"""Networks by name, ours and anybody's, checked against the records before any work (``build``)."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax import user_code
from mia_jax.data import oddities
from mia_jax.models import convolutions, fast, resnets, tables, vgg16
from mia_jax.models.own import from_factory, load
from mia_jax.models.paper import cnn, layer_widths, logistic, mlp
from mia_jax.models.precision import Precision, computed_in
from mia_jax.models.wrapping import wrapped
from mia_jax.storage import artifacts
from mia_jax.types import InputError, Model, Schema, Variables

LEAST = {  # of the networks for images: pixels a side
    "cnn": 4,
    "resnet18": resnets.LEAST,
    "wrn28_2": resnets.LEAST,
    "wrn16_4": resnets.LEAST,
    "airbench": fast.LEAST,
    "vgg16": vgg16.LEAST,
}
NAMES = ("mlp", "logistic", "tab_resnet", "ft_transformer", *LEAST)
WITH_DROPOUT = ("mlp", "tab_resnet", "ft_transformer", "cnn", "wrn28_2", "wrn16_4")


def build(
    name: str, schema: Schema, *, hidden: int | str = 128, dropout: float = 0.0, precision: Precision = "float32"
) -> Model:
    """A model by its name, for records of a schema.

    Args:
        name: one of ``NAMES``, or "module:factory", where ``factory(num_classes=c, shape=(*f,))`` returns a ``Model``,
            two functions (init, apply), or a flax linen module; with an argument ``rngs`` a flax nnx module, with an
            argument ``key`` an equinox module. Modules are looked for in the current folder, too. All but functions of
            your own see pixels, and columns that the schema says so of (``Field.zero``, ``Field.one``), scaled.
        schema: of the records.
        hidden: units of the fully connected layer of mlp and cnn; several layers of mlp as "128,64".
        dropout: probability that one of these units is dropped in training; of a residual network, one between the
            layers of a block; of ft_transformer, an attention weight, too.
        precision: of its arithmetic, see ``precision.computed_in``.

    Raises:
        InputError: there is no such model, it does not fit the records, or the device lacks the precision. Nothing is
            computed to find out.
    """
    pixels = all(field.kind == "pixel" for field in schema.fields)
    scale = 1 / max(field.high for field in schema.fields) if pixels else 1.0
    own = False
    if not 0 <= dropout < 1:
        raise InputError(f"dropout={dropout} must be at least 0 and below 1")
    if dropout and name not in WITH_DROPOUT:
        raise InputError(
            f"dropout={dropout} is for {', '.join(WITH_DROPOUT)}; a network of your own brings its own dropout"
        )
    if name in NAMES:
        model = _named(name, schema, scale, hidden, dropout)
    elif ":" in name:
        model, own = from_factory(name, schema, scale)
    else:
        raise InputError(f"there is no model {name!r}; use {', '.join(NAMES)}, or module:factory for your own")
    model = computed_in(model, precision)  # of what ``rescaled`` gives, in units that bfloat16 can tell apart
    if not own and (scaling := units(schema)):
        model = rescaled(model, *scaling)
    replaced = _check(name, model, schema)
    return _computed(name, model, schema) if replaced and ":" in name else model


def _named(name: str, schema: Schema, scale: float, hidden: int | str, dropout: float) -> Model:
    """One of ``NAMES``.

    Raises:
        InputError: it is for images, and the records are none, or too small; it does not have so many hidden layers.
    """
    least, c = LEAST.get(name, 0), schema.num_classes
    if least and len(schema.shape) not in (2, 3):
        raise InputError(
            f"the model {name} needs images, and records of {schema.name} have shape {schema.shape}; use model=mlp"
        )
    if least and min(schema.shape[:2]) < least:
        move = "use model=mlp"
        if oddities.channels_first(schema.shape):
            move = "their channels seem to come first: write np.moveaxis(x, 1, -1) as x, or use model=mlp"
        raise InputError(
            f"the model {name} needs images of at least {least}x{least} pixels, and those of {schema.name} have"
            f" {schema.shape[0]}x{schema.shape[1]}; {move}"
        )
    match name:
        case "cnn":
            if len(widths := layer_widths(hidden)) > 1:
                raise InputError(f"`hidden={hidden}`: the model cnn has one fully connected layer; give one number")
            return cnn(c, dense=widths[0], scale=scale, dropout=dropout)
        case "resnet18":
            return resnets.resnet(c, scale=scale)
        case "wrn28_2":
            return resnets.wide_resnet(c, depth=28, widen=2, dropout=dropout, scale=scale)
        case "wrn16_4":
            return resnets.wide_resnet(c, depth=16, widen=4, dropout=dropout, scale=scale)
        case "airbench":
            return fast.airbench(c, scale=scale)
        case "vgg16":
            return vgg16.vgg(c, scale=scale)
        case "tab_resnet":
            return tables.tab_resnet(c, scale=scale, dropout=dropout)
        case "ft_transformer":
            return tables.ft_transformer(c, schema.fields, scale=scale, dropout=dropout)
        case "logistic":
            return logistic(c, scale=scale)
    return mlp(c, layer_widths(hidden), scale=scale, dropout=dropout)


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
    return wrapped(model, x=lambda x: (jnp.asarray(x).astype(jnp.float32) - zero[None]) / span[None])


def source_digest(name: str) -> str:
    """SHA-256 of the source of a "module:factory" and all that it imports; "" for the models of this file.

    What is trained depends on it, and a changed file must not take up the models of the old one.
    """
    if ":" not in name:
        return ""
    factory = load(name)
    return artifacts.digest(
        {"factory": user_code.describe(factory), "module": user_code.digest_of(name.partition(":")[0])}
    )


def program_digest(model: Model, x: jax.Array | np.ndarray) -> str:
    """SHA-256 of what a network computes on records like x [b, *f]: its traced program, and the arrays in that.

    It tells networks apart whose source is one and that were built by something else: a file of settings, a variable of
    the environment.
    """

    def forward(key, x):
        params = model.init(key, x)
        answers = model.apply(params, x), model.apply(params, x, key=key)
        if not isinstance(params, Variables):
            return answers
        assert model.train is not None
        return *answers, model.train(params, x, jnp.ones(len(x)), key=key)

    traced = jax.make_jaxpr(forward)(jax.random.key(0), jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype))
    text = re.sub(r" at 0x[0-9a-f]+", "", str(traced))
    return artifacts.digest({"program": text, "arrays": [artifacts.array_digest(np.asarray(c)) for c in traced.consts]})


def natural(schema: Schema) -> type:
    """The dtype of records of the schema."""
    return np.uint8 if all(field.kind in ("binary", "pixel") for field in schema.fields) else np.float32


def _check(name: str, model: Model, schema: Schema) -> int:
    """Shapes of a forward pass in training mode, without computing it; how many convolutions replace flax's."""
    x = jax.ShapeDtypeStruct((2, *schema.shape), natural(schema))

    def forward(x):
        key = jax.random.key(0)
        return model.apply(model.init(key, x), x, key=key)

    try:
        with convolutions.counted() as replaced:
            logits = jax.eval_shape(forward, x)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = str(error).strip().split("\n")[0]
        reason = f"it calls sys.exit({reason})" if isinstance(error, SystemExit) else reason
        raise InputError(f"model={name} does not take records of shape {schema.shape}: {reason}") from error
    if getattr(logits, "shape", None) != (2, schema.num_classes):
        shape = getattr(logits, "shape", type(logits).__name__)
        raise InputError(
            f"model={name} answers 2 records of {schema.name} with {shape}, not with logits (2, {schema.num_classes})"
        )
    return len(replaced)


def _computed(name: str, model: Model, schema: Schema) -> Model:
    """The model with the convolutions that are in flax's place, if it answers two records as its author's own does."""
    key = (name, source_digest(name), schema.shape, schema.num_classes)
    if key not in _AGREED:
        _AGREED[key] = _agree(model, as_written(model), schema)
    if _AGREED[key]:
        return model._replace(arithmetic="its convolutions are computed in another form, which is faster here")
    return as_written(model)


_AGREED: dict[tuple, bool] = {}  # what was found out in this process


def as_written(model: Model) -> Model:
    """The model with the convolutions that its author called."""
    return wrapped(model, context=convolutions.as_written)._replace(arithmetic="")


def by_patches(model: Model) -> Model:
    """The model with plain convolutions computed as copies and one matmul, on accelerators, too."""
    return wrapped(model, context=convolutions.by_patches)


def has_convolutions(model: Model, x: jax.Array | np.ndarray) -> bool:
    """Whether a network has convolutions that there are two ways to compute, on records like x [b, *f].

    Found by tracing it, without computing anything.
    """
    some = jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype)
    with convolutions.counted() as calls, convolutions.by_patches():
        jax.eval_shape(lambda x: model.apply(model.init(jax.random.key(0), x), x), some)
    return bool(calls)


def _agree(model: Model, written: Model, schema: Schema) -> bool:
    """Whether both answer two random records alike, as far as the precision of their logits goes."""
    key_x, key_init, key_far = jax.random.split(jax.random.key(0), 3)
    if natural(schema) is np.uint8:  # pixels over all of their range, or the layers would see next to nothing
        x = jax.random.randint(key_x, (2, *schema.shape), 0, int(max(f.high for f in schema.fields)) + 1)
        x = x.astype(np.uint8)
    else:
        x = jax.random.normal(key_x, (2, *schema.shape))
    try:
        params = jax.jit(written.init)(key_init, x)
        leaves, structure = jax.tree.flatten(params)
        keys = jax.random.split(key_far, len(leaves))  # away from zeros, which layers may begin with
        far = [leaf + 0.1 * jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        ours, theirs = (np.asarray(jax.jit(m.apply)(structure.unflatten(far), x)) for m in (model, written))
    except Exception:  # whatever it is, it is met again where it is told
        return False
    precision = float(jnp.finfo(ours.dtype).eps) if jnp.issubdtype(ours.dtype, jnp.floating) else 0.0
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return bool(np.abs(ours - theirs).max() <= 1000 * precision * max(1.0, np.abs(theirs).max()))
