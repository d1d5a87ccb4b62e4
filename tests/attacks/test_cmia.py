"""CMIA: thresholds, anchors and whole cascades against plain loops, null targets, real models."""

import attack_worlds as worlds
import jax
import numpy as np
import pytest
from small_runs import beat_guessing_on_real_location

from mia_jax import audits
from mia_jax.attacks import ATTACKS, bavaria, cmia, lira
from mia_jax.audits.balanced.plan import attack_names
from mia_jax.audits.config import BalancedConfig
from mia_jax.statistics import metrics
from mia_jax.types import InputError

N = 400
SETTINGS = cmia.Settings(2, 8, 3, 0, 0.1, 5, 2, 4)
SMALL = dict(shadows=8, false_negatives=3, share=0.1, least=5, least_members=2)


class Retrained:
    """Further models of a Gaussian world, whose logits are drawn by who trains them."""

    def __init__(self, seed, n=N, shift=3.0, target_shift=3.0, first=8):
        rng = self.rng = np.random.default_rng(seed)
        self.mu, self.shift, self.y = 2.0 * rng.normal(size=n), shift, rng.integers(worlds.CLASSES, size=n)
        self.asked = []
        self.member = rng.permutation(np.arange(n) < n // 2)  # of the target
        self.first = worlds.in_pairs(rng, first, n)
        self.target = self.see(lira.lira(4).observe, self.member[None], shift=target_shift)
        self.target = {name: leaf[0] for name, leaf in self.target.items()}

    def see(self, observe, member, shift=None):
        del observe  # what it would read of the answers
        phi = self.mu + (self.shift if shift is None else shift) * member + self.rng.normal(size=member.shape)
        log_p = worlds.answers(phi, self.y)
        read = [ATTACKS["lira"](4).read(each, self.y) for each in log_p]
        return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *read)

    def __call__(self, key, member, observe):
        self.asked.append((member, self.see(observe, member)))
        return np.arange(len(member)), self.asked[-1][1]

    def scores(self, **options):
        """Of the target."""
        attack = cmia.cmia(4, retrain=self, **{**SMALL, **options})
        state = attack.fit(jax.random.key(3), self.see(attack.observe, self.first), self.first)
        return attack.score(state, self.target)


def lira_by_loop(phi, member, own):
    """log N(own; IN) - log N(own; OUT), with the variance of each side of each record."""
    out = []
    for i in range(phi.shape[1]):
        logs = []
        for side in (member[:, i], ~member[:, i]):
            v = phi[side, i].astype(np.float64)
            logs.append(-0.5 * np.log(v.var()) - (own[i] - v.mean()) ** 2 / (2 * v.var()))
        out.append(logs[0] - logs[1])
    return np.array(out)


def limits_by_loop(score, member, negatives, positives):
    """As the authors find them, from the ends on."""
    low = high = np.nan
    errors = 0
    for s, m in sorted(zip(score, member, strict=True)):
        errors += m
        if errors > negatives:
            break
        low = s
    errors = 0
    for s, m in sorted(zip(score, member, strict=True), reverse=True):
        errors += not m
        if errors > positives:
            break
        high = s
    return low, high


@pytest.mark.parametrize(("negatives", "positives"), [(0, 0), (10, 0), (3, 2)])
def test_thresholds_are_as_far_in_as_the_errors_allow(negatives, positives):
    settings = SETTINGS._replace(false_negatives=negatives, false_positives=positives)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        member = rng.random(60) < 0.5
        score = rng.normal(size=60) + member
        expected = limits_by_loop(score, member, negatives, positives)
        np.testing.assert_array_equal(cmia.thresholds(score, member, settings), expected)


def test_non_members_come_first_and_members_where_there_are_too_few_of_them():
    score, anchor = np.arange(40.0), np.full(40, -1)
    anchor[:4] = [0, 1, 0, 1]  # are so already: 36 are left, and three are a tenth of them, rounded down
    settings = SETTINGS._replace(least=3)
    assert cmia.anchors(score, anchor, 20.0, 35.0, settings) == {4: 0, 5: 0, 6: 0}
    assert cmia.anchors(score, anchor, 5.0, 35.0, settings) == dict.fromkeys(range(35, 40), 1)  # as many as there are
    assert cmia.anchors(score, anchor, np.nan, 38.0, settings) == {38: 1, 39: 1}
    assert cmia.anchors(score, anchor, np.nan, 39.0, settings) == {}
    assert cmia.anchors(score, anchor, 5.0, np.nan, settings) == {}


def test_a_rounds_shadows_train_on_halves_of_what_is_not_decided():
    anchor = np.full(51, -1)
    anchor[[3, 4]], anchor[[5, 6, 7, 8]] = 1, 0
    member = cmia.draw(jax.random.key(0), anchor, 7)
    assert member[:, [3, 4]].all() and not member[:, 5:9].any()
    free = anchor < 0
    assert (member[:, free].sum(axis=1) == 22).all()  # of 45
    for k in range(0, 6, 2):
        assert not (member[k] & member[k + 1])[free].any()
    assert (member[0] != member[2]).any()


