"""Make records as an adversary does who has none of the target's: with errors, from marginals, or by asking it alone.

mia-jax synthesize --workdir=runs/purchase --method=search --num_records=10000 --out=records.npz

The target is that of a finished run of mia-jax train, behind the run's defenses. What is written is a data set like any
other: --dataset=records.npz, mia_jax.data.load("records.npz"). A search that is interrupted goes on with the same
command, and one that has spent --max_queries with a larger budget. Exit codes: 0 done, 2 bad input, 5 the query budget
is spent; what was found is written.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from mia_jax import cli
from mia_jax.types import InputError, Records

FLAGS = flags.FLAGS


def define(argv: list[str]) -> Callable[[], int]:
    """Define the flags; returns what to do once they are read."""
    del argv
    from mia_jax.synthesis.parameters import REDRAW_HELP, REDRAWS, Parameters

    usual = Parameters()
    flags.DEFINE_string("workdir", None, "a finished run of mia-jax train", required=True)
    flags.DEFINE_enum("method", "search", ["noisy", "marginal", "search"], "where the records come from")
    flags.DEFINE_integer("num_records", 1000, "records that are wanted", lower_bound=1)
    flags.DEFINE_string("out", None, "the .npz to write", required=True)
    flags.DEFINE_integer("seed", 0, "of everything random")
    flags.DEFINE_string("data_dir", None, "folder of official files (default: $MIA_JAX_DATA_DIR)")
    flags.DEFINE_float("noise", 0.1, "noisy: fraction of the attributes that are changed", 0, 1)
    flags.DEFINE_string(
        "marginals", None, "marginal: an .npz of marginals (default: counted in records not the target's)"
    )
    flags.DEFINE_integer("max_queries", None, "marginal, search: queries allowed (default: any number)", lower_bound=1)
    flags.DEFINE_enum("class_prior", "balanced", ["balanced", "target"], "search: classes, or as the target answers")
    for name, value, text in (
        ("k_max", usual.k_max, "attributes redrawn at first"),
        ("k_min", usual.k_min, "attributes redrawn at least"),
        ("rej_max", usual.rej_max, "rejections in a row before fewer attributes are redrawn"),
        ("iter_max", usual.iter_max, "queries before a search fails"),
        ("give_up", usual.give_up, "failed searches in a row before a class is given up"),
        ("searches", None, "searches side by side (default: an eighth of the records, from 64 to 1,024)"),
    ):
        flags.DEFINE_integer(name, value, f"search: {text}", lower_bound=0 if name == "rej_max" else 1)
    flags.DEFINE_float("conf_min", usual.conf_min, "search: confidence below which a record is not sampled", 0)
    flags.DEFINE_enum("redraw", REDRAWS[0], list(REDRAWS), REDRAW_HELP)
    return _synthesize


class Made(NamedTuple):
    """Records, how they were made, in words, and whether the budget was spent before the last of them."""

    records: Records
    how: str
    exhausted: bool


def _synthesize() -> int:
    from mia_jax.audits import flags as audit_flags

    audit_flags.refuse_idle(audit_flags.SYNTHESIZE, audit_flags.present(flags), FLAGS)
    cli.use_every_core()
    from mia_jax import data, progress
    from mia_jax.audits import finished

    out = pathlib.Path(FLAGS.out)
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise InputError(f"--out={out} must be an .npz in a folder that is there")
    prior = _prior_queries()
    opened = finished.open_target(FLAGS.workdir, data_dir=FLAGS.data_dir, progress=progress.shown)
    schema = opened.schema
    made = _by_search(opened, prior) if FLAGS.method == "search" else _drawn(opened)
    if not len(made.records.y):
        raise InputError("no record was found: allow more queries with --max_queries, or lower --conf_min")
    mark = "SIMULATED " if schema.source == "simulated" else ""
    note = f"Synthesized ({FLAGS.method}) around a target trained on {mark}{schema.name}: {made.how}."
    data.save(out, made.records, data.synthesized(schema, FLAGS.method, note))
    found = f"{len(made.records.y):,} records in {out}"
    print(f"{found}, synthesized around a target trained on {mark}{schema.name}: {made.how}")
    if made.exhausted:
        cli.say(
            f"error: the budget of {FLAGS.max_queries:,} queries is spent before the last of {FLAGS.num_records:,}"
            " records"
        )
    return 5 if made.exhausted else 0


def _prior_queries() -> int:
    """What the target's classes cost before the search. Raises InputError where the budget is not more."""
    from mia_jax.synthesis import search

    budget, prior = FLAGS.max_queries, search.PRIOR_QUERIES if FLAGS.class_prior == "target" else 0
    if prior and budget is not None and budget <= prior:
        raise InputError(
            f"--max_queries={budget} is too few: --class_prior=target costs {prior:,} before the search; raise it or"
            " leave --class_prior out"
        )
    return prior


def _by_search(opened: Any, prior: int) -> Made:
    """Records that Algorithm 1 finds around the opened target."""
    import jax

    from mia_jax import progress
    from mia_jax.synthesis import resume, search
    from mia_jax.synthesis.parameters import Parameters

    key, budget = jax.random.key(FLAGS.seed), FLAGS.max_queries
    options: dict[str, Any] = {name: FLAGS[name].value for name in (*Parameters._fields, "redraw", "searches")}
    if prior:
        options["class_prior"] = search.answered(jax.random.fold_in(key, 1), opened.target, opened.schema, prior)
    records, info = resume.search(
        opened.workdir,
        opened.about,
        key,
        opened.target,
        opened.schema,
        FLAGS.num_records,
        max_queries=None if budget is None else budget - prior,
        progress=progress.shown,
        **options,
    )
    how = f"{info.queries + prior:,} queries, {info.queries_per_record:,.1f} per record; Algorithm 1 with "
    how += ", ".join(f"{name} {options[name]}" for name in (*Parameters._fields, "redraw"))
    if info.given_up:
        cli.say(f"warning: nothing was found of the classes {', '.join(map(str, info.given_up))}")
    return Made(records, how, info.exhausted)


def _drawn(opened: Any) -> Made:
    """Records that are drawn from marginals, or are real ones with errors."""
    import jax

    from mia_jax import synthesis
    from mia_jax.synthesis import marginal

    target, schema, key, n = opened.target, opened.schema, jax.random.key(FLAGS.seed), FLAGS.num_records
    if FLAGS.method == "noisy":
        records, info = synthesis.sampler("noisy", target, schema, opened.others, noise=FLAGS.noise)(key, n)
        return Made(records, f"{info.changed:.2%} of the attributes changed", False)
    table = None if FLAGS.marginals is None else marginal.load_marginals(FLAGS.marginals, schema)
    allowed = n if FLAGS.max_queries is None else min(n, FLAGS.max_queries)
    records, info = synthesis.sampler("marginal", target, schema, opened.others, marginals=table)(key, allowed)
    return Made(records, f"{info.queries:,} queries, for the labels", allowed < n)
