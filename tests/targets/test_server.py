"""Our own server: what it says of bad requests, and what reaches the target."""

import numpy as np
import pytest
from faulty_proxy import FAST, FEATURES, TARGET

from mia_jax.targets import black_box, server
from mia_jax.targets.remote import connect
from mia_jax.types import InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")


def test_the_server_says_what_is_wrong_and_lives_on(service):
    import httpx

    with httpx.Client(base_url=service) as client:
        for path, body, status in (
            ("/v1/models/model:predict", b"{", 400),
            ("/v1/models/model:predict", b'{"instances": [["a"]]}', 400),
            ("/v1/models/model:predict", b'{"instances": []}', 400),
            ("/v2/models/model/infer", b'{"inputs": []}', 400),
            ("/v1/models/other:predict", b"{}", 404),
        ):
            reply = client.post(path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code == status and reply.json()["error"]
        assert client.get("/v2/models/model").json()["name"] == "model"
        assert client.get("/v2/health/ready").status_code == 200


def test_records_reach_the_target_in_their_shape_and_type():
    seen = []

    def predict(x):
        seen.append((x.shape, x.dtype))
        return np.full((len(x), 2), 0.5)

    x = np.arange(48, dtype=np.uint8).reshape(4, 2, 3, 2)
    with server.serve(black_box.from_callable(predict, 2), (2, 3, 2), dtype=np.uint8) as url:
        for path in server.paths().values():
            if "amazon" not in path:
                connect(url + path, x, options=FAST)
    assert {(shape[1:], dtype) for shape, dtype in seen} == {((2, 3, 2), np.dtype(np.uint8))}


def test_a_taken_port_is_told(service):
    with (
        pytest.raises(InputError, match="another port"),
        server.serve(TARGET, (FEATURES,), port=int(service.rsplit(":")[-1])),
    ):
        pass
