"""Recipes at work: step by step as a loop that is written here with optax and linen alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from mia_jax.models import adapters
from mia_jax.training import augmentations, averaging, many, recipes, regularizers, single
from mia_jax.types import InputError, Records, Variables

M, B, EPOCHS, C = 22, 6, 3, 3  # the last batch of an epoch has 4 records
STEPS = 12


class Small(nn.Module):
    """A convolution, a norm over each record or over the batch, a dense layer."""

    batch_norm: bool = False

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), strides=2)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x) if self.batch_norm else nn.LayerNorm()(x)
        return nn.Dense(C)(nn.relu(x).reshape(len(x), -1))


def pool():
    rng = np.random.default_rng(0)
    return Records(rng.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8), rng.integers(0, C, 40).astype(np.int32))


INDEX = np.random.default_rng(1).permutation(40)[:M].astype(np.int32)
SMALL_LIRA = dataclasses.replace(recipes.lira(), batch_size=B, num_epochs=EPOCHS, warmup=0.2, image_augmentation="")


def batches(key, epoch, index):
    """The batches of an epoch, as the trainer draws them, and the keys of their augmentation."""
    key_order, _, key_augment = jax.random.split(jax.random.fold_in(key, epoch), 3)
    order = np.asarray(single.shuffled(key_order, index))
    return [(order[t : t + B], jax.random.fold_in(key_augment, t // B)) for t in range(0, len(index), B)]


def by_hand(module, key, augment, index):
    """LiRA's training, as a loop: each epoch's mean loss over records; parameters and statistics after each step.

    Rate .1 cos(7 pi / 16 p), a warm-up, momentum .9, 5e-4 / 2 * sum(theta^2) over kernels in the loss.
    """
    records = pool()
    key_params, key_epochs = jax.random.split(key)
    variables = module.init(key_params, jnp.zeros((1, 8, 8, 3)), train=False)
    params, stats = variables["params"], variables.get("batch_stats", {})
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0, momentum=0.9)
    opt_state = optimizer.init(params)

    def loss(params, stats, x, y):
        logits, new = module.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
        kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
        data = optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return data + 5e-4 / 2 * sum(jnp.square(leaf).sum() for leaf in kernels), (data, new.get("batch_stats", {}))

    @jax.jit
    def apply(grads, opt_state, params):
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    losses, trail = [], []
    while len(trail) < STEPS:
        total = 0.0
        for rows, key_augment in batches(key_epochs, len(losses), index):
            x = augment(key_augment, jnp.asarray(records.x[rows])).astype(jnp.float32) / 255
            (_, (value, stats)), grads = gradient(params, stats, x, records.y[rows])
            p = len(trail) / STEPS
            opt_state.hyperparams["learning_rate"] = 0.1 * np.cos(7 * np.pi / 16 * p) * min(1, p / 0.2)
            params, opt_state = apply(grads, opt_state, params)
            total += float(value) * len(rows)
            trail.append((params, stats))
        losses.append(total / len(index))
    return losses, trail


def trained(recipe, model, key, index):
    """The trainer's epochs: the state and the mean loss of each."""
    trainer, records = recipes.make_trainer(model, recipe, len(index)), Records(*map(jnp.asarray, pool()))
    state, epoch, losses = trainer.init(key, records.x[:1]), jax.jit(trainer.epoch), []
    for _ in range(recipe.num_epochs):
        state, info = epoch(state, records, index)
        losses.append(float(info.loss))
    return state, losses


def assert_close(actual, expected, rtol=2e-4, atol=2e-5):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol), actual, expected)


@pytest.mark.parametrize(
    ("batch_norm", "num_records", "num_epochs"),
    [pytest.param(False, B, STEPS, marks=pytest.mark.integration), (True, M, EPOCHS)],
)
def test_liras_recipe_is_the_loop_with_optax_and_linen_alone(batch_norm, num_records, num_epochs):
    """Losses (of steps, where one is an epoch) and parameters, with augmented images; what answers is the average."""
    module, key, index = Small(batch_norm), jax.random.key(5), INDEX[:num_records]
    recipe = dataclasses.replace(SMALL_LIRA, num_epochs=num_epochs, image_augmentation="flip,crop(2)", ema=0.9)
    each = augmentations.composed(augmentations.parse("flip,crop(2)"))

    def augment(key, x):  # what is drawn depends on the place in the batch alone, so the padding of ours is not missed
        return each(jax.random.split(key)[0], x)

    augment = jax.jit(augment)
    losses, trail = by_hand(module, key, augment, index)
    state, found = trained(recipe, adapters.from_flax(module, scale=1 / 255), key, index)
    np.testing.assert_allclose(found, losses, rtol=2e-4)
    shares = 0.9 ** np.arange(STEPS)[::-1]
    average = jax.tree.map(lambda *leaves: np.tensordot(shares / shares.sum(), np.stack(leaves), 1), *trail)
    for parameters, (params, stats) in ((state.opt_state.params, trail[-1]), (state.params, average)):
        assert_close(parameters, Variables(params, stats) if batch_norm else params)


