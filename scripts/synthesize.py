"""Make records as an adversary does who has none of the target's: with errors, from marginals, or by asking it alone.

python scripts/synthesize.py --workdir=runs/purchase --method=search --num_records=10000 --out=records.npz

The target is that of a finished run of scripts/train.py, behind the run's defenses. What is written is a data set like
any other: --dataset=records.npz, mia_jax.data.load("records.npz"). A search that is interrupted goes on with the same
command, and one that has spent --max_queries with a larger budget. Exit codes: 0 done, 2 bad input, 4 the workdir is
held by another process, 5 the query budget is spent; what was found is written.
"""

import pathlib
import signal
from typing import Any

if __name__ == "__main__":  # the imports below take seconds, and Ctrl-C needs no traceback; cli.start has a handler
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from absl import flags

from mia_jax import cli
from mia_jax.audits import flags as audit_flags
from mia_jax.synthesis.parameters import REDRAW_HELP, REDRAWS, Parameters

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "a finished run of scripts/train.py", required=True)
flags.DEFINE_enum("method", "search", ["noisy", "marginal", "search"], "where the records come from")
flags.DEFINE_integer("num_records", 1000, "records that are wanted", lower_bound=1)
flags.DEFINE_string("out", None, "the .npz to write", required=True)
flags.DEFINE_integer("seed", 0, "of everything random")
flags.DEFINE_string("data_dir", None, "folder of official files (default: $MIA_JAX_DATA_DIR)")
flags.DEFINE_float("noise", 0.1, "noisy: fraction of the attributes that are changed", lower_bound=0, upper_bound=1)
flags.DEFINE_string("marginals", None, "marginal: an .npz of marginals (default: counted in records not the target's)")
flags.DEFINE_integer("max_queries", None, "marginal, search: queries allowed (default: any number)", lower_bound=1)
flags.DEFINE_enum("class_prior", "balanced", ["balanced", "target"], "search: classes, or as the target answers")
for name, value, text in (
    ("k_max", Parameters().k_max, "attributes redrawn at first"),
    ("k_min", Parameters().k_min, "attributes redrawn at least"),
    ("rej_max", Parameters().rej_max, "rejections in a row before fewer attributes are redrawn"),
    ("iter_max", Parameters().iter_max, "queries before a search fails"),
    ("give_up", Parameters().give_up, "failed searches in a row before a class is given up"),
    ("searches", None, "searches side by side (default: an eighth of the records, from 64 to 1,024)"),
):
    flags.DEFINE_integer(name, value, f"search: {text}", lower_bound=0 if name == "rej_max" else 1)
flags.DEFINE_float(
    "conf_min", Parameters().conf_min, "search: confidence below which a record is not sampled", lower_bound=0
)

flags.DEFINE_enum("redraw", REDRAWS[0], list(REDRAWS), REDRAW_HELP)

SEARCH = (*Parameters._fields, "redraw", "searches")


def main() -> int:
    audit_flags.refuse_idle(audit_flags.SYNTHESIZE, audit_flags.present(flags), FLAGS)
    cli.use_every_core()
    import jax

    from mia_jax import data, progress, synthesis
    from mia_jax.audits import finished
    from mia_jax.synthesis import marginal, resume, search
    from mia_jax.types import InputError

    out = pathlib.Path(FLAGS.out)
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise InputError(f"--out={out} must be an .npz in a folder that is there")
    budget, prior = FLAGS.max_queries, search.PRIOR_QUERIES if FLAGS.class_prior == "target" else 0
    if prior and budget is not None and budget <= prior:
        raise InputError(
            f"--max_queries={budget} is too few: --class_prior=target costs {prior:,} before the search; raise it or"
            " leave --class_prior out"
        )
    opened = finished.open_target(FLAGS.workdir, data_dir=FLAGS.data_dir, progress=progress.shown)
    target, schema, key, n = opened.target, opened.schema, jax.random.key(FLAGS.seed), FLAGS.num_records
    exhausted = False
    if FLAGS.method == "search":
        options: dict[str, Any] = {name: FLAGS[name].value for name in SEARCH}
        if prior:
            options["class_prior"] = search.answered(jax.random.fold_in(key, 1), target, schema, prior)
        records, info = resume.search(
            opened.workdir,
            opened.about,
            key,
            target,
            schema,
            n,
            max_queries=None if budget is None else budget - prior,
            progress=progress.shown,
            **options,
        )
        exhausted = info.exhausted
        how = f"{info.queries + prior:,} queries, {info.queries_per_record:,.1f} per record; Algorithm 1 with "
        how += ", ".join(f"{name} {options[name]}" for name in (*Parameters._fields, "redraw"))
        if info.given_up:
            cli.say(f"warning: nothing was found of the classes {', '.join(map(str, info.given_up))}")
    elif FLAGS.method == "marginal":
        table = None if FLAGS.marginals is None else marginal.load_marginals(FLAGS.marginals, schema)
        allowed = n if FLAGS.max_queries is None else min(n, FLAGS.max_queries)
        records, info = synthesis.sampler("marginal", target, schema, opened.others, marginals=table)(key, allowed)
        exhausted, how = allowed < n, f"{info.queries:,} queries, for the labels"
    else:
        records, info = synthesis.sampler("noisy", target, schema, opened.others, noise=FLAGS.noise)(key, n)
        how = f"{info.changed:.2%} of the attributes changed"
    if not len(records.y):
        raise InputError("no record was found: allow more queries with --max_queries, or lower --conf_min")
    mark = "SIMULATED " if schema.source == "simulated" else ""
    note = f"Synthesized ({FLAGS.method}) around a target trained on {mark}{schema.name}: {how}."
    data.save(out, records, data.synthesized(schema, FLAGS.method, note))
    print(f"{len(records.y):,} records in {out}, synthesized around a target trained on {mark}{schema.name}: {how}")
    if exhausted:
        cli.say(f"error: the budget of {FLAGS.max_queries:,} queries is spent before the last of {n:,} records")
    return 5 if exhausted else 0


if __name__ == "__main__":
    cli.start(main)
