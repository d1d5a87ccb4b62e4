"""A list of members by who knows none of them: what it is made of, its level in simulated audits, what is refused."""

import attack_worlds as worlds
import jax
import numpy as np
import optax
import pytest
from scipy import stats

import mia_jax as mia
from mia_jax.statistics import false_discoveries
from mia_jax.types import InputError


def world(rng, n=400, models=17, shift=4.0, exposed=0.3, between=0.0, surer=0.0):
    """Answers of models [K, n, c] that remember some of their records; models differ as wholes by ``between``."""
    member = rng.random((models, n)) < 0.5
    phi = 2 * rng.normal(size=n) + shift * member * (rng.random(n) < exposed) + rng.normal(size=(models, n))
    phi = phi + between * rng.normal(size=(models, 1)) + surer * (np.arange(models) == 0)[:, None]
    y = rng.permutation(np.arange(n) % worlds.CLASSES)
    return y, np.exp(worlds.answers(phi, y)), member


def listed(y, p, member, attack="lira_offline_fixed", **more):
    given = dict(labels=y, target=p[0], shadows=p[1:], shadow_member=member[1:])
    return mia.discoveries(attack, **given, **more)


def offline(phi, member, own):
    """Offline LiRA with a pooled variance, by a loop: [n]; its boundary plays no part."""
    out = [phi[~member[:, i], i] for i in range(phi.shape[1])]
    deviation = np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in out) / sum(len(v) - 1 for v in out))
    return np.array([-np.log(-stats.norm.logcdf(x, v.mean(), deviation)) for x, v in zip(own, out, strict=True)])


def test_p_values_are_shares_of_what_shadows_score_on_records_that_they_did_not_train_on():
    y, p, member = world(np.random.default_rng(0), n=200, models=25)
    found, known = listed(y, p, member), []
    own = p[:, np.arange(200), y]
    phi = np.log(own) - np.log1p(-own)
    for k in range(1, 25):  # each shadow as the target
        others = [j for j in range(1, 25) if j != k]
        known += [*offline(phi[others], member[others], phi[k])[~member[k]]]
    score = offline(phi[1:], member[1:], phi[0])
    expected = [(1 + sum(c >= s for c in known)) / (len(known) + 1) for s in score]
    assert found.calibration == len(known)
    np.testing.assert_allclose(found.p, expected, atol=2 / len(known))  # float32 answers: a neighbor may change sides
    np.testing.assert_array_equal(found.listed, false_discoveries.discoveries(found.p, 0.1))
    assert "records may be told as members: in expectation 10% of a list are none" in str(found)


def test_a_lower_rate_makes_a_shorter_list():
    y, p, member = world(np.random.default_rng(1), shift=8.0)
    many, few = (listed(y, p, member, rate=rate) for rate in (0.2, 0.01))
    assert many.listed.sum() > few.listed.sum() > 0 and not (few.listed & ~many.listed).any()
    assert many.listed[member[0]].mean() > 3 * many.listed[~member[0]].mean()


def test_what_cannot_make_a_list_is_refused():
    y, p, member = world(np.random.default_rng(2), n=40, models=3)
    with pytest.raises(InputError, match=r"between 0 and 1; it is 10"):
        listed(y, p, member, rate=10)
    with pytest.raises(InputError, match="no shadow model can play the target"):
        listed(y, p[:2], member[:2])
    few = slice(0, 12)
    with pytest.raises(InputError, match=r"have \d+ scores on records that they did not train on; needed are 20"):
        listed(y[few], p[:, few], member[:, few], attack="loss")


@pytest.mark.slow
@pytest.mark.parametrize("attack", ["lira_offline_fixed", "lira_offline", "lira", "loss"])
@pytest.mark.parametrize(
    ("n", "shift", "between"), [(200, 0.0, 0.0), (200, 4.0, 0.0), (200, 4.0, 0.3), (200, 0.0, 0.3)]
)
def test_lists_hold_their_level_in_simulated_audits(attack, n, shift, between):
    """The mean share of non-members on the list, of 250 audits in each world."""
    rng, rates, lengths = np.random.default_rng(4), [], []
    for _ in range(250):
        y, p, member = world(rng, n=n, shift=shift, between=between)
        found = listed(y, p, member, attack=attack)
        rates.append((found.listed & ~member[0]).sum() / max(1, found.listed.sum()))
        lengths.append(found.listed.sum())
    mean, error = np.mean(rates), np.std(rates) / np.sqrt(len(rates))
    print(f"\n{attack}, {n}, {shift}, {between}: {mean:.4f} +- {error:.4f}, {np.mean(lengths):.1f} on the list")
    assert mean <= 0.1 + 2 * error


@pytest.mark.slow
def test_the_level_is_lost_where_a_target_is_surer_than_its_shadows():
    """What the docstring says must hold, and nothing notices: answers of all records higher by a standard deviation."""
    rng, rates = np.random.default_rng(5), []
    for _ in range(100):
        y, p, member = world(rng, n=200, surer=1.0)
        found = listed(y, p, member)
        rates.append((found.listed & ~member[0]).sum() / max(1, found.listed.sum()))
    print(f"\na target that is surer of everything: {np.mean(rates):.4f}")
    assert np.mean(rates) > 0.1


@pytest.mark.data
@pytest.mark.slow
def test_lists_on_the_real_location(data_dir):
    """26 networks on halves of 2,000 records; eight in turn the target, the others but its partner its shadows."""
    records, _ = mia.load("location", data_dir=data_dir, source="official")
    some = np.random.default_rng(0).permutation(len(records.y))[:2000]
    asked = mia.Records(np.asarray(records.x)[some], np.asarray(records.y)[some])
    plan = mia.plans.balanced(jax.random.key(0), 2000, num_models=26)
    member, model = mia.plans.membership_matrix(plan, 2000), mia.models.mlp(num_classes=30)
    trainer = mia.make_trainer(model, optax.adam(1e-3), batch_size=100)
    params, _ = mia.fit_many(trainer, jax.random.split(jax.random.key(1), 26), asked, plan.train, num_epochs=100)
    p = np.exp(jax.jit(jax.vmap(lambda one: mia.as_target(model, one, 30).ask(asked.x)))(params))
    for attack in ("lira_offline_fixed", "lira_fixed", "loss"):
        wrong, found = [], []
        for t in range(0, 16, 2):
            shadows = np.delete(np.arange(26), [t, t + 1])
            given = dict(labels=asked.y, target=p[t], shadows=p[shadows], shadow_member=member[shadows])
            listed = mia.discoveries(attack, **given).listed
            wrong.append((listed & ~member[t]).sum() / max(1, listed.sum()))
            found.append(listed[member[t]].mean())
        print(f"\n{attack}: of the list are no members {np.mean(wrong):.4f} ({np.max(wrong):.4f} at most);", end=" ")
        print(f"{np.mean(found):.3f} of the members are on it")
        assert np.mean(wrong) <= 0.1 and (attack == "loss" or np.mean(found) > 0.3)
