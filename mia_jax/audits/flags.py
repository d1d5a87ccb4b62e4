"""What was given on the command line: a flag for each field of a configuration, and which flags mean something.

A flag that was given and would change nothing beside the others is refused, for its user believes that it does. The
tables say what each needs; defaults, presets and a ``Config`` made in Python are not looked at.

The rest of the library names settings as a caller writes them, in backticks: `l2=0.1`. Scripts show them as flags
(``as_flags``), so that no other file needs to know how a flag is written.
"""

import dataclasses
import itertools
import re
import shlex
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from mia_jax import attacks
from mia_jax.audits.config import (
    TRAINING_DEFENSES,
    AuditConfig,
    BalancedConfig,
    CanaryConfig,
    Config,
    DeployedConfig,
    off,
)
from mia_jax.audits.options import RECIPE
from mia_jax.data import by_path
from mia_jax.types import InputError

C = TypeVar("C", bound=AuditConfig)


class Rule(NamedTuple):
    """Flags that mean something only beside others."""

    flags: tuple[str, ...]
    meant: Callable[[Any], bool]  # of the values of all flags, as attributes: whether these mean something
    otherwise: str  # where they do not, in words that tell which flags decide


# --- the tables ------------------------------------------------------------------------------------------------------

SEARCH = ("class_prior", "k_max", "k_min", "conf_min", "rej_max", "iter_max", "redraw", "give_up", "searches")
METHODS = {  # of synthesis -> its flags
    ("noisy",): ("noise",),
    ("marginal",): ("marginals",),
    ("search",): SEARCH,
    ("marginal", "search"): ("shadow_records", "max_queries"),
}


