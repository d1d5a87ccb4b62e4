"""A service whose columns are of the other class, beside shadows of so few records that they guess new ones, too."""

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from mia_jax import audits
from mia_jax.audits import gate
from mia_jax.targets import black_box, server


@pytest.mark.integration
@pytest.mark.parametrize("exchanged", [True, False])
def test_the_gate_fails_closed_and_the_order_is_named(exchanged, tmp_path, no_pages):
    """The target was right on 6 % of its own members, and there was but a note, of other labels; the gate held."""
    pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")
    rng = np.random.default_rng(0)
    x, y = np.unique(rng.integers(0, 4, (500, 8)), axis=0).astype(np.uint8)[:400], rng.integers(2, size=400)
    x, member = rng.permutation(x), np.arange(400) < 250
    tree = DecisionTreeClassifier(random_state=0).fit(x[member], y[member])

    def ask(asked):
        p = np.clip(tree.predict_proba(np.asarray(asked)), 0.02, 0.98)
        return np.log(p[:, ::-1] if exchanged else p)

    np.savez(tmp_path / "mine.npz", x=x, y=y, member=member)
    with server.serve(black_box.Target(ask, black_box.Answers(2), traced=False), (8,)) as url:
        results = audits.run(
            audits.DeployedConfig(
                target=url + server.paths()["vertex"],
                data=str(tmp_path / "mine.npz"),
                workdir=str(tmp_path / "run"),
                target_kind="sklearn:sklearn.tree.DecisionTreeClassifier",
                num_shadows=4,
                attacks="loss",
            )
        )
    conditions = gate.parse("loss:auc>0.999")
    if not exchanged:
        assert not results.get("doubts")
        gate.enforce(conditions, results)
        return
    [doubt] = results["doubts"]
    assert "fit the service's classes" in doubt and "class 0 is column 1, 1 is column 0" in doubt
    with pytest.raises(gate.GateUndecided):
        gate.enforce(conditions, results)
