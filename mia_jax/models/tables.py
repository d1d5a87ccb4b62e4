"""Networks for tables: a residual network, and attention over columns.

Yury Gorishniy, Ivan Rubachev, Valentin Khrulkov, Artem Babenko, "Revisiting deep learning models for tabular data",
NeurIPS 2021. Sizes are those that its authors give for a start (their package ``rtdl_revisiting_models``).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from mia_jax.models.adapters import from_flax
from mia_jax.models.layers import batch_norm
from mia_jax.types import Field, Model


class _TabResNet(nn.Module):
    """Section 3.2."""

    num_classes: int
    blocks: int
    width: int
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(self.width)(x.reshape(len(x), -1))
        for _ in range(self.blocks):
            y = nn.relu(nn.Dense(2 * self.width)(batch_norm(train)(x)))
            x = x + nn.Dense(self.width)(nn.Dropout(self.dropout, deterministic=not train)(y))
        return nn.Dense(self.num_classes)(nn.relu(batch_norm(train)(x)))


class _Group(NamedTuple):
    """Neighboring columns: those of one attribute, or each of them one."""

    start: int
    stop: int
    one_hot: bool


class Tokens(nn.Module):
    """[b, 1 + attributes, width] of columns [b, f]: weights times values, plus biases; the first is the record's."""

    groups: Sequence[_Group]
    width: int

    @nn.compact
    def __call__(self, x):
        groups = self.groups or (_Group(0, x.shape[1], False),)
        begin = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")  # within 1 / sqrt(width)
        attributes = sum(1 if group.one_hot else group.stop - group.start for group in groups)
        weight = self.param("weight", begin, (x.shape[1], self.width)).astype(x.dtype)
        bias = self.param("bias", begin, (attributes, self.width)).astype(x.dtype)
        record = self.param("record", begin, (1, self.width)).astype(x.dtype)
        each = [
            x[:, g.start : g.stop] @ weight[g.start : g.stop]
            if g.one_hot
            else x[:, g.start : g.stop, None] * weight[None, g.start : g.stop]
            for g in groups
        ]
        tokens = jnp.concatenate([token.reshape(len(x), -1, self.width) for token in each], axis=1) + bias[None]
        return jnp.concatenate([jnp.broadcast_to(record[None], (len(x), 1, self.width)), tokens], axis=1)


class _FTTransformer(nn.Module):
    """Section 3.3: a token for each attribute and one that stands for the record, which its answer is read from."""

    num_classes: int
    groups: Sequence[_Group]
    blocks: int
    width: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x, train):
        x = Tokens(self.groups, self.width)(x.reshape(len(x), -1))
        for block in range(self.blocks):
            y = x if block == 0 else nn.LayerNorm(epsilon=1e-5)(x)  # the first normalization is left out (section 3.3)
            # The last block's answer is read from one token, so that only it asks the others there.
            query = y[:, :1] if block == self.blocks - 1 else y
            attention = nn.MultiHeadDotProductAttention(
                self.heads, dropout_rate=self.dropout, broadcast_dropout=False, deterministic=not train
            )
            x = x[:, : query.shape[1]] + attention(query, y)
            y = nn.LayerNorm(epsilon=1e-5)(x)
            y, gate = jnp.split(nn.Dense(2 * int(self.width * 4 / 3))(y), 2, axis=-1)
            y = nn.Dropout(self.dropout, deterministic=not train)(y * nn.relu(gate))  # ReGLU
            x = x + nn.Dense(self.width)(y)
        return nn.Dense(self.num_classes)(nn.relu(nn.LayerNorm(epsilon=1e-5)(x[:, 0])))


def field_groups(fields: Sequence[Field]) -> tuple[_Group, ...]:
    """Columns of categorical fields are one attribute, all others an attribute each."""
    groups: list[_Group] = []
    for field in fields:
        one_hot = field.kind == "categorical"
        if groups and not one_hot and not groups[-1].one_hot:
            groups[-1] = groups[-1]._replace(stop=field.stop)
        else:
            groups.append(_Group(field.start, field.stop, one_hot))
    return tuple(groups)


def tab_resnet(
    num_classes: int, *, blocks: int = 2, width: int = 192, dropout: float = 0.0, scale: float = 1.0
) -> Model:
    """A residual network for tables: blocks of batch normalization and two fully connected layers.

    Args:
        num_classes: c.
        blocks: residual blocks.
        width: units between blocks; inside of one there are twice as many.
        dropout: probability that a unit inside of a block is dropped in training; the authors begin with .15.
        scale: what records are multiplied by.

    Returns:
        A Model of records [b, *f] with batch statistics.

    References:
        Gorishniy et al. 2021, section 3.2.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.tab_resnet(3, width=8), np.zeros((5, 4))
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 3)
    """
    return from_flax(_TabResNet(num_classes, blocks, width, dropout), scale=scale)


def ft_transformer(
    num_classes: int,
    fields: Sequence[Field] = (),
    *,
    blocks: int = 3,
    width: int = 192,
    heads: int = 8,
    dropout: float = 0.0,
    scale: float = 1.0,
) -> Model:
    """FT-Transformer: a token for each attribute of a table, and attention among them.

    The cost of a record grows with the square of its attributes. Departure: one probability of dropout where the
    authors have two.

    Args:
        num_classes: c.
        fields: what columns mean (``Schema.fields``): those of a categorical field are one attribute. None: each column
            is one.
        blocks: of attention and a feed-forward layer.
        width: numbers in a token, a multiple of ``heads``.
        heads: of attention.
        dropout: probability that an attention weight, or a unit of a feed-forward layer, is dropped in training; the
            authors begin with .2 and .1.
        scale: what records are multiplied by.

    Returns:
        A Model of records [b, *f].

    References:
        Gorishniy et al. 2021, section 3.3.

    >>> import jax, numpy as np, mia_jax as mia
    >>> model, x = mia.models.ft_transformer(3, blocks=1, width=8, heads=2), np.zeros((5, 4))
    >>> jax.eval_shape(lambda: model.apply(model.init(jax.random.key(0), x), x)).shape
    (5, 3)
    """
    assert width % heads == 0, "tokens are divided among the heads"
    return from_flax(_FTTransformer(num_classes, field_groups(fields), blocks, width, heads, dropout), scale=scale)
