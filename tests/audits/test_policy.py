"""A policy: read with its lines, refused before any work, decided as a gate decides, closed where nothing is known."""

import pathlib

import numpy as np
import pytest

import mia_jax
from mia_jax.attacks import ATTACKS
from mia_jax.audits import gate, policy, policy_verdict
from mia_jax.reports import terminal
from mia_jax.reports.blocks import Report
from mia_jax.reports.sections import policy as section
from mia_jax.statistics import metrics
from mia_jax.types import InputError

EXAMPLE = pathlib.Path(mia_jax.__file__).parents[1] / "docs" / "policy.toml"
NAMES = ("lira", "rmia", "loss")


def block(lean, n=4000, seed=0):
    """An attack's block as ``metrics.evaluate`` makes it, of simulated scores."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    score = rng.normal(size=n) + lean * (member - 0.5)
    return metrics.evaluate(score, member, np.zeros(n, int), 1) | {"epsilon": {"low": lean, "provable": 6.0}}


def results(plan="balanced", shadows=16, **leans):
    """Results of attacks that tell members by so many standard deviations."""
    blocks = {name: block(lean, seed=k) for k, (name, lean) in enumerate(leans.items())}
    return {"plan": plan, "attacks": blocks, "shadows": {"count": shadows}}


def read(folder, text, attacks=NAMES):
    (folder / "p.toml").write_text(text, encoding="utf-8")
    return policy.read(folder / "p.toml", attacks=attacks)


def judged(folder, text, found):
    return policy_verdict.judge(read(folder, text), found)


def statuses(folder, text, found):
    return {rule["rule"]: rule["status"] for rule in judged(folder, text, found)["rules"]}


# --- read ------------------------------------------------------------------------------------------------------------

REFUSED = [
    ("", "asks for nothing"),
    ("[required]\nblind_baseline = false\nattacks = []", "asks for nothing"),
    ("[limits]\nauc = 1.2", r"line 2: limits.auc = 1.2 is impossible: auc is a number from 0 to 1; 1.2 % is 0.012"),
    ("[limits]\nauc = 1", "line 2: limits.auc = 1 limits nothing"),
    ("[limits]\n\nauc = 0.4", "line 3: limits.auc = 0.4 cannot be kept: guessing gives 0.5"),
    ('[limits]\n"tpr@0.01" = 0.001', r'line 2: limits."tpr@0.01" = 0.001 cannot be kept: guessing gives 0.01'),
    ("[limits]\nepsilon = -1", "limits.epsilon = -1 is impossible: epsilon is a number from 0 up"),
    ("[limits]\nauc = nan", "limits.auc = nan is impossible"),
    ("[limits]\nauc = true", "limits.auc = True must be a number"),
    ('[limits]\nauc = "0.6"', "limits.auc = '0.6' must be a number"),
    ("[limits]\nauk = 0.6", "line 2: limits.auk is no measure: .* there are auc, "),
    ('[limits]\n"zip:auc" = 0.6', r'limits."zip:auc" is no measure: .* asks about zip'),
    ('[limits]\n"auc>0.5,recall" = 0.6', "is no measure"),
    ("[limits]\ntpr.0.01 = 0.05", 'line 2: limits.tpr is a table: .*"tpr@0.01" = 0.05'),
    ("[limits]\ntpr@0.01 = 0.05", 'is no TOML: .*line 2.*in quotes, as in "tpr@0.01"'),
    ('[limits]\nend = "up"\nauc = 0.6', "line 2: limits.end = 'up' is not one of high, value, low"),
    ("[limits]\nconfidence = 0.9\nauc = 0.6", "line 2: limits.confidence is 0.95"),
    ("[limits]\nsubgroups = 0.5", "limits.subgroups = 0.5 must be a table"),
    ("[limits.subgroups]\nauc = 2", "line 2: limits.subgroups.auc = 2 is impossible"),
    ("[limits.subgroups]\nrecall = 0.6", "limits.subgroups.recall is not known of groups"),
    ('[limits.subgroups]\n"lira:auc" = 0.6', "is not known of groups of records: they have auc and tpr@"),
    ("[limits]\nauc = 0.6\nauc = 0.7", "is no TOML: Cannot overwrite a value"),
    ("limit = 1", "line 1: limit is not known; did you mean limits?"),
    ("required = 1", "line 1: required = 1 must be a table"),
    ("[required]\nauc = 0.6", "line 2: required.auc is not known"),
    ("[required]\nmember = 3", "line 2: required.member is not known; did you mean members?"),
    ("members = 3", r"line 1: members is not known; it belongs under \[required\]"),
    ("[required]\nmembers = 0", "line 2: required.members = 0 must be at least 1"),
    ("[required]\nmembers = 3.5", "required.members = 3.5 must be a whole number"),
    ("[required]\nmembers = true", "required.members = True must be a whole number"),
    ('[required]\nattacks = "lira"', "required.attacks = 'lira' must be a list of names"),
    ('[required]\nattacks = ["lira", 3]', "required.attacks has 3, which is no name"),
    ('[required]\nattacks = ["liar"]', "line 2: required.attacks has liar, and the attacks of this audit are lira"),
    ("[required]\nblind_baseline = 1", "required.blind_baseline = 1 must be true or false"),
    ('title = """\n[limits]\nauc = 3\n"""\n[limits]\nauc = 3', "line 6: limits.auc = 3"),
    ("title = '''\nauc = 1'''\nlimits = { auc = 3 }", "line 3: limits.auc = 3"),
]


@pytest.mark.parametrize(("text", "line"), REFUSED)
def test_what_cannot_be_asked_for_is_one_line_with_the_key(tmp_path, text, line):
    with pytest.raises(InputError, match=line) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value) and "p.toml" in str(error.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"#" * (policy.LARGEST + 1)])
def test_what_is_no_policy_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "p.toml").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.toml") as error:
        policy.read(tmp_path / "p.toml")
    assert "\n" not in str(error.value)


def test_the_documented_example_is_read():
    found = policy.read(EXAMPLE, attacks=ATTACKS)
    assert found.required["attacks"] == ["lira", "rmia"] and found.end == "high"
    assert [limit.rule for limit in found.limits] == [
        "limits.auc",
        'limits."tpr@0.01"',
        'limits."lira:balanced_accuracy"',
        "limits.epsilon",
    ]
    keys = {f"{table}.{key}" for table, keys in policy.TABLES.items() if table for key in keys}
    page = EXAMPLE.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"`{key}" in page for key in keys)


# --- judged ----------------------------------------------------------------------------------------------------------

LIMITS = '[limits]\nend = "{}"\nauc = {}'


@pytest.mark.parametrize("lean", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("end", ["low", "value", "high"])
def test_a_limit_is_decided_as_the_same_condition_of_a_gate(tmp_path, end, lean):
    found = results(lira=lean, loss=0.05)
    at = "auc" if end == "value" else f"auc.{end}"
    exceeded = any(verdict.exceeded for verdict in gate.judge(gate.parse(f"{at}>0.55"), found))
    status = statuses(tmp_path, LIMITS.format(end, 0.55), found)["limits.auc"]
    assert status == ("not met" if exceeded else "met")


def test_the_ends_of_an_interval_decide_otherwise(tmp_path):
    found = results(lira=0.12)
    auc = found["attacks"]["lira"]["auc"]
    between = (auc["value"] + auc["high"]) / 2
    assert auc["low"] < auc["value"] < between < auc["high"]
    decided = {end: statuses(tmp_path, LIMITS.format(end, between), found)["limits.auc"] for end in policy.ENDS}
    assert decided == {"high": "not met", "value": "met", "low": "met"}


def test_the_strongest_attack_decides_and_one_that_is_named_decides_alone(tmp_path):
    found = results(lira=1.0, loss=0.0)
    text = '[limits]\nauc = 0.6\n"loss:auc" = 0.6\nepsilon = 0.5'
    block = judged(tmp_path, text, found)
    assert [rule["status"] for rule in block["rules"]] == ["not met", "met", "not met"] and block["status"] == "not met"
    assert block["rules"][0]["attack"] == "lira" and block["rules"][0]["value"] > 0.7
    assert block["rules"][0]["limit"] == 0.6 and "loss" not in block["rules"][0]["found"]


def test_what_is_required_and_missing_leaves_it_undecided(tmp_path):
    text = '[required]\nattacks = ["rmia", "lira"]\nmembers = 2001\nnon_members = 2000\nshadows = 17\n'
    found = results(lira=0.0)
    block = judged(tmp_path, text, found)
    decided = {rule["rule"].removeprefix("required."): rule["status"] for rule in block["rules"]}
    assert decided == {"attacks": "undecided", "members": "undecided", "non_members": "met", "shadows": "undecided"}
    assert block["status"] == "undecided" and "rmia: it did not run" in block["rules"][0]["found"]
    more = judged(tmp_path, text + "[limits]\nauc = 0.5", found)
    assert more["status"] == "not met"  # what is known to be exceeded outweighs what cannot be told


def test_counts_are_of_each_target(tmp_path):
    found = results(lira=0.0)
    found["attacks"]["lira"]["targets"] = 4
    assert statuses(tmp_path, "[required]\nmembers = 500", found) == {"required.members": "met"}
    assert statuses(tmp_path, "[required]\nmembers = 501", found) == {"required.members": "undecided"}


def test_doubted_results_and_silent_measures_decide_nothing(tmp_path):
    doubted = results(lira=1.0) | {"doubts": ["labels are shifted"]}
    assert judged(tmp_path, "[limits]\nauc = 0.6", doubted)["status"] == "undecided"
    few = results() | {"attacks": {"lira": block(1.0, n=200)}}
    silent = judged(tmp_path, '[limits]\n"tpr@0.001" = 0.6', few)
    assert silent["status"] == "undecided" and "not resolvable" in silent["rules"][0]["found"]
    unknown = results() | {"attacks": {"lira": {"reason": "the data do not say who is a member"}}}
    asked = '[required]\nattacks = ["lira"]\nmembers = 1'
    assert set(statuses(tmp_path, asked, unknown).values()) == {"undecided"}


AUC = {"value": 0.7, "low": 0.65, "high": 0.75}
CHANCE = {"value": 0.5, "low": 0.45, "high": 0.55}
BLIND = [
    ("balanced", None, "met", "drawn at random"),
    ("deployed", None, "undecided", "no blind baseline"),
    ("deployed", {"auc": {"value": None, "reason": "too few"}, "told": None}, "undecided", "too few"),
    ("deployed", {"auc": AUC, "told": True}, "undecided", "confounded"),
    ("deployed", {"auc": CHANCE, "told": False}, "met", "no more than chance"),
]


@pytest.mark.parametrize(("plan", "blind", "status", "found"), BLIND)
def test_a_blind_baseline_is_required(tmp_path, plan, blind, status, found):
    given = results(plan, lira=0.0) | ({"blind": blind} if blind else {})
    (rule,) = judged(tmp_path, "[required]\nblind_baseline = true", given)["rules"]
    assert rule["status"] == status and found in rule["found"]


CONTROL = [
    ("balanced", None, "met", "drawn at random"),
    ("deployed", None, "undecided", "no negative control"),
    ("deployed", {"value": None, "reason": "too few"}, "undecided", "no negative control"),
    ("deployed", AUC, "undecided", "lira tell them of models that never saw them"),
    ("deployed", CHANCE, "met", "0.500 (lira)"),
]


@pytest.mark.parametrize(("plan", "control", "status", "found"), CONTROL)
def test_a_negative_control_is_required(tmp_path, plan, control, status, found):
    given = results(plan, lira=0.0, loss=0.0)
    given["attacks"]["lira"] |= {"negative_control": control} if control else {}
    (rule,) = judged(tmp_path, "[required]\nnegative_control = true", given)["rules"]
    assert rule["status"] == status and found in rule["found"]


def test_the_worst_group_of_records_decides_and_one_that_is_too_small_leaves_it_open(tmp_path):
    text = '[limits.subgroups]\nauc = 0.65\n"tpr@0.1" = 0.4'

    def decided(*groups):
        found = results(lira=0.0) | {"subgroups": [{"by": "class", "groups": [*groups]}]}
        return judged(tmp_path, text, found)["rules"]

    calm, worst = ({"group": name, **block(lean, seed=9)} for name, lean in (("0", 0.1), ("1", 1.0)))
    small = {"group": "2", "members": 3, "non_members": 4, "reason": "fewer than 20 members"}
    assert [rule["status"] for rule in decided(calm)] == ["met", "met"]
    assert [rule["status"] for rule in decided(calm, worst, small)] == ["not met", "not met"]
    assert decided(calm, worst)[0]["found"].startswith("class 1 0.7")
    auc, tpr = decided(calm, small)
    assert auc["status"] == tpr["status"] == "undecided" and auc["found"] == "class 2: fewer than 20 members"
    assert statuses(tmp_path, text, results(lira=0.0)) == {
        "limits.subgroups.auc": "undecided",
        'limits.subgroups."tpr@0.1"': "undecided",
    }


def interval(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def of_towns(**auc):
    """Results with groups by town that have these AUCs; None: a group that is too small."""
    count = {"members": 100, "non_members": 100}
    groups = [
        {"group": name, **count, **({"reason": "too small"} if v is None else {"auc": interval(v)})}
        for name, v in auc.items()
    ]
    return results(lira=0.0) | {"subgroups": [{"by": "town", "attack": "lira", "rate": 0.01, "groups": groups}]}


@pytest.mark.parametrize(
    ("limit", "groups", "status", "said"),
    [
        ("auc = 0.6", dict(Ulm=0.7, Bonn=0.5), "not met", "town Ulm"),
        ("auc = 0.8", dict(Ulm=0.7, Bonn=0.5), "met", "town Ulm"),
        ("auc = 0.8", dict(Ulm=0.7, Bonn=None), "undecided", "too small"),
        ('"tpr@0.01" = 0.2', dict(Ulm=0.7), "undecided", "no such measure"),
    ],
)
def test_a_limit_holds_in_every_group(tmp_path, limit, groups, status, said):
    [rule] = judged(tmp_path, f"[limits.subgroups]\n{limit}", of_towns(**groups))["rules"]
    assert rule["status"] == status and said in rule["found"]


def test_enforced_it_ends_with_3_or_6_and_names_what_is_against_it(tmp_path):
    found = results(lira=0.3)
    policy_verdict.enforce(found | {"policy": judged(tmp_path, "[limits]\nauc = 0.9", found)})
    exceeded = found | {"policy": judged(tmp_path, "[limits]\nauc = 0.55\nrecall = 0.99", found)}
    with pytest.raises(gate.GateExceeded, match=r"p.toml is not met; limits.auc: lira 0\.") as error:
        policy_verdict.enforce(exceeded)
    assert error.value.exit_code == 3 and "recall" not in str(error.value)
    open_ = found | {"policy": judged(tmp_path, "[required]\nshadows = 99", found)}
    with pytest.raises(gate.GateUndecided, match=r"cannot be decided; required.shadows: there were 16") as error:
        policy_verdict.enforce(open_)
    assert error.value.exit_code == 6


def test_several_checks_are_told_at_once():
    def fails(kind, line):
        def check():
            raise kind(line)

        return check

    assert gate.every([("a", lambda: 1), ("", lambda: 2)]) == [1, 2]
    both = [("", fails(gate.GateUndecided, "one")), ("b", fails(gate.GateExceeded, "two"))]
    with pytest.raises(gate.GateExceeded, match=r"^one; b: two$") as error:
        gate.every(both)
    assert error.value.exit_code == 3
    with pytest.raises(gate.GateUndecided):
        gate.every(both[:1])


def test_the_section_and_the_terminal_say_each_rule(tmp_path):
    text = 'title = "<b>ours</b>"\n[required]\nshadows = 99\n[limits]\nauc = 0.55\nrecall = 0.99'
    found = results(lira=0.3)
    found["policy"] = judged(tmp_path, text, found)
    words, table = section.SECTION.blocks(Report(found, {}, "", ()))
    assert [row.cells[0].text for row in table.rows] == ["not met", "undecided", "met"]
    assert found["policy"]["sha256"] in words.texts[-1] and "<b>ours</b> (p.toml)" in words.texts[0]
    assert not section.SECTION.shows(results(lira=0.3), {})
    shown = terminal._plain(terminal.Group(*terminal._policy_parts(found)), 100)
    assert "Policy p.toml: not met (rules: 1 met, 1 not met, 1 undecided)" in shown
    assert "recall" not in shown and "there were 16" in shown
