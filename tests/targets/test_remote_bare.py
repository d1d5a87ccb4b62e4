"""A few lines of Starlette that answer ``POST /predict``: audited at the URL as it is."""

import contextlib
import json
import threading
import time

import numpy as np
import pytest
from faulty_proxy import FAST, FEATURES, TARGET, records

from mia_jax.targets.answer_format import TargetError
from mia_jax.targets.remote import connect
from mia_jax.types import InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra `serve`: pip install 'mia-jax[serve]'")


@contextlib.contextmanager
def served(path, takes, gives):
    """Yields the URL of somebody's service: records are under one name, probabilities under another (None: bare)."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def predict(request):
        body = json.loads(await request.body())
        if (takes is None) != isinstance(body, list) or (takes is not None and takes not in body):
            return JSONResponse({"detail": [{"type": "missing", "loc": ["body", takes]}]}, status_code=422)
        p = np.exp(TARGET.ask(np.asarray(body if takes is None else body[takes], np.float32))).tolist()
        return JSONResponse(p if gives is None else {gives: p, "model": "mine"})

    app = Starlette(routes=[Route(path, predict, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{path}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("path", "takes", "gives", "protocol"),
    [
        ("/predict", "instances", "predictions", "auto"),
        ("/api/predict/", "instances", "probabilities", "auto"),
        ("/score", "data", "result", "json"),
        ("/predict", "inputs", None, "auto"),
        ("/predict", None, None, "auto"),
    ],
)
def test_a_bare_service_is_asked_at_its_url_as_it_is(path, takes, gives, protocol):
    x = records(40)
    with served(path, takes, gives) as url:
        target = connect(url, x, protocol=protocol, options=FAST)
        np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-4, atol=1e-4)


def test_a_url_that_tells_nothing_says_the_next_move():
    with (
        served("/score", "instances", "predictions") as url,
        pytest.raises(InputError, match=r"json posts \{\"instances"),
    ):
        connect(url, records(20), options=FAST)


def test_a_bare_service_that_takes_another_name_says_what_it_says():
    with (
        served("/predict", "features", "predictions") as url,
        pytest.raises(TargetError, match=rf"HTTP 422.*missing.*features.*each record was sent as {FEATURES} numbers"),
    ):
        connect(url, records(2 * FEATURES), options=FAST)
