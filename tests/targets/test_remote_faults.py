"""Every request of a question, and of a whole audit, fails once in every way, and is resumed to the same bytes."""

import json
import urllib.parse

import numpy as np
import pytest
import services
from services import reply

from mia_jax import audits
from mia_jax.audits.config import DeployedConfig
from mia_jax.targets import black_box, remote
from mia_jax.targets.remote import Options, connect
from mia_jax.types import MiaError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")

N, F, C = 60, 10, 3
ONCE = Options(rows_per_request=16, in_flight=1, timeout=5.0, backoff=0.001, retries=0, repeat=False)
X = np.random.default_rng(0).permutation(2**F)[:N, None] >> np.arange(F) & 1
WEIGHTS = np.random.default_rng(1).normal(size=(F, C))


def predictions(good):
    return json.loads(good.partition(b"\r\n\r\n")[2])["predictions"]


FAULTS = {
    "reset": lambda good: None,
    "closed": lambda good: b"",
    "500": lambda good: reply(b"oh", "500 Oh"),
    "429": lambda good: reply(b"slow down", "429 No", retry_after="0.01"),
    "truncated": lambda good: iter([good[: len(good) - 20]]),
    "cut JSON": lambda good: reply(good.partition(b"\r\n\r\n")[2][:-9]),
    "wrong JSON": lambda good: reply({"error": "overloaded"}),
    "one answer too few": lambda good: reply({"predictions": predictions(good)[1:]}),
    "refused": lambda good: reply({"error": "no"}, "403 No"),
}


class Service:
    """Fails at one request, in one way; knows what it was asked and what it answered."""

    def __init__(self, at=0, fault=None):
        self.at, self.fault, self.number, self.asked = at, fault, 0, 0

    def __call__(self, body, number):
        del number
        self.number += 1
        x = np.array(json.loads(body)["instances"], float)
        self.asked += len(x)
        p = np.exp(x @ WEIGHTS)
        good = reply({"predictions": (p / p.sum(axis=1, keepdims=True)).tolist()})
        return FAULTS[self.fault](good) if self.number == self.at else good


def asked(url, cache, budget):
    return connect(url, X, cache=cache, recheck=0, budget=budget, options=ONCE).ask(X)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_request_of_a_question_fails_once(tmp_path, fault):
    with services.raw(Service()) as url:
        whole = asked(url, tmp_path / "whole", None)
    for at in range(1, 5):
        service, budget, cache = Service(at, fault), black_box.Budget(1000), tmp_path / str(at)
        ended = 0
        with services.raw(service) as url:
            while True:
                try:
                    log_p = asked(url, cache, budget)
                    break
                except MiaError as error:
                    assert "\n" not in str(error)
                    ended += 1
        np.testing.assert_array_equal(log_p, whole)
        assert ended <= 1 and (ended or at == 1)  # the probe tries again, as far as that can help
        assert budget.spent == service.asked  # all that reached it, and nothing else


def test_a_server_that_goes_away_costs_only_what_it_was_asked(tmp_path):
    service, budget = Service(), black_box.Budget(1000, path=tmp_path / "asked")
    with services.raw(service) as url:
        whole = asked(url, tmp_path / "whole", None)
        service.asked = 0
        target = connect(url, X, cache=tmp_path, recheck=0, budget=budget, options=ONCE)
    port = urllib.parse.urlsplit(url).port
    for _ in range(3):
        with pytest.raises(black_box.TargetError, match=r"(Connect|Read|RemoteProtocol|Write)Error"):
            target.ask(X)
    spent = budget.spent
    assert 16 <= spent <= 32  # the first request may have gone into the connection that was still open
    with pytest.raises(black_box.TargetError, match="ConnectError"):
        target.ask(X)
    assert budget.spent == spent
    with services.raw(service, port=port) as url:
        np.testing.assert_array_equal(asked(url, tmp_path, black_box.Budget(1000, path=tmp_path / "asked")), whole)
    assert black_box.Budget(path=tmp_path / "asked").spent == spent + 44


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_request_of_an_audit_fails_once(tmp_path, monkeypatch, fault):
    """With the records synthesized by asking, so that both kinds of questions are among them."""
    monkeypatch.setattr(remote, "Options", lambda **given: ONCE)
    np.savez(tmp_path / "m.npz", share=np.full(F, 0.5))
    np.savez(tmp_path / "mine.npz", x=X.astype(np.uint8), y=np.arange(N) % C, member=np.arange(N) >= 40)

    def run(url, workdir):
        small = dict(num_shadows=2, num_epochs=1, hidden=4, attacks="calibrated_loss", shadow_data="marginal")
        files = dict(data=str(tmp_path / "mine.npz"), marginals=str(tmp_path / "m.npz"), workdir=str(workdir))
        audits.run(DeployedConfig(target=url, recheck=0, **small, **files))
        return (workdir / "scores.npz").read_bytes()

    service = Service()
    with services.raw(service) as url:
        whole = run(url, tmp_path / "whole")
    requests = service.number
    assert requests > 4
    for at in range(1, requests + 1):
        service, ended = Service(at, fault), 0
        with services.raw(service) as url:
            while True:
                try:
                    scores = run(url, tmp_path / f"run {at}")
                    break
                except MiaError as error:
                    assert "\n" not in str(error)
                    ended += 1
        assert scores == whole and ended <= 1
    print(f"{fault}: each of {requests} requests failed once, resumed to the same bytes")
