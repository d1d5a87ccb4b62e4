"""How a service is asked."""

from typing import NamedTuple

from mia_jax.types import InputError


class Options(NamedTuple):
    """How a service is asked."""

    rows_per_request: int = 256  # records, at most
    max_bytes: int = 1_400_000  # of a request's body, at most; Vertex AI takes 1.5 MB
    in_flight: int = 4  # requests at once
    rate: float | None = None  # requests a second, at most
    timeout: float = 60.0  # seconds without a byte until a request counts as lost
    deadline: float = 120.0  # seconds until it does, whatever arrives
    retries: int = 8  # tries again, until the question is given up
    backoff: float = 0.5  # seconds before the first of them; doubles, up to 30
    patience: float = 300.0  # seconds that are waited, as Retry-After asks, while no answer arrives
    repeat: bool = True  # ask about a few of the first records twice, to see whether the answers are the same


def checked(options: Options) -> Options:
    """The options.

    Raises:
        InputError: one is out of range.
    """
    for name, low in (("rows_per_request", 1), ("max_bytes", 1), ("in_flight", 1), ("retries", 0), ("backoff", 0)):
        if not getattr(options, name) >= low:
            raise InputError(f"{name}={getattr(options, name)} must be at least {low}")
    if not min(options.timeout, options.deadline) > 0 or (options.rate is not None and not options.rate > 0):
        raise InputError("timeout, deadline and rate must be above 0")
    return options
