"""Membership inference in JAX: shadow models, attacks and honest statistics, as pure functions.

    import mia_jax as mia

What a notebook needs has a short name here. It is imported when it is first used: ``import mia_jax`` alone imports no
other package, not even JAX; flax, optax and scikit-learn come with the rooms that use them, matplotlib with a drawing.

Data and plans
    load, save                      records by name, or from your file (.npz, .csv, .parquet): Records and their Schema
    records                         the same from a data frame, a data set of PyTorch or Hugging Face, a dict, arrays
    plans.shokri, plans.balanced    who trains on what; plans.membership_matrix
Models, trained here
    models.mlp, cnn, logistic       networks of the paper; resnet, wide_resnet, airbench, vgg; from_flax for your own
    make_trainer, fit_many          how one network is trained, and many at once
Models, trained elsewhere
    from_callable, connect          a Target that answers: predict_proba of anything, a service at a URL
    from_predictions                a Target of which only answers were saved
    as_target                       a Target that is one of our networks
Attacks
    attack                          an attack by its name, with its options; attacks.ATTACKS has them all
    observe_shadows                 what an attack sees of many networks; of one Target: attack.observe
    score                           one of several models attacked, with the others as its shadows
    infer                           scores in one call, from answers that were saved
    discoveries                     who may be told as a member, without knowing any: a list at a false discovery rate
    unlearning, audit_unlearning    unlearned models beside models that never saw the records, from answers or functions
Statistics
    evaluate                        all measures of one attack, with intervals
    auc, tpr_at_fpr                 one of them
    draw_roc                        the ROC curve
Whole audits, from data to report
    audit                           of whatever answers, in one call: a page in a notebook, a data frame, a folder
    plan, collect                   who trains on what, for models that are trained elsewhere; their answers, gathered
    platforms                       what trains shadows, in several libraries
    run                             what mia-jax train and mia-jax audit do, by the kind of the configuration:
                                    Config, BalancedConfig, DeployedConfig, CanaryConfig
    write_report                    the page of a run, written again

Errors that a user can mend are ``MiaError`` (``InputError`` and others), one line each. Further rooms are modules:
synthesis (shadow data without data), statistics (bounds on epsilon, means over targets, the overlap of attacks or
seeds, screens without shadows), training (recipes, L2, DP-SGD, loss traces), targets (output defenses, budgets),
reports, evidence (of a run, and whether it is as it was), reproduction (the paper's tables), storage.

Eight models, trained in complementary pairs on halves of the records; the first is attacked:

>>> import jax, numpy as np, optax
>>> import mia_jax as mia
>>> x = np.random.default_rng(0).random((200, 20), np.float32)
>>> records = mia.Records(x, np.arange(200) % 4)  # labels that cannot be learned, so they are learned by heart
>>> plan = mia.plans.balanced(jax.random.key(0), 200, num_models=8)
>>> model = mia.models.mlp(num_classes=4)
>>> trainer = mia.make_trainer(model, optax.adam(1e-2), batch_size=20)
>>> params, info = mia.fit_many(trainer, jax.random.split(jax.random.key(1), 8), records, plan.train, num_epochs=20)
>>> attack = mia.attack("rmia", num_classes=4)
>>> to_target = lambda params: mia.as_target(model, params, 4)
>>> observed = mia.observe_shadows(jax.random.key(2), attack.observe, to_target, params, records)
>>> member = mia.plans.membership_matrix(plan, 200)
>>> scores = mia.score(jax.random.key(3), attack, observed, member, target=0)
>>> print("AUC", mia.auc(scores, member[0]))  # doctest: +ELLIPSIS
AUC 0.8... [0.7..., 0.8...]
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what the table below says, for type checkers; a test compares the two
    from mia_jax import (
        attacks,
        audits,
        data,
        evidence,
        models,
        plans,
        reports,
        reproduction,
        statistics,
        storage,
        synthesis,
        targets,
        training,
        types,
    )
    from mia_jax.attacks.using import attack, score
    from mia_jax.audits import BalancedConfig, CanaryConfig, Config, DeployedConfig, run
    from mia_jax.audits.deployed.collect import collect
    from mia_jax.audits.deployed.discoveries import discoveries
    from mia_jax.audits.deployed.infer import infer
    from mia_jax.audits.one_call import audit
    from mia_jax.audits.unlearning import unlearning
    from mia_jax.audits.unlearning_functions import audit_unlearning
    from mia_jax.data import load, save
    from mia_jax.data.records import records
    from mia_jax.plans.training_plan import plan
    from mia_jax.reports.report import write_report
    from mia_jax.reports.roc import draw_roc
    from mia_jax.statistics.metrics import Measure, auc, evaluate, tpr_at_fpr
    from mia_jax.targets import platforms
    from mia_jax.targets.black_box import as_target, from_callable, from_predictions
    from mia_jax.targets.observation import observe_shadows
    from mia_jax.targets.remote import connect
    from mia_jax.training.many import fit_many
    from mia_jax.training.single import make_trainer
    from mia_jax.types import (
        Answers,
        Attack,
        InputError,
        MiaError,
        Model,
        Plan,
        Records,
        Schema,
        Target,
        Trainer,
    )

__version__ = "0.1.0"

_ROOMS = (
    "attacks",
    "audits",
    "data",
    "evidence",
    "models",
    "plans",
    "reports",
    "reproduction",
    "statistics",
    "storage",
    "synthesis",
    "targets",
    "training",
    "types",
)
_HOMES = {  # module -> what of it has a name here
    "attacks.using": ("attack", "score"),
    "audits": ("BalancedConfig", "CanaryConfig", "Config", "DeployedConfig", "run"),
    "audits.deployed.collect": ("collect",),
    "audits.deployed.discoveries": ("discoveries",),
    "audits.deployed.infer": ("infer",),
    "audits.one_call": ("audit",),
    "audits.unlearning": ("unlearning",),
    "audits.unlearning_functions": ("audit_unlearning",),
    "data": ("load", "save"),
    "data.records": ("records",),
    "plans.training_plan": ("plan",),
    "reports.report": ("write_report",),
    "reports.roc": ("draw_roc",),
    "statistics.metrics": ("Measure", "auc", "evaluate", "tpr_at_fpr"),
    "targets": ("platforms",),
    "targets.black_box": ("as_target", "from_callable", "from_predictions"),
    "targets.observation": ("observe_shadows",),
    "targets.remote": ("connect",),
    "training.many": ("fit_many",),
    "training.single": ("make_trainer",),
    "types": (
        "Answers",
        "Attack",
        "InputError",
        "MiaError",
        "Model",
        "Plan",
        "Records",
        "Schema",
        "Target",
        "Trainer",
    ),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answers",
    "Attack",
    "BalancedConfig",
    "CanaryConfig",
    "Config",
    "DeployedConfig",
    "InputError",
    "Measure",
    "MiaError",
    "Model",
    "Plan",
    "Records",
    "Schema",
    "Target",
    "Trainer",
    "as_target",
    "attack",
    "attacks",
    "auc",
    "audit",
    "audit_unlearning",
    "audits",
    "collect",
    "connect",
    "data",
    "discoveries",
    "draw_roc",
    "evaluate",
    "evidence",
    "fit_many",
    "from_callable",
    "from_predictions",
    "infer",
    "load",
    "make_trainer",
    "models",
    "observe_shadows",
    "plan",
    "plans",
    "platforms",
    "records",
    "reports",
    "reproduction",
    "run",
    "save",
    "score",
    "statistics",
    "storage",
    "synthesis",
    "targets",
    "tpr_at_fpr",
    "training",
    "types",
    "unlearning",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """The room, or the name from its home, imported now (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f"mia_jax.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"mia_jax.{_MODULE_OF[name]}"), name)
    globals()[name] = found  # found once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "Any", "importlib"})
