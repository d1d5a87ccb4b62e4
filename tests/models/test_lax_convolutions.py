"""XLA's convolutions with gradients of our own: those that JAX derives, in layouts for which there is a library."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.models import convolutions, lax_convolutions

GRID = [  # kernel, padding
    ((3, 3), "SAME"),
    ((2, 5), "SAME"),
    ((1, 1), "SAME"),
    ((9, 3), "SAME"),
    ((3, 2), "VALID"),
]
PADS = ((1, 1), (1, 1))


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def derived(x, kernel, padding):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=lax_convolutions.LAYOUT)


def value_and_gradients(convolve, x, kernel):
    y, vjp = jax.vjp(convolve, x, kernel)
    return y, vjp(jnp.cos(y))


def of_the_whole_grid(function, of):
    """In one program, for compiling is what costs."""
    x = numbers(2, 9, 8, 3)

    def all_of_them(x):
        found = []
        for k, (kernel, padding) in enumerate(GRID):
            pads = tuple(jax.lax.padtype_to_pads(x.shape[1:3], kernel, (1, 1), padding))
            found.append(of(functools.partial(function, padding=pads), x, numbers(*kernel, 3, 4, seed=k)))
        return found

    return jax.jit(all_of_them)(x)


def gradients_of_gradients(convolve, x, kernel):
    def steepness(x, kernel):
        gradients = jax.grad(lambda *both: jnp.sin(convolve(*both)).sum(), (0, 1))(x, kernel)
        return sum(jnp.square(gradient).sum() for gradient in gradients)

    return jax.grad(steepness, (0, 1))(x, kernel)


@pytest.mark.parametrize("of", [value_and_gradients, gradients_of_gradients])
def test_values_and_gradients_are_those_that_jax_derives(of):
    ours, theirs = (of_the_whole_grid(function, of) for function in (lax_convolutions.convolve, derived))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-3), ours, theirs)


@pytest.mark.parametrize("lanes", [2, lax_convolutions.MOST_LANES + 1])
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_many_networks_or_many_batches_are_loops_over_them(lanes, axes):
    x, kernel = numbers(*[lanes] * (axes[0] == 0), 2, 6, 5, 3), numbers(*[lanes] * (axes[1] == 0), 3, 3, 3, 4)

    def run(x, kernel):
        return value_and_gradients(lambda x, w: lax_convolutions.convolve(x, w, PADS), x, kernel)

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
    assert any(labels != "b01f_01io->b01f" for labels, _ in layouts(lambda x, w: derived(x, w, "SAME")))


def test_one_record_at_a_time_is_computed_by_patches():
    """Per-example gradients: a kernel's gradient for each record, which would be a convolution for each."""
    forms = convolutions.channels_last(2)

    def one(x, w):
        return convolutions.conv(x[None], w, (1, 1), "SAME", dimension_numbers=forms)[0]

    traced = jax.make_jaxpr(jax.vmap(one, in_axes=(0, None)))(numbers(5, 8, 8, 16), numbers(3, 3, 16, 16))
    assert "conv_general_dilated" not in str(traced)