# --- optimizers ------------------------------------------------------------------------------------------------------


PARAMS = {"kernel": jnp.asarray([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.asarray([4.0, -1.0])}
GRADS = [jax.tree.map(lambda p, k=k: jnp.cos(p * (k + 1)), PARAMS) for k in range(4)]


def followed(optimizer):
    params, state = PARAMS, optimizer.init(PARAMS)
    for grads in GRADS:
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def kernels(params):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        (dict(), optax.adam(1e-3)),
        (dict(optimizer="sgd", learning_rate=0.1), optax.sgd(0.1)),
        (dict(optimizer="sgd", momentum=0.9, nesterov=True), optax.sgd(1e-3, 0.9, nesterov=True)),
        (
            dict(optimizer="sgd", momentum=0.9, weight_decay=0.1),
            optax.chain(optax.add_decayed_weights(0.1, kernels), optax.sgd(1e-3, 0.9)),
        ),
        (
            dict(optimizer="adam", weight_decay=0.1, decay_biases=True),
            optax.chain(optax.add_decayed_weights(0.1), optax.adam(1e-3)),
        ),
        (dict(optimizer="adamw", weight_decay=0.1), optax.adamw(1e-3, weight_decay=0.1, mask=kernels)),
        (dict(optimizer="adamw"), optax.adam(1e-3)),  # optax's own default decays by 1e-4
        (dict(optimizer="lamb", weight_decay=0.1, decay_biases=True), optax.lamb(1e-3, weight_decay=0.1)),
        (dict(optimizer="rmsprop", momentum=0.5), optax.rmsprop(1e-3, momentum=0.5)),
        (
            dict(optimizer="sgd", grad_clip=0.5, weight_decay=0.1),
            optax.chain(optax.clip_by_global_norm(0.5), optax.add_decayed_weights(0.1, kernels), optax.sgd(1e-3)),
        ),
        (dict(schedule="cosine"), optax.adam(optax.cosine_decay_schedule(1e-3, 4))),
        (dict(optimizer="sgd", learning_rate_decay=0.5), optax.sgd(lambda t: 1e-3 / (1 + 0.5 * t))),
    ],
)
def test_optimizers_are_optaxs(recipe, optimizer):
    found = followed(recipes.make_optimizer(recipes.Recipe(**recipe), steps=4))
    assert_close(found, followed(optimizer), rtol=1e-6, atol=1e-7)


def test_weight_decay_is_torchs_and_half_of_it_is_l2():
    """torch.optim.SGD adds weight_decay * theta to the gradient; ``add_l2`` adds 2 * strength * theta."""
    recipe = recipes.Recipe(optimizer="sgd", learning_rate=0.1, weight_decay=0.2, decay_biases=True)
    l2 = optax.chain(regularizers.add_l2(0.1), optax.sgd(0.1))
    by_hand = PARAMS
    for grads in GRADS:
        by_hand = jax.tree.map(lambda p, g: p - 0.1 * (g + 0.2 * p), by_hand, grads)
    assert_close(followed(recipes.make_optimizer(recipe, 4)), by_hand, rtol=1e-6)
    assert_close(followed(l2), by_hand, rtol=1e-6)


def test_the_average_before_the_first_step_is_the_network():
    optimizer = averaging.follow(optax.sgd(0.1), 0.9)
    trainer = averaging.averaged(single.make_trainer(adapters.from_flax(Small(), scale=1 / 255), optimizer, B))
    records = pool()
    state = trainer.init(jax.random.key(0), records.x[:1])
    nothing, _ = jax.jit(trainer.epoch)(state, Records(*map(jnp.asarray, records)), np.full(M, -1, np.int32))
    assert_close(nothing.params, state.params, rtol=0, atol=0)


def test_schedules_end_with_what_early_stopping_learns_from():
    """A tenth of the records is put aside, and takes no step."""
    assert [regularizers.learned(m) for m in (1, 10, 22, 100)] == [0, 9, 19, 90]
    index = np.arange(22)
    learn, _ = regularizers.held_out_rows(jax.random.key(0), index, 0.1)
    assert (np.asarray(learn) >= 0).sum() == 19
    assert recipes.Recipe(batch_size=5, num_epochs=3).steps(19) == 12


# --- recipes of papers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_trains_and_says_where_it_is_from(name):
    recipe = recipes.named(name)
    recipes.check(recipe)
    assert "20" in recipes.RECIPES[name].__doc__  # a year
    optimizer = recipes.make_optimizer(recipe, recipe.steps(1000))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(followed(optimizer)))