@pytest.mark.parametrize("rounds", [2, 3])
def test_the_last_score_is_liras_with_the_shadows_of_all_rounds(rounds):
    """The whole cascade by a loop: who plays, thresholds, anchors, further shadows, the score up to its boundary."""
    world = Retrained(0)
    found = world.scores(rounds=rounds)
    again = Retrained(0)
    phi, member = again.see(None, again.first)["phi"], again.first
    own, anchor, first = np.asarray(again.target["phi"], np.float64), np.full(N, -1), 0
    for number in range(rounds - 1):
        limits, free = [], np.flatnonzero(anchor < 0)
        for k in range(first, first + 4):
            left = [j for j in range(len(phi)) if j not in (k, k ^ 1)]
            score = lira_by_loop(phi[left], member[left], phi[k])
            limits.append(limits_by_loop(score[free], member[k][free], 3, 0)[0])
        score = lira_by_loop(phi, member, own)
        lowest = sorted(free, key=lambda i: score[i])[: len(free) // 10]
        sure = [i for i in lowest if score[i] <= np.mean(limits)]
        assert len(sure) >= 5
        anchor[sure] = 0
        more, seen = world.asked[number]
        assert not more[:, anchor == 0].any() and (more[:, anchor < 0].mean(axis=1) > 0.49).all()
        first, phi, member = len(phi), np.concatenate([phi, seen["phi"]]), np.concatenate([member, more])
    assert len(world.asked) == rounds - 1
    expected = lira_by_loop(phi, member, own)
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-6, atol=1e-6)
    assert metrics.balanced_accuracy(metrics.call(found, world.member)).value > 0.8  # 0 is a boundary


def test_members_are_anchors_where_nobody_is_surely_none():
    world = Retrained(1, shift=6.0, target_shift=6.0)
    world.scores(base="lira_fixed", least=N)  # non-members never suffice
    [(member, _)] = world.asked
    anchors = member.all(axis=0)
    assert anchors.sum() >= 2 and world.member[anchors].mean() > 0.9 and (~member).all(axis=0).sum() <= 1


@pytest.mark.parametrize("given", [dict(rounds=1), dict(false_negatives=0, least=N, least_members=N)])
@pytest.mark.parametrize("base", cmia.BASES)
def test_without_a_further_round_it_is_its_base(base, given):
    world = Retrained(2)
    found = world.scores(base=base, **given)
    other = Retrained(2)
    plain = {"lira": lira.lira, "lira_fixed": lira.lira_fixed, "bavaria": bavaria.bavaria}[base](4)
    state = plain.fit(jax.random.key(3), other.see(plain.observe, other.first), other.first)
    np.testing.assert_array_equal(found, plain.score(state, other.target))
    assert world.asked == []


def test_two_shadows_cannot_play_and_end_the_cascade():
    world = Retrained(3, first=2)
    assert np.isfinite(world.scores()).all() and world.asked == []


def test_another_base_is_refused():
    with pytest.raises(InputError, match='base is one of lira, lira_fixed, bavaria, not "rmia"'):
        cmia.cmia(4, retrain=Retrained(0), base="rmia")


@pytest.mark.slow
@pytest.mark.parametrize("first", [4, 16, 64])
def test_of_a_target_that_remembers_nothing_it_finds_nothing(first):
    """.5 lies in the AUC's interval in 88 of 100 seeds at least, though anchors were drawn from its own scores."""
    inside, cascades = 0, 0
    for seed in range(100):
        world = Retrained(seed, target_shift=0.0, first=first)
        area = metrics.auc(world.scores(rounds=3), world.member)
        inside += area.low <= 0.5 <= area.high
        cascades += bool(world.asked)
    print(f"\n{first} shadows: .5 in the interval in {inside} of 100, {cascades} of which trained further shadows")
    assert inside >= 88 and cascades >= 90


# --- in an audit -----------------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_an_audit_trains_a_cascade_and_finds_it_again(tmp_path, no_pages):
    """The shadows of a round are models of the workdir; a second run trains none, with the same scores."""
    told: list[str] = []
    small = dict(num_models=6, num_targets=1, num_epochs=10, num_records=800, population=0, hidden=32)
    config = BalancedConfig(
        dataset="location",
        data_source="simulated",
        attacks="lira,cmia",
        workdir=str(tmp_path),
        cascade_shadows=2,
        cascade_false_negatives=100,
        **small,
    )
    found = audits.run(config, notify=told.append)
    trained = [line for line in told if line.startswith("An attack trains 2 models of its own, on 380 records")]
    models = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert len(trained) == 1 and len(models) == 6 + 2
    for path in (tmp_path / "scores").iterdir():
        path.unlink()
    again = audits.run(config)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == models
    assert again["attacks"]["cmia"]["auc"] == found["attacks"]["cmia"]["auc"]
    assert "by_shadows" in found["attacks"]["lira"] and "by_shadows" not in found["attacks"]["cmia"]


def test_all_attacks_are_all_but_those_that_train_as_many_models_as_an_audit():
    assert "cmia" not in attack_names(BalancedConfig(attacks="all"))
    assert attack_names(BalancedConfig(attacks="all,cmia"))[-1] == "cmia"


@pytest.mark.data
@pytest.mark.integration
def test_it_beats_guessing_on_the_real_location(data_dir, tmp_path):
    beat = beat_guessing_on_real_location(["cmia"], data_dir, tmp_path, cascade_shadows=2, num_epochs=20)
    assert beat == {"cmia": True}
