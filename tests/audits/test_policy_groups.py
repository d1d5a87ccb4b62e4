"""Limits of a policy on groups of records."""

import pytest

from mia_jax.audits import gate, policy_verdict
from mia_jax.audits.policy import Limit


def _groups(**values):
    groups = [
        {"group": name, "members": 100, "non_members": 100, "auc": {"value": v, "low": v - 0.05, "high": v + 0.05}}
        for name, v in values.items()
        if v is not None
    ]
    small = [
        {"group": name, "members": 3, "non_members": 3, "reason": "too small"}
        for name, v in values.items()
        if v is None
    ]
    return {"subgroups": [{"by": "town", "attack": "lira", "rate": 0.01, "groups": [*groups, *small]}], "attacks": {}}


@pytest.mark.parametrize(
    ("condition", "groups", "status", "said"),
    [
        ("auc>0.6", dict(Ulm=0.7, Bonn=0.5), "not met", "town Ulm"),
        ("auc>0.8", dict(Ulm=0.7, Bonn=0.5), "met", "town Ulm"),
        ("auc>0.8", dict(Ulm=0.7, Bonn=None), "undecided", "too small"),
        ("tpr@0.01>0.2", dict(Ulm=0.7), "undecided", "no such measure"),
    ],
)
def test_a_limit_holds_in_every_group(condition, groups, status, said):
    limit = Limit("limits.subgroups", 0.6, gate.parse(condition)[0])
    rule = policy_verdict._in_subgroups(limit, _groups(**groups))
    assert rule["status"] == status and said in rule["found"]


def test_without_groups_nothing_is_decided():
    rule = policy_verdict._in_subgroups(Limit("limits.subgroups", 0.6, gate.parse("auc>0.6")[0]), {"attacks": {}})
    assert rule["status"] == "undecided"
