"""What every registered attack must do: these tests run over ``ATTACKS``."""

import inspect

import attack_worlds as worlds
import jax
import numpy as np
import pytest

from mia_jax import attacks
from mia_jax.attacks import ATTACKS, shokri
from mia_jax.attacks.entries import ANSWERS
from mia_jax.audits import common
from mia_jax.reports import measures
from mia_jax.statistics import metrics
from mia_jax.types import Attack, Field, InputError, Records, Schema

N = 240  # everywhere, for what is compiled is compiled for one shape
WORLD = worlds.gaussian(11, N, 10, shift=3.5)
SHADOWS = worlds.others(WORLD)
NAMES = [*worlds.FROM_ANSWERS, "majority"]
POPULATION = worlds.gaussian(12, N, 10, silent=range(10))


def attack_named(name):
    return ATTACKS[name](4, **({"num_steps": 200} if name == "shokri" else {}))


@pytest.fixture(scope="module", params=NAMES)
def played(request):
    attack = attack_named(request.param)
    return request.param, attack, *worlds.play(attack, WORLD)


def test_the_names_are_those_that_are_documented():
    names = """shokri gap loss confidence entropy modified_entropy calibrated_loss attack_p attack_r lira lira_offline
        lira_fixed lira_offline_fixed rmia rmia_offline base base_offline bavaria bavaria_offline quantile label_only
        boundary trajectory pmia informia informia_offline glira imia cmia imia_adaptive"""
    assert set(ATTACKS) == {*names.split(), "majority"}
    assert all(entry.title and entry.reference for entry in ATTACKS.values())
    assert {name for name, entry in ATTACKS.items() if entry.needed() - ANSWERS} == {
        "quantile",
        "label_only",
        "boundary",
        "trajectory",
        "glira",
        "imia",
        "cmia",
        "imia_adaptive",
    }


# --- what entries declare --------------------------------------------------------------------------------------------

IMAGES = Schema("images", "simulated", "", 4, (8, 8, 1), (Field("pixel", "pixel", 0, 64, 0, 255),))
POOL = Records(np.zeros((9, 8, 8, 1)), np.zeros(9, np.int32))
RUN = {"schema": IMAGES, "population": POOL, "model": None, "retrain": None}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_options_declared_are_the_parameters_of_the_factory(name):
    """So that an attack cannot take what no audit gives it; and a flag's default is the factory's."""
    entry = ATTACKS[name]
    first, *parameters = inspect.signature(entry.factory).parameters.values()
    assert first.name == "num_classes"
    assert {p.name for p in parameters} == {option.name for option in entry.options}
    defaults = {p.name: p.default for p in parameters}
    for option in entry.flags().values():
        assert option.make or defaults[option.name] == option.default
        assert option.help and option.type in (bool, int, float, str)
    assert entry.lacks(()) == [o.source for o in entry.options if defaults[o.name] is inspect.Parameter.empty]


@pytest.mark.parametrize("name", ATTACKS)
def test_building_an_attack_gives_it_every_option_that_it_declares(name):
    entry, given = ATTACKS[name], {}

    def factory(num_classes, **options):
        given.update(options)
        return entry.factory(num_classes, **options)

    settings = {flag: option.default or 1 for flag, option in entry.flags().items()}
    options = entry.arguments(settings, RUN | {"remember": shokri.forget})
    assert options.keys() == {option.name for option in entry.options if option.flag or option.source}
    attack = entry._replace(factory=factory, needs=None)(4, **options)
    assert given == options and attack.needs >= entry.needed()


@pytest.mark.parametrize("name", attacks.with_flag("augment"))
def test_augmented_queries_reach_every_attack_that_takes_them(name):
    plain, augmented = (attacks.build(name, 4, {"augment": pixels}, RUN) for pixels in (0, 1))
    assert plain.read is not None and "queries" not in plain.needs
    assert augmented.read is None and augmented.needs == plain.needs | {"queries"}


def test_every_lira_and_bavaria_takes_augmented_queries():
    assert set(attacks.with_flag("augment")) == {name for name in ATTACKS if name.startswith(("lira", "bavaria"))}


def test_results_of_before_are_shown_under_the_names_that_entries_have():
    names = [name for name in ATTACKS if name in measures.SHORT or not ATTACKS[name].short]  # later ones are told it
    old = {"attacks": {name: {} for name in names}}
    assert {name: common.short(name) for name in names} == {name: measures.short(old, name) for name in names}


def test_an_entry_that_says_other_needs_than_its_attack_is_refused():
    with pytest.raises(InputError, match="its entry says that it needs queries, and the attack in, out: make them one"):
        ATTACKS["lira"]._replace(needs=frozenset({"queries"}))(4)


# --- what attacks do -------------------------------------------------------------------------------------------------


def test_scores_are_finite_numbers_one_for_each_record(played):
    _, attack, _, scores = played
    assert isinstance(attack, Attack) and attack.read is not None
    assert scores.shape == (N,) and np.isfinite(scores).all()
    assert attack.needs <= {"in", "out"}


def test_larger_is_a_member_and_zero_is_the_boundary(played):
    name, _, _, scores = played
    if name == "majority":
        pytest.skip("it says the same of everybody")
    member = WORLD.member[0]
    right = ((scores > 0)[member].mean() + (scores <= 0)[~member].mean()) / 2
    assert right > 0.5 + 3 * 0.5 / np.sqrt(N)  # three standard deviations of a guess
    assert metrics.auc(scores, member).low > 0.5


def test_the_majority_guess_says_the_same_of_everybody():
    assert len(np.unique(worlds.play(ATTACKS["majority"](4), WORLD)[1])) == 1