def _synthesis(method: str, *, beside: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """The rules where the flag ``method`` says how records are synthesized; flags ``beside`` them are left out."""
    return tuple(
        Rule(
            tuple(name for name in names if name not in beside),
            lambda v, ways=ways: getattr(v, method) in ways,
            f"without `{method}={ways[0]}`{' or '.join(['', *ways[1:]])}",
        )
        for ways, names in METHODS.items()
    )


def _is_name(shadow_data: str | None) -> bool:
    """Whether ``shadow_data`` of somebody's model is a data set that is looked for."""
    return shadow_data not in (None, "noisy", "marginal", "search") and not by_path.is_file(shadow_data)


def _ours(v: AuditConfig) -> bool:
    return v.target_kind in ("nn", "logistic")


def _attacks(*names: str) -> Callable[[Any], bool]:
    among_all = [name for name in names if name not in attacks.ATTACKS or not attacks.ATTACKS[name].by_name]
    return lambda v: (
        (attacks.wants_all(v.attacks) and bool(among_all)) or not {*names}.isdisjoint(attacks.split(v.attacks))
    )


def _named(v: Any, kind: type[AuditConfig], names: Sequence[str]) -> bool:
    """Whether one of the attacks is to run; a service's audit has none that trains models unless it is named."""
    return not {*names}.isdisjoint(attacks.split(v.attacks)) or (kind is BalancedConfig and _attacks(*names)(v))


def _among(names: Sequence[str]) -> str:
    """Where a flag has no meaning because none of these attacks is asked for."""
    return f"without {' or '.join([', '.join(names[:-1]), names[-1]] if names[1:] else names)} among `attacks`"


def _needing(*needs: str) -> tuple[str, ...]:
    """The attacks that need one of these."""
    return tuple(name for name, entry in attacks.ATTACKS.items() if not entry.needed().isdisjoint(needs))


def _is_defended(v: AuditConfig) -> bool:
    return any(getattr(v, name) != getattr(off(v), name) for name in ("defenses", *TRAINING_DEFENSES))


NETWORK = ("model", "hidden")
TRAINED = ("recipe", "chunk", "lanes", "precision", *RECIPE, *TRAINING_DEFENSES)
OTHER_TRAINER = "without `target_kind=nn`, our own networks"
OWN_NETWORK = (
    Rule(TRAINED, _ours, OTHER_TRAINER),
    Rule(("model",), lambda v: v.target_kind != "logistic", "with `target_kind=logistic`, which is the model"),
    Rule(
        ("hidden",),
        lambda v: v.target_kind != "logistic" and v.model in (None, "mlp", "cnn"),
        "without `model=mlp` or cnn",
    ),
    Rule(("dp_clip",), lambda v: v.dp_noise_multiplier is not None, "without `dp_noise_multiplier`"),
    Rule(("jobs",), lambda v: ":" in v.target_kind, "without `trainer=module:fit` or sklearn:..."),
)
SOURCE = (
    Rule(
        ("data_dir", "data_source"),
        lambda v: not by_path.is_file(v.dataset),
        "with a file as `dataset`, which is read as it is",
    ),
    Rule(("label", "kinds"), lambda v: by_path.is_table(v.dataset), "without a .csv or .parquet as `dataset`"),
)
WITH_PREDICTIONS = ("predictions", "attacks", "defenses", "adaptive", "dp_delta", "seed", "workdir", "group")

NO_ATTACK = "with `canaries`, which trains no attack"

RULES: dict[type[AuditConfig], tuple[Rule, ...]] = {
    Config: (
        *_synthesis("shadow_data"),
        Rule(NETWORK, _ours, OTHER_TRAINER),
        *OWN_NETWORK,
        Rule(("dp_delta",), lambda v: v.dp_noise_multiplier is not None, "without `dp_noise_multiplier`"),
        Rule(("adaptive",), _is_defended, "without a defense for the attacker to know of, as `defenses` or `l2`"),
        *SOURCE,
    ),
    BalancedConfig: (
        *OWN_NETWORK,
        *SOURCE,
    ),
    CanaryConfig: (
        Rule(("chunk", "lanes", "num_targets"), lambda v: v.num_models > 1, "with `canaries` and one model"),
        Rule(("group",), lambda v: False, NO_ATTACK),
        *OWN_NETWORK,
        *SOURCE,
    ),
    DeployedConfig: (
        Rule(
            tuple(
                f.name
                for f in dataclasses.fields(DeployedConfig)
                if f.metadata["flag"] and f.name not in (*WITH_PREDICTIONS, *attacks.flags())
            ),
            lambda v: v.predictions is None,
            "with `predictions`, whose answers are given",
        ),
        Rule(("label", "kinds"), lambda v: by_path.is_table(v.data), "without a .csv or .parquet as `data`"),
        Rule(
            ("adaptive",),
            lambda v: v.predictions is not None and bool(v.defenses),
            "without `predictions` and `defenses`: a service's shadows always answer behind `defenses`",
        ),
        *_synthesis("shadow_data", beside=("max_queries",)),  # which counts every question here
        Rule(
            ("shadow_labels",),
            lambda v: v.shadow_data not in ("marginal", "search"),
            "with `shadow_data=marginal` or search, whose records the target labels",
        ),
        *OWN_NETWORK,
        Rule(("data_dir",), lambda v: _is_name(v.shadow_data), "without the name of a data set as `shadow_data`"),
    ),
}
SYNTHESIZE = _synthesis("method")
SERVE = (Rule(("top_k", "digits"), lambda v: not v.label_only, "with `label_only`, which shows no probability"),)
REPRODUCE = (
    Rule(("experiment", "all", "scale", "root", "data_dir"), lambda v: not v.list, "with `list`, which runs nothing"),
    Rule(("experiment",), lambda v: not v.all, "with `all`, which is every experiment"),
)

# A kind of audit, by its flags.
CHOSEN_BY: dict[type[AuditConfig], str] = {DeployedConfig: "`target` or `predictions`", CanaryConfig: "`canaries`"}


def attack_rules(kind: type[AuditConfig]) -> tuple[Rule, ...]:
    """The rules for the options of attacks, as they are declared on their entries in ``ATTACKS``."""
    rules = []
    if kind in (BalancedConfig, DeployedConfig):
        every = attacks.ATTACKS.items()
        ours = [n for n, e in every if "model" in e.sources() and (kind is BalancedConfig or e.imitates)]
        otherwise = f"{OTHER_TRAINER}, or {_among(ours).removeprefix('without ')}"
        rules.append(Rule(NETWORK, lambda v: _ours(v) or _named(v, kind, ours), otherwise))
    if kind is BalancedConfig:
        asking = _needing("queries")
        rules.append(Rule(("query_shadows", "query_records"), _attacks(*asking), _among(asking)))
    for flag in attacks.flags():
        names = attacks.with_flag(flag)
        if kind is CanaryConfig:
            rules.append(Rule((flag,), lambda v: False, NO_ATTACK))
        elif (kind, flag) != (BalancedConfig, "attack_rows"):  # all attacks that learn from rows have so many there
            rules.append(Rule((flag,), _attacks(*names), _among(names)))
    return tuple(rules)


def rules(kind: type[AuditConfig]) -> tuple[Rule, ...]:
    """All rules of a kind of run."""
    return (*attack_rules(kind), *RULES[kind])


# --- what is done with them ------------------------------------------------------------------------------------------


def idle(rules: Sequence[Rule], names: Iterable[str], values: Any) -> dict[str, str]:
    """Which of the settings ``names`` mean nothing beside the others, and where, in words."""
    broken = [rule for rule in rules if not rule.meant(values)]
    found = {name: next((rule.otherwise for rule in broken if name in rule.flags), None) for name in names}
    return {name: otherwise for name, otherwise in found.items() if otherwise is not None}


def refuse_idle(rules: Sequence[Rule], names: Iterable[str], values: Any) -> None:
    """Raises InputError for the first of the settings ``names`` that means nothing beside the others."""
    for name, otherwise in idle(rules, names, values).items():
        raise InputError(f"`{name}` has no meaning {otherwise}: leave it out")


def as_flags(text: str, known: Container[str]) -> str:
    """A message of the library with its settings as flags: `l2=0.1` becomes --l2=0.1, where ``known`` has l2."""
    return re.sub(r"`((\w+)(?:=[^`]*)?)`", lambda found: f"--{found[1]}" if found[2] in known else found[0], text)


def present(flags) -> list[str]:
    """The flags in ``flags`` (``absl.flags``) that were given, whatever their values."""
    return [name for name in flags.FLAGS if flags.FLAGS[name].present]


def _chooser(name: str) -> str:
    """The flag that chooses the kind of audit in which ``name`` means something."""
    if name not in {f.name for f in dataclasses.fields(DeployedConfig)}:
        return "`canaries`"
    return "`predictions`" if name in WITH_PREDICTIONS else "`target`"


def define_flags(flags, *kinds: type[AuditConfig]) -> Callable[[type[C]], C]:
    """Define one absl flag per field of ``kinds`` in ``flags`` (``absl.flags``).

    Scripts call this; importing the library defines no flag.

    Returns:
        A function that reads one of the kinds back. It raises InputError for a flag that was given and is another's, or
        means nothing beside the others.
    """
    define = _definers(flags)
    known = {f.name: f for kind in kinds for f in dataclasses.fields(kind) if f.metadata["flag"]}
    for f in known.values():
        value = next(k for k in define if f.type in (k, k | None))
        default = str(f.default) if f.type == int | str else f.default
        define[value](f.name, default, as_flags(f.metadata["help"], known))
        if f.metadata["key"]:  # as it was spelled before
            flags.DEFINE_alias(f.metadata["key"], f.name)
    if "target_kind" in known:  # what it is where shadows alone are trained
        flags.DEFINE_alias("trainer", "target_kind")

    def read(kind: type[C]) -> C:
        names = {f.name for f in dataclasses.fields(kind) if f.metadata["flag"]}
        there = [name for name in present(flags) if name in known]
        own = [name for name in present(flags) if name in attacks.flags() and name not in known]
        for stray in (name for name in there if name not in names):
            where = f"with {CHOSEN_BY[kind]}" if kind in CHOSEN_BY else f"without {_chooser(stray)}"
            raise InputError(f"`{stray}` has no meaning {where}: leave it out")
        defaults = {f.name: f.default for f in dataclasses.fields(kind)}
        elsewhere = {
            name for name in names - {*there} if defaults[name] != known[name].default
        }  # another kind's default
        config = kind(
            **{name: _typed(flags.FLAGS[name].value, known[name].type) for name in names - elsewhere},
            attack_options={name: flags.FLAGS[name].value for name in own},
        )
        refuse_idle(rules(kind), [*there, *own], config)
        return config

    return read


class Sharing(NamedTuple):
    """How a run is shared among processes, as it was given on the command line."""

    shard: str | None
    engine: str
    shards: int
    slurm: Mapping[str, str]
    ray: Mapping[str, str]
    coordinator: str | None


SHARES = (
    Rule(("shards",), lambda v: v.engine != "local", "without `engine=slurm` or ray"),
    Rule(("slurm",), lambda v: v.engine == "slurm", "without `engine=slurm`"),
    Rule(("ray",), lambda v: v.engine == "ray", "without `engine=ray`"),
    Rule(("shard", "coordinator"), lambda v: v.engine == "local", "with `engine`, which gives each task its shard"),
)


def define_sharing_flags(flags) -> Callable[[], Sharing]:
    """Define the flags of runs that several processes share in ``flags`` (``absl.flags``).

    Returns:
        A function that reads them. It raises InputError for one that means nothing beside the others.
    """
    flags.DEFINE_string(
        "shard",
        None,
        "train and observe only share i of n of the models, as in 0/8, into a workdir that all share, and end (default:"
        " the task of a SLURM array, an indexed Kubernetes job or a PBS array; /8: that task, of 8; off: none)",
    )
    flags.DEFINE_enum("engine", "local", ["local", "slurm", "ray"], "where shares are made; then the run goes on here")
    flags.DEFINE_integer("shards", 8, "shares that the engine makes", lower_bound=1)
    flags.DEFINE_string("slurm", "", "options of sbatch, as in partition=gpu,gres=gpu:1,time=120; time is needed")
    flags.DEFINE_string("ray", "", "of Ray: address=..., and what a share takes, as in num_cpus=4,num_gpus=1")
    flags.DEFINE_string(
        "coordinator",
        None,
        "share the run among the processes of jax.distributed: auto (found in the environment), or host:port of the"
        " first, with --shard=i/n",
    )

    def read() -> Sharing:
        values = {name: flags.FLAGS[name].value for name in Sharing._fields}
        values |= {name: _options(name, values[name]) for name in ("slurm", "ray")}
        sharing = Sharing(**values)
        refuse_idle(SHARES, [name for name in present(flags) if name in Sharing._fields], sharing)
        return sharing

    return read


def _options(flag: str, text: str) -> dict[str, str]:
    """key=value,key=value as a dictionary."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    if wrong := [key for key, sign, value in pairs if not sign or not value]:
        raise InputError(f"`{flag}={text}`: {wrong[0]} has no value; give key=value, separated by commas")
    return {key.strip().lstrip("-"): value for key, _, value in pairs}


def of_share(given: Sequence[str], shard: str) -> list[str]:
    """The flags of a command as those of one share: without the engine and PDFs, and with the ``shard``."""
    left, skip = [], False
    for word in given:
        name = word.lstrip("-").partition("=")[0] if word.startswith("-") else ""
        if not skip and name not in (*Sharing._fields, "pdf", "nopdf"):
            left.append(word)
        skip = name in Sharing._fields and "=" not in word
    return [*left, f"--shard={shard}"]


def as_sbatch(share: Sequence[str], sharing: Sharing) -> str:
    """The command that ``engine=slurm`` stands for; ``share``: the command of each task."""
    options = [f"--{name}={value}" for name, value in sharing.slurm.items()]
    return shlex.join(["sbatch", f"--array=0-{sharing.shards - 1}", *options, "--wrap", shlex.join(share)])


def _typed(value: Any, kind: Any) -> Any:
    """A flag's value: of those that are a number or text, what can be a number is one."""
    return int(value) if kind == int | str and re.fullmatch(r"-?\d+", str(value)) else value


def _definers(flags) -> dict[Any, Callable[..., Any]]:
    """What defines a flag of each type, in ``flags`` (``absl.flags``)."""
    return {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        int | str: flags.DEFINE_string,
    }


def define_attack_flags(flags, argv: Sequence[str]) -> None:
    """Register the attacks that ``attacks`` names as module:entry, and define flags for their options.

    Args:
        flags: ``absl.flags``, before it has parsed ``argv``.
        argv: the command line.

    Raises:
        InputError: an attack cannot be imported, or its options' flags are others' already.
    """
    wanted = [word.partition("=")[2] for word in argv if word.startswith(("--attacks=", "-attacks="))]
    wanted += [value for word, value in itertools.pairwise(argv) if word in ("--attacks", "-attacks")]
    before = attacks.flags()
    for value in wanted:
        attacks.load(value)
    define = _definers(flags)
    for flag, option in attacks.flags().items():
        if flag in before:
            continue
        if flag in flags.FLAGS:
            raise InputError(f"`attacks`: the flag of {attacks.with_flag(flag)[0]}'s option `{flag}` is there already")
        define[option.type](flag, option.default, option.help)
