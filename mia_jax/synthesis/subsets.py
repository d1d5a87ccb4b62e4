"""k distinct ones of a, many times at once: the bottleneck of Algorithm 1.

How to choose: give every attribute a key of infinitely many random bits, and take the k smallest keys. All orders of
the keys are equally likely, so every k-subset is. Only the bits that decide are drawn, 32 attributes to a word: the
first bits of all attributes form a *plane*; where no more than k of them are 0, those are in and the others go on to
the next plane for the rest; otherwise those with a 1 are out. After log2(a) planes about one attribute is undecided,
and those missing are picked one by one, uniformly among the undecided, as further bits would have done.
"""

import jax
import jax.numpy as jnp
import numpy as np

_WORD = 32
_ONES = np.uint32(0xFFFFFFFF)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def choose(key: jax.Array, k: jax.Array, a: int) -> jax.Array:
    """Uniform k-subsets of a attributes.

    Args:
        key: [r] typed keys, of the threefry kind.
        k: int32 [r], in [0, a].
        a: how many attributes there are.

    Returns:
        bool [r, a].
    """
    return unpack(choose_packed(jax.random.key_data(key).T, k, a).T, a)


def choose_packed(key: jax.Array, k: jax.Array, a: int) -> jax.Array:
    """``choose`` with key data uint32 [2, r] and packed: uint32 [ceil(a / 32), r].

    Attribute j is bit j % 32 of row j // 32. Searches lie on the last axis, where the compiler vectorizes.
    """
    width, depth = -(-a // _WORD), (a - 1).bit_length()
    valid = np.full(width, _ONES)
    valid[-1] >>= np.uint32(-a % _WORD)
    undecided = jnp.broadcast_to(jnp.asarray(valid)[:, None], (width, len(k)))

    def sift(carry, plane):
        chosen, undecided, need = carry
        zeros = undecided & ~plane
        count = _popcount(zeros).sum(0)
        fit = count <= need
        mask = jnp.where(fit, _ONES, jnp.uint32(0))[None]
        # The ones go on where the zeros fit, and else the zeros.
        return (chosen | (zeros & mask), undecided & (plane ^ ~mask), need - jnp.where(fit, count, 0)), None

    # A scan, for written out the planes would be fused into each of their uses, and computed again for each.
    planes = words(key, 0, depth * width).reshape(depth, width, len(k))
    (chosen, undecided, need), _ = jax.lax.scan(sift, (jnp.zeros_like(undecided), undecided, k), planes)

    def pick(carry):
        i, random, chosen, undecided, need = carry
        one = _random_bit(random, undecided) & jnp.where(need > 0, _ONES, jnp.uint32(0))[None]
        # The next word is carried, lest it is fused into the word's every use as well.
        return i + 1, words(key, i, 1)[0], chosen | one, undecided & ~one, need - (need > 0)

    carry = (jnp.uint32(2), words(key, 1, 1)[0], chosen, undecided, need)
    return jax.lax.while_loop(lambda carry: (carry[4] > 0).any(), pick, carry)[2]


def unpack(packed: jax.Array, a: int) -> jax.Array:
    """Bits of uint32 [..., ceil(a / 32)] as bool [..., a]."""
    shift = np.arange(_WORD, dtype=np.uint32).reshape(*(1,) * packed.ndim, _WORD)
    bits = (packed[..., None] >> shift) & jnp.uint32(1)
    return bits.reshape(*packed.shape[:-1], -1)[..., :a].astype(bool)


def words(key: jax.Array, stream: jax.Array | int, count: int) -> jax.Array:
    """Random words uint32 [count, r] from key data [2, r]; others for every ``stream``.

    Threefry-2x32 with 20 rounds (Salmon et al. 2011), which is also JAX's generator. Written out because JAX's own is
    compiled to a loop on CPUs, at a third of this speed (benchmarks/README.md).
    """
    shape = (-(-count // 2), key.shape[1])
    schedule = (key[0][None], key[1][None], (key[0] ^ key[1] ^ jnp.uint32(0x1BD11BDA))[None])
    a = jnp.broadcast_to(jnp.arange(shape[0], dtype=jnp.uint32)[:, None], shape) + schedule[0]
    b = jnp.full(shape, stream, jnp.uint32) + schedule[1]
    for i in range(20):
        a += b
        turn = _ROTATIONS[i // 4 % 2][i % 4]
        b = ((b << jnp.uint32(turn)) | (b >> jnp.uint32(_WORD - turn))) ^ a
        if i % 4 == 3:
            n = i // 4 + 1
            a, b = a + schedule[n % 3], b + schedule[(n + 1) % 3] + jnp.uint32(n)
    return jnp.concatenate([a, b])[:count]


def _popcount(x: jax.Array) -> jax.Array:
    return jax.lax.population_count(x).astype(jnp.int32)


def _random_bit(random: jax.Array, x: jax.Array) -> jax.Array:
    """One of the set bits of x [width, r] by a random word [r]: equally likely up to count / 2^32. 0 where x is 0."""
    count = _popcount(x).astype(jnp.float32)
    before = np.tri(len(x), k=-1, dtype=np.float32) @ count  # a matmul: ``cumsum`` takes four times as long on CPUs
    total = (before[-1] + count[-1]).astype(jnp.uint32)
    rank = (random % jnp.maximum(total, 1)).astype(jnp.float32)[None] - before
    here = (rank >= 0) & (rank < count)
    word = jnp.where(here, x, jnp.uint32(0)).sum(0, dtype=jnp.uint32)
    rank = jnp.where(here, rank, 0).sum(0).astype(jnp.int32)
    position = jnp.zeros_like(word)
    for half in (16, 8, 4, 2, 1):  # binary search for the set bit that has ``rank`` set bits below it
        low = word & jnp.uint32((1 << half) - 1)
        count = _popcount(low)
        up = rank >= count
        rank -= jnp.where(up, count, 0)
        position += jnp.where(up, jnp.uint32(half), jnp.uint32(0))
        word = jnp.where(up, word >> jnp.uint32(half), low)
    return jnp.where(here, (jnp.uint32(1) << position)[None], jnp.uint32(0))
