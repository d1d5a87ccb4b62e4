"""Networks as pairs of pure functions: the paper's, those of today by name, anybody's flax module, in any precision."""

from mia_jax.models.adapters import from_flax
from mia_jax.models.adapters_equinox import from_equinox
from mia_jax.models.adapters_nnx import from_nnx
from mia_jax.models.fast import airbench
from mia_jax.models.networks import build
from mia_jax.models.paper import cnn, logistic, mlp
from mia_jax.models.precision import computed_in
from mia_jax.models.resnets import resnet, wide_resnet
from mia_jax.models.tables import ft_transformer, tab_resnet
from mia_jax.models.vgg16 import vgg

__all__ = [
    "airbench",
    "build",
    "cnn",
    "computed_in",
    "from_equinox",
    "from_flax",
    "from_nnx",
    "ft_transformer",
    "logistic",
    "mlp",
    "resnet",
    "tab_resnet",
    "vgg",
    "wide_resnet",
]
