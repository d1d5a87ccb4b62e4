"""XLA's convolutions with gradients of our own: those that JAX derives, in layouts for which there is a library."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.models import convolutions, lax_convolutions

GRID = [  # kernel, strides, padding, dilation
    ((3, 3), (1, 1), "SAME", (1, 1)),
    ((2, 5), (1, 1), "SAME", (1, 1)),
    ((3, 3), (2, 2), "SAME", (1, 1)),
    ((1, 1), (2, 2), "SAME", (1, 1)),
    ((3, 2), (3, 2), "VALID", (1, 1)),
    ((3, 3), (1, 2), "SAME", (2, 1)),
    ((2, 2), (1, 1), "VALID", (2, 3)),
]
PADS = ((1, 1), (1, 1))


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def derived(x, kernel, strides, padding, dilation):
    layout = lax_convolutions.LAYOUT
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=layout)


def value_and_gradients(convolve, x, kernel):
    y, vjp = jax.vjp(convolve, x, kernel)
    return y, vjp(jnp.cos(y))


def padded(sizes, kernel, strides, padding, dilation):
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    return tuple(jax.lax.padtype_to_pads(sizes, reach, strides, padding))


def test_values_and_gradients_are_those_that_jax_derives():
    """Of the whole grid in one program, for compiling is what costs."""
    x = numbers(2, 9, 8, 3)

    def all_of_them(x, ours):
        found = []
        for k, (kernel, strides, padding, dilation) in enumerate(GRID):
            pads = padded(x.shape[1:3], kernel, strides, padding, dilation)
            function = lax_convolutions.convolve if ours else derived
            here = functools.partial(function, strides=strides, padding=pads, dilation=dilation)
            found.append(value_and_gradients(lambda x, w, f=here: f(x, w), x, numbers(*kernel, 3, 4, seed=k)))
        return found

    ours, theirs = (jax.jit(all_of_them, static_argnums=1)(x, which) for which in (True, False))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), ours, theirs)


@pytest.mark.parametrize("lanes", [2, lax_convolutions.MOST_LANES + 1])
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_many_networks_or_many_batches_are_loops_over_them(lanes, axes):
    x, kernel = numbers(*[lanes] * (axes[0] == 0), 2, 6, 5, 3), numbers(*[lanes] * (axes[1] == 0), 3, 3, 3, 4)

    def run(x, kernel):
        return value_and_gradients(lambda x, w: lax_convolutions.convolve(x, w, (1, 1), PADS, (1, 1)), x, kernel)

    many = jax.jit(jax.vmap(run, in_axes=axes))(x, kernel)
    for lane in range(lanes):
        alone = jax.jit(run)(
            *(each if axis is None else each[lane] for each, axis in zip((x, kernel), axes, strict=True))
        )
        jax.tree.map(lambda a, b, i=lane: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-4), many, alone)


def layouts(convolve):
    """In which layouts a loop that trains a kernel, two at once, has its convolutions when XLA has compiled it."""

    def train(kernels, xs):
        def step(kernels, x):
            gradients = jax.vmap(jax.grad(lambda w, x: jnp.square(convolve(x, w)).sum(), (0, 1)))(kernels, x)
            return kernels - 1e-3 * gradients[0], gradients[1].sum()

        return jax.lax.scan(step, kernels, xs)

    compiled = jax.jit(train).lower(numbers(2, 3, 3, 16, 16), numbers(3, 2, 4, 8, 8, 16)).compile().as_text()
    return re.findall(r"convolution\(.*?dim_labels=([\w>-]+)(.*)", compiled)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA's compiler for CPUs")
def test_inside_a_loop_all_layouts_are_those_of_the_library():
    fast = layouts(
        lambda x, w: convolutions.conv(x, w, (1, 1), "SAME", dimension_numbers=convolutions.channels_last(2))
    )
    assert len(fast) == 6  # of two networks each: forward, and two gradients
    assert all(labels == "b01f_01io->b01f" and "feature_group" not in rest for labels, rest in fast)
    assert any(labels != "b01f_01io->b01f" for labels, _ in layouts(lambda x, w: derived(x, w, (1, 1), "SAME", (1, 1))))


def test_one_record_at_a_time_is_computed_by_patches():
    """Per-example gradients: a kernel's gradient for each record, which would be a convolution for each."""
    forms = convolutions.channels_last(2)

    def one(x, w):
        return convolutions.conv(x[None], w, (1, 1), "SAME", dimension_numbers=forms)[0]

    traced = jax.make_jaxpr(jax.vmap(one, in_axes=(0, None)))(numbers(5, 8, 8, 16), numbers(3, 3, 16, 16))
    assert "conv_general_dilated" not in str(traced)