def test_a_permutation_of_records_permutes_scores(played):
    name, attack, _, scores = played
    order = np.random.default_rng(0).permutation(N)
    if name == "shokri":
        pytest.skip("its networks see the rows in another order")
    moved = worlds.World(WORLD.y[order], WORLD.phi[:, order], WORLD.member[:, order])
    np.testing.assert_allclose(worlds.play(attack, moved)[1], scores[order], rtol=1e-9, atol=1e-12)


def test_scores_of_records_not_seen_in_fit_have_the_state_only(played):
    """Pure functions: scoring twice, and after other scores, gives the same."""
    _, attack, state, scores = played
    attack.score(state, worlds.see(attack, WORLD, 3))
    np.testing.assert_array_equal(attack.score(state, worlds.see(attack, WORLD, 0)), scores)


def test_what_has_one_name_is_one_thing():
    """So that the union of what attacks see can feed each of them."""
    union = {}
    for name in NAMES:
        attack = attack_named(name)
        for leaf, value in worlds.see(attack, WORLD, 0).items():
            np.testing.assert_array_equal(union.setdefault(leaf, value), value, err_msg=f"{name}: {leaf}")
    for name in worlds.LEARNED:
        attack = attack_named(name)
        seen = jax.tree.map(
            lambda *leaves: np.stack(leaves),
            *[{**worlds.see(attack, WORLD, int(k)), "phi2": np.zeros(N)} for k in SHADOWS],
        )
        state = attack.fit(jax.random.key(7), seen, WORLD.member[SHADOWS], None)
        np.testing.assert_array_equal(attack.score(state, union), worlds.play(attack, WORLD)[1])


@pytest.mark.parametrize("name", worlds.LEARNED)
@pytest.mark.parametrize("shadows", [2, 4])
def test_few_shadows_will_do(name, shadows):
    world = worlds.gaussian(2, N, shadows + 2, shift=3.0)
    _, scores = worlds.play(ATTACKS[name](4), world)
    assert np.isfinite(scores).all()
    member = world.member[0]
    right = ((scores > 0)[member].mean() + (scores <= 0)[~member].mean()) / 2
    assert right > (0.5 if shadows == 2 else 0.55) or name == "gap"


@pytest.mark.parametrize(
    "name", [name for name in worlds.LEARNED if "offline" in name or name in ("calibrated_loss", "attack_r", "base")]
)
def test_one_out_model_will_do_offline(name):
    world = worlds.gaussian(2, N, 4, shift=3.0, silent=(2,))
    world.member[2] = False
    _, scores = worlds.play(ATTACKS[name](4), world, shadows=np.array([2]))
    assert np.isfinite(scores).all() and metrics.auc(scores, world.member[0]).low > 0.5


@pytest.mark.parametrize("name", worlds.LEARNED)
def test_records_without_a_side_are_scored_too(name):
    """Membership by independent coins: among five shadows some records have no IN model, some no OUT model."""
    world = worlds.gaussian(4, N, 8, shift=2.5)
    member = np.random.default_rng(0).random((5, N)) < 0.5
    assert (member.all(axis=0)).any() and (~member.any(axis=0)).any()
    phi = world.phi - 2.5 * world.member
    phi[2:7] += 2.5 * member
    world.member[2:7] = member
    world = world._replace(phi=phi)
    world.phi[0] += 2.5 * world.member[0]
    _, scores = worlds.play(ATTACKS[name](4), world, shadows=np.arange(2, 7))
    assert np.isfinite(scores).all() and metrics.auc(scores, world.member[0]).low > 0.5


@pytest.mark.parametrize("name", worlds.LEARNED)
@pytest.mark.parametrize("level", [0.0, 200.0, -200.0])
def test_constant_and_saturated_answers_are_no_trouble(name, level):
    """Every model answers the same, or with probabilities that are 0 and 1 in float32."""
    world = worlds.gaussian(5, N, 8, shift=0.0, spread=0.0, level=level, deviation=lambda rng, n: 0.0)
    _, scores = worlds.play(ATTACKS[name](4), world)
    assert np.isfinite(scores).all() and len(np.unique(scores)) <= 4  # one score, or one for each class


@pytest.mark.parametrize("name", worlds.LEARNED)
def test_infinite_log_probabilities_are_no_trouble(name):
    world = worlds.gaussian(5, N, 8)
    world.phi[:, ::3], world.phi[:, 1::3] = 1e4, -1e4
    log_p = worlds.answers(world.phi, world.y)
    log_p[log_p < -1000] = -np.inf
    attack = ATTACKS[name](4)
    seen = [jax.tree.map(np.asarray, attack.read(p, world.y)) for p in log_p]
    state = attack.fit(jax.random.key(0), jax.tree.map(lambda *v: np.stack(v), *seen[2:]), world.member[2:], None)
    assert np.isfinite(attack.score(state, seen[0])).all()


@pytest.mark.parametrize("name", worlds.LEARNED)
def test_a_population_may_be_given(name):
    """It changes RMIA, InfoRMIA and Attack-P, and no other attack."""
    attack = ATTACKS[name](4)
    population = worlds.see(attack, POPULATION, np.array([0, *SHADOWS]))
    scores, alone = worlds.play(attack, WORLD, population=population)[1], worlds.play(attack, WORLD)[1]
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, alone) == ("rmia" not in name and name != "attack_p")


NEEDS_IN = [name for name in worlds.LEARNED if (a := ATTACKS[name](4)).per_example and "in" in a.needs]


@pytest.mark.parametrize("name", NEEDS_IN)
def test_a_shadow_cannot_do_without_the_sides_that_it_needs(name):
    attack = ATTACKS[name](4)
    with pytest.raises(InputError, match="no shadow model"):
        attack.fit(jax.random.key(0), worlds.see(attack, WORLD, SHADOWS), np.zeros((8, N), bool), None)
