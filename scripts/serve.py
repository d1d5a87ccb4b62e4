"""Put the target of a finished run behind the APIs of prediction services, on this machine.

python scripts/serve.py --workdir=runs/location-1a2b3c4d --port=8321

Answers the Open Inference Protocol v2, :predict (Vertex AI, TensorFlow Serving, KServe V1), /invocations (SageMaker,
MLflow), Google Prediction v1.6 and Amazon ML, one record or many a call, until it is interrupted. So anyone can try a
remote attack: serve in one terminal, attack in another with the command that this prints. The records to ask about, the
target's and as many others, are written to mine.npz in the workdir.
"""

import dataclasses
import shlex
import signal
import threading
from typing import Any

if __name__ == "__main__":  # the imports below take seconds, and Ctrl-C needs no traceback; cli.start has a handler
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from absl import flags

from mia_jax import cli
from mia_jax.audits import config as configs
from mia_jax.audits import flags as audit_flags

WORKDIR = flags.DEFINE_string("workdir", None, "folder of a finished run of scripts/train.py", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", None, "folder of official files (default: $MIA_JAX_DATA_DIR)")
PORT = flags.DEFINE_integer("port", 8321, "port; 0 takes a free one", lower_bound=0, upper_bound=65535)
HOST = flags.DEFINE_string("host", "127.0.0.1", "address; who can reach it can ask, so keep to the loopback address")
NAME = flags.DEFINE_string("name", "model", "of the model, in the paths")
RATE = flags.DEFINE_float("rate", None, "requests a second; more get 429 with Retry-After (default: any)", 1e-6)
TOP_K = flags.DEFINE_integer("top_k", None, "show the k best classes only", lower_bound=1)
DIGITS = flags.DEFINE_integer("digits", None, "round probabilities to so many decimal digits", 1, 6)
LABEL_ONLY = flags.DEFINE_bool("label_only", False, "show the best class and no probability")


def main() -> None:
    audit_flags.refuse_idle(audit_flags.SERVE, audit_flags.present(flags), flags.FLAGS)
    cli.use_every_core()
    from mia_jax import data
    from mia_jax.audits import finished
    from mia_jax.targets import server

    opened = finished.open_target(WORKDIR.value, data_dir=DATA_DIR.value)
    target, schema = opened.target, opened.schema
    mine = opened.workdir.path / "mine.npz"
    data.save(mine, opened.asked, schema, member=opened.member)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with server.serve(
        target,
        schema.shape,
        dtype=server.dtype_of(schema),
        name=NAME.value,
        host=HOST.value,
        port=PORT.value,
        shown=server.Shown(TOP_K.value, DIGITS.value, LABEL_ONLY.value),
        rate=RATE.value,
    ) as url:
        mark = " (SIMULATED)" if schema.source == "simulated" else ""
        print(
            f"{schema.name}{mark}: {schema.num_classes} classes, records of shape {list(schema.shape)}. Ctrl-C ends it."
        )
        for protocol, path in server.paths(NAME.value).items():
            print(f"  --protocol={protocol:10} --target={url}{path}")
        options = {"target": url + server.paths(NAME.value)["oip"], "data": mine, **_as_the_run(opened.config)}
        if LABEL_ONLY.value:
            options["num_classes"] = schema.num_classes  # labels do not tell it
        example = shlex.join(["python", "scripts/audit.py", *(f"--{name}={value}" for name, value in options.items())])
        print(f"Attack it from another terminal, as in\n  {example}", flush=True)
        while not stop.wait(1.0):
            pass


def _as_the_run(config: configs.Config) -> dict[str, Any]:
    """Flags of train.py, by which shadows are trained as the run trained its target, on records of the same data."""
    usual = configs.resolve(configs.DeployedConfig())
    kept = [f.name for f in dataclasses.fields(configs.AuditConfig) if f.metadata["identity"] or f.name == "data_dir"]
    options = {name: getattr(config, name) for name in kept if getattr(config, name) != getattr(usual, name)}
    if config.data_source != "simulated":  # by its name, the real one would be found
        options["shadow_data"] = config.dataset
    idle = audit_flags.idle(audit_flags.RULES[configs.DeployedConfig], options, configs.DeployedConfig(**options))
    return {name: value for name, value in options.items() if name not in idle}


if __name__ == "__main__":
    cli.start(main)
