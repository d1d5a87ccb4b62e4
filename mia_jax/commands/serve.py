"""Put the target of a finished run behind the APIs of prediction services, on this machine.

mia-jax serve --workdir=runs/location-1a2b3c4d --port=8321

Answers the Open Inference Protocol v2, :predict (Vertex AI, TensorFlow Serving, KServe V1), /invocations (SageMaker,
MLflow), Google Prediction v1.6 and Amazon ML, one record or many a call, until it is interrupted. So anyone can try a
remote attack: serve in one terminal, attack in another with the command that this prints. The records to ask about, the
target's and as many others, are written to mine.npz in the workdir.
"""

import dataclasses
import shlex
import signal
import threading
from collections.abc import Callable
from typing import Any

from absl import flags

from mia_jax import cli, command_line
from mia_jax.types import Schema

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], None]:
    """Define the flags; returns what to do once they are read."""
    del argv
    flags.DEFINE_string("workdir", None, "folder of a finished run of mia-jax train", required=True)
    flags.DEFINE_string("data_dir", None, "folder of official files (default: $MIA_JAX_DATA_DIR)")
    flags.DEFINE_integer("port", 8321, "port; 0 takes a free one", lower_bound=0, upper_bound=65535)
    flags.DEFINE_string("host", "127.0.0.1", "address; who can reach it can ask, so keep to the loopback address")
    flags.DEFINE_string("name", "model", "of the model, in the paths")
    flags.DEFINE_float("rate", None, "requests a second; more get 429 with Retry-After (default: any)", 1e-6)
    flags.DEFINE_integer("top_k", None, "show the k best classes only", lower_bound=1)
    flags.DEFINE_integer("digits", None, "round probabilities to so many decimal digits", 1, 6)
    flags.DEFINE_bool("label_only", False, "show the best class and no probability")
    return _serve


def _serve() -> None:
    from mia_jax.audits import flags as audit_flags

    audit_flags.refuse_idle(audit_flags.SERVE, audit_flags.present(flags), FLAGS)
    cli.use_every_core()
    from mia_jax import data
    from mia_jax.audits import finished
    from mia_jax.targets import server

    opened = finished.open_target(FLAGS.workdir, data_dir=FLAGS.data_dir)
    target, schema, name = opened.target, opened.schema, str(FLAGS["name"].value)
    mine = opened.workdir.path / "mine.npz"
    data.save(mine, opened.asked, schema, member=opened.member)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with server.serve(
        target,
        schema.shape,
        dtype=server.dtype_of(schema),
        name=name,
        host=FLAGS.host,
        port=FLAGS.port,
        shown=server.Shown(FLAGS.top_k, FLAGS.digits, FLAGS.label_only),
        rate=FLAGS.rate,
    ) as url:
        paths = {protocol: url + path for protocol, path in server.paths(name).items()}
        _tell(schema, paths, {"target": paths["oip"], "data": mine, **_as_the_run(opened.config)})
        while not stop.wait(1.0):
            pass


def _tell(schema: Schema, paths: dict[str, str], options: dict[str, Any]) -> None:
    """Show where it answers, and a command that attacks it."""
    mark = " (SIMULATED)" if schema.source == "simulated" else ""
    print(f"{schema.name}{mark}: {schema.num_classes} classes, records of shape {list(schema.shape)}. Ctrl-C ends it.")
    for protocol, url in paths.items():
        print(f"  --protocol={protocol:10} --target={url}")
    if FLAGS.label_only:
        options["num_classes"] = schema.num_classes  # labels do not tell it
    example = shlex.join([*command_line.program("audit"), *(f"--{name}={value}" for name, value in options.items())])
    print(f"Attack it from another terminal, as in\n  {example}", flush=True)


def _as_the_run(config: Any) -> dict[str, Any]:
    """Flags by which shadows are trained as the run of a ``Config`` trained its target, on records of the same data."""
    from mia_jax.audits import config as configs
    from mia_jax.audits import flags as audit_flags

    usual = configs.resolve(configs.DeployedConfig())
    kept = [f.name for f in dataclasses.fields(configs.AuditConfig) if f.metadata["identity"] or f.name == "data_dir"]
    options = {name: getattr(config, name) for name in kept if getattr(config, name) != getattr(usual, name)}
    if config.data_source != "simulated":  # by its name, the real one would be found
        options["shadow_data"] = config.dataset
    idle = audit_flags.idle(audit_flags.RULES[configs.DeployedConfig], options, configs.DeployedConfig(**options))
    return {name: value for name, value in options.items() if name not in idle}
