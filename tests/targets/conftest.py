"""A service that answers as a network does, and no credentials in the environment."""

import faulty_proxy
import pytest

from mia_jax.targets import server


@pytest.fixture(scope="module")
def service():
    """The URL of a server of ``faulty_proxy.TARGET``."""
    with server.serve(faulty_proxy.TARGET, (faulty_proxy.FEATURES,)) as url:
        yield url


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    """No test sends what the environment has."""
    monkeypatch.delenv("MIA_JAX_TOKEN", raising=False)
    monkeypatch.delenv("MIA_JAX_HEADERS", raising=False)