def test_recipes_are_what_their_sources_say():
    lira, fast, theirs = recipes.lira(), recipes.fast(), recipes.revisiting()
    assert recipes.rmia() == lira and lira.steps(25_000) == 100 * 98
    assert (lira.learning_rate, lira.momentum, lira.weight_decay, lira.ema) == (0.1, 0.9, 5e-4, 0.999)
    # airbench94: steps of lr / kilostep_scale on the summed loss, and wd / lr of decay beside that gradient
    kilostep_scale = 1024 * (1 + 1 / (1 - 0.85))
    lr, decay = 11.5 / kilostep_scale, 0.0153 * 1024 / kilostep_scale
    assert fast.learning_rate == pytest.approx(lr * 1024) and fast.weight_decay == pytest.approx(decay / lr / 1024)
    assert (theirs.batch_size, theirs.learning_rate, theirs.schedule) == (128, 0.01, "cosine")
    assert recipes.paper() == recipes.Recipe()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(optimizer="sdg"), "^there is no optimizer 'sdg'; use sgd, adam, adamw, lamb"),
        (dict(optimizer="chain"), "^there is no optimizer 'chain'"),
        (dict(optimizer="lbfgs"), "^there is no optimizer 'lbfgs'"),
        (dict(momentum=0.9), "^`momentum` is for sgd, and the optimizer adam has none"),
        (dict(optimizer="sgd", momentum=1.0), "^`momentum=1` must be at least 0 and below 1"),
        (dict(optimizer="sgd", nesterov=True), "^`nesterov` is a kind of momentum"),
        (dict(learning_rate=-1.0), "^`learning_rate=-1` must be above 0"),
        (dict(weight_decay=-0.1), "^`weight_decay=-0.1` must be at least 0"),
        (dict(grad_clip=float("nan")), "^`grad_clip=nan"),
        (dict(ema=1.0), "^`ema=1` must be at least 0 and below 1"),
        (dict(warmup=2.0), "^warmup: its share of the steps must be from 0 to 1"),
        (dict(schedule="cosin"), "^there is no schedule 'cosin'"),
        (dict(image_augmentation="crops"), "^there is no image augmentation 'crops'"),
        (dict(label_smoothing=2.0), "^label_smoothing=2"),
        (dict(batch_size=0), "^`batch_size=0`"),
    ],
)
def test_what_no_training_can_have_is_refused(values, message):
    with pytest.raises(InputError, match=message) as error:
        recipes.make_optimizer(recipes.Recipe(**values), 10)
    assert "\n" not in str(error.value)


def test_an_unknown_recipe():
    with pytest.raises(InputError, match=r"^there is no recipe 'lyra'; use paper, lira, rmia, fast, revisiting$"):
        recipes.named("lyra")


# --- differentially private ------------------------------------------------------------------------------------------


def test_dp_sgd_augments_each_record_by_itself():
    """Without noise and clipping, and with every record in every step, it is plain training on augmented images."""
    recipe = dataclasses.replace(SMALL_LIRA, batch_size=M, image_augmentation="flip", num_epochs=1, ema=0.0)
    model = adapters.from_flax(Small(), scale=1 / 255)
    trainer = recipes.make_trainer(model, recipe, M, dp_noise_multiplier=0.0, dp_clip=np.inf)
    records, key = Records(*map(jnp.asarray, pool())), jax.random.key(2)
    state = trainer.init(key, records.x[:1])
    _, info = jax.jit(trainer.epoch)(state, records, INDEX)
    key_step = jax.random.fold_in(jax.random.fold_in(state.key, 0), 0)
    x = augmentations.composed([augmentations.flip()])(jax.random.split(key_step, 4)[3], records.x[INDEX])
    assert (x != records.x[INDEX]).any()
    loss = optax.softmax_cross_entropy_with_integer_labels(model.apply(state.params, x), records.y[INDEX]).mean()
    assert float(info.loss) == pytest.approx(float(loss), rel=1e-4)


def test_dp_sgd_refuses_what_mixes_records():
    with pytest.raises(InputError, match=r"^mixup mixes records, so none has a gradient of its own"):
        recipes.make_trainer(
            adapters.from_flax(Small()), SMALL_LIRA, M, mixup=0.2, dp_noise_multiplier=1.0, dp_clip=1.0
        )


def test_a_recipe_trains_many_as_one():
    recipe = dataclasses.replace(recipes.fast(), batch_size=B, num_epochs=EPOCHS, learning_rate=0.1)
    trainer = recipes.make_trainer(adapters.from_flax(Small(True), scale=1 / 255), recipe, M)
    keys, index = jax.random.split(jax.random.key(0), 2), np.stack([INDEX, INDEX[::-1]])
    _, both = many.fit_many(trainer, keys, pool(), index, EPOCHS)
    _, one = many.fit_many(trainer, keys[1:], pool(), index[1:], EPOCHS)
    np.testing.assert_allclose(both.loss[1:], one.loss, rtol=1e-4)
    assert np.isfinite(both.loss).all()
