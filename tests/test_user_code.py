"""Users' code: what it is named by follows whatever decides what it does, and nothing that it does can end a run."""

import functools
import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from mia_jax import attacks, audits, user_code
from mia_jax.attacks import thresholds
from mia_jax.audits.config import BalancedConfig
from mia_jax.models import networks
from mia_jax.targets import black_box, platforms
from mia_jax.types import Field, InputError, Schema

SCHEMA = Schema("test", "local", "", 3, (6,), (Field("bits", "binary", 0, 6),))
FILES = {  # a package of a user's own; of its modules, all but `unused` are imported from `net`, each in another way
    "pack/__init__.py": "",
    "pack/net.py": """
import pack.plain
from pack import named
from pack.star import *
from . import relative
from .below import deeper
import importlib, typing

dynamic = importlib.import_module("pack.dynamic")
computed = importlib.import_module("pack." + "computed")


def factory(num_classes, shape):
    from pack.late import layers

    return layers(num_classes)
""",
    "pack/late.py": "from flax import linen as nn\nimport pack.through\nlayers = nn.Dense\n",
    "pack/below/__init__.py": "",
    "pack/below/deeper.py": "from .. import up\n",
    "pack/unused.py": "",
    **{
        f"pack/{name}.py": "" for name in ("plain", "named", "star", "relative", "dynamic", "computed", "through", "up")
    },
}


def write(folder: pathlib.Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def forget(*names: str) -> None:
    """As a new process would: what was imported is imported again."""
    for loaded in [m for m in sys.modules if m.partition(".")[0] in names]:
        del sys.modules[loaded]
    importlib.invalidate_caches()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, and a clean slate."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # by seconds and sizes, old bytecode may be taken for new
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget("pack", "mine", "helper", "wide")


def test_every_local_module_that_is_imported_counts(here):
    write(here, FILES)

    def digest():
        forget("pack")
        return networks.source_digest("pack.net:factory")

    plain = digest()
    assert digest() == plain
    for name, content in FILES.items():
        (here / name).write_text(content + "\n# changed\n")
        assert (digest() != plain) == (name != "pack/unused.py"), name
        (here / name).write_text(content)
    assert digest() == plain


WIDE = """
import json, os
from flax import linen as nn
import numpy as np

with open("settings.json") as f:
    SETTINGS = json.load(f)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dropout(SETTINGS["dropout"], deterministic=not train)(nn.gelu(nn.Dense(SETTINGS["width"])(x)))
        return nn.Dense(3)(nn.relu(x) * np.arange(SETTINGS["width"], dtype=np.float32)[None] ** SETTINGS["power"])


def factory(num_classes, shape):
    return Net()
"""


def test_what_a_network_computes_counts(here):
    """A file of settings is no source; what it makes of the network is seen in its program."""
    settings = dict(width=4, dropout=0.5, power=1)

    def digest(**changed):
        forget("mine")
        write(here, {"settings.json": json.dumps(settings | changed)})
        return networks.program_digest(networks.build("mine:factory", SCHEMA), np.zeros((1, 6), np.uint8))

    write(here, {"mine.py": WIDE})
    found = [digest(), digest(width=5), digest(dropout=0.25), digest(power=2), digest()]
    assert len(set(found)) == 4 and found[0] == found[-1]


def test_content_counts_and_no_path(here, monkeypatch):
    write(here / "a", FILES)
    write(here / "b", FILES)
    found = set()
    for folder in "ab":
        forget("pack")
        monkeypatch.setattr(sys, "path", [str(here / folder), *sys.path])
        monkeypatch.chdir(here / folder)
        found.add(networks.source_digest("pack.net:factory"))
        assert sys.modules["pack.net"].__file__ == str(here / folder / "pack" / "net.py")
    assert len(found) == 1


PIPELINE = """
from sklearn.ensemble import BaggingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from sklearn.tree import DecisionTreeClassifier
import numpy as np
import helper

tree = make_pipeline(
    FunctionTransformer(helper.scaled, kw_args={"by": {2.0, 1.0}.pop()}),
    BaggingClassifier(DecisionTreeClassifier(max_depth=3, class_weight={0: 1.0, 1: 2.0}), 4),
)
"""
HELPER = "def scaled(x, by):\n    return x\n"


def test_a_classifier_is_named_by_its_parameters_and_its_sources(here):
    write(here, {"mine.py": PIPELINE, "helper.py": HELPER})

    def source(**changed):
        write(here, changed)
        forget("mine", "helper")
        return platforms.source("sklearn:mine.tree")

    plain = source()
    assert source() == plain
    mine = importlib.import_module("mine")
    for name, value in {
        "baggingclassifier__n_estimators": 5,
        "baggingclassifier__estimator__max_depth": 4,
        "baggingclassifier__estimator__class_weight": {0: 1.0, 1: 3.0},
        "functiontransformer__func": np.sqrt,
        "functiontransformer__kw_args": {"by": np.arange(3)},
    }.items():
        forget("mine", "helper")
        before = platforms.source("sklearn:mine.tree")
        mine = sys.modules["mine"]
        mine.tree.set_params(**{name: value})  # as code would that reads a file of settings
        assert before == plain != platforms.source("sklearn:mine.tree"), name
    assert source(**{"helper.py": HELPER.replace("return x", "return x * by")}) != plain
    assert source(**{"helper.py": HELPER}) == plain
    assert platforms.source("sklearn:sklearn.naive_bayes.GaussianNB") != platforms.source(
        "sklearn:sklearn.naive_bayes.BernoulliNB"
    )
    assert platforms.source("amazon") == platforms.source("google") == ""


NAMES = """
import json, numpy as np
from mia_jax import attacks
from mia_jax.models import networks
from mia_jax.targets import black_box, platforms
from mia_jax.types import Field, Schema

schema = Schema("test", "local", "", 3, (6,), (Field("bits", "binary", 0, 6),))
wide = networks.build("wide:factory", schema)
print(json.dumps([
    networks.program_digest(wide, np.zeros((5, 6), np.uint8)), networks.source_digest("pack.net:factory"),
    platforms.source("sklearn:mine.tree"), attacks.sources(["shokri", "lira"]),
]))
"""


@pytest.mark.integration
def test_names_do_not_depend_on_the_process(here):
    """Hashes of strings, and with them sets, have another order in each; objects lie at other places."""
    settings = json.dumps(dict(width=4, dropout=0.5, power=1))
    write(here, {"mine.py": PIPELINE, "helper.py": HELPER, **FILES, "wide.py": WIDE, "settings.json": settings})
    env = os.environ | {"PYTHONPATH": str(pathlib.Path(user_code.__file__).parents[1]), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", NAMES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=here, env=env)
    assert json.loads(done.stdout) == [
        networks.program_digest(networks.build("wide:factory", SCHEMA), np.zeros((1, 6), np.uint8)),
        networks.source_digest("pack.net:factory"),
        platforms.source("sklearn:mine.tree"),
        attacks.sources(["shokri", "lira"]),
    ]


def test_a_file_that_changes_under_a_running_process(here):
    """What is used is what was imported, and that is what counts; it is told. After a reload it is the new file."""
    write(here, {"mine.py": "import helper\n\ndef factory(num_classes, shape):\n    return 1\n", "helper.py": ""})
    before = networks.source_digest("mine:factory")
    (here / "helper.py").write_text("changed = 1\n")
    with pytest.warns(UserWarning, match=r"helper.py has changed since it was imported, and what was imported is used"):
        assert networks.source_digest("mine:factory") == before
    importlib.reload(sys.modules["helper"])
    assert networks.source_digest("mine:factory") != before


# --- what users' code does -------------------------------------------------------------------------------------------

BAD = {  # content of mine.py -> what is told
    "import sys\nsys.exit(0)\n": r"mine calls sys.exit\(0\)",
    "raise SystemExit\n": r"mine calls sys.exit\(None\)",
    "raise RuntimeError('two\\nlines')\n": r"mine raised RuntimeError: two$",
    "raise ValueError('Exception encountered when calling A().\\n\\n\\x1b[1mno\\x1b[0m')\n": r"Error: no$",
    "def (": r"mine raised SyntaxError",
    "import no_such_module\n": r"No module named 'no_such_module', which mine asks for; install or mend that",
    "from os import no_such_name\n": r"cannot import name 'no_such_name' from 'os'.*, which mine asks for",
    "x = 1\n": "mine has no 'thing'",
}


@pytest.mark.parametrize("content", BAD)
def test_imports_that_fail_are_one_line(here, content):
    write(here, {"mine.py": content})
    for use in (
        lambda: networks.build("mine:thing", SCHEMA),
        lambda: networks.source_digest("mine:thing"),
        lambda: platforms.platform("sklearn:mine.thing", 3),
        lambda: platforms.source("sklearn:mine:thing"),
    ):
        forget("mine")
        with pytest.raises(InputError, match=BAD[content]) as error:
            use()
        assert "\n" not in str(error.value)


EXITS = """
import sys
from flax import linen as nn
from sklearn.tree import DecisionTreeClassifier

def factory(num_classes, shape):
    sys.exit(0)

class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        sys.exit(0)

def network(num_classes, shape):
    return Network()

class Made(DecisionTreeClassifier):
    def __init__(self):
        sys.exit(0)

class Fitted(DecisionTreeClassifier):
    def fit(self, *args):
        sys.exit(0)

class Asked(DecisionTreeClassifier):
    def predict_proba(self, *args):
        sys.exit(0)
"""


@pytest.mark.parametrize("name", ["factory", "network", "Made", "Fitted", "Asked"])
def test_nothing_ends_python(here, name):
    write(here, {"mine.py": EXITS})
    x, y = np.arange(24.0, dtype=np.float32).reshape(8, 3), np.arange(8) % 3
    with pytest.raises((InputError, black_box.TargetError), match=r"calls sys.exit\(0\)") as error:
        if name[0].islower():
            networks.build(f"mine:{name}", SCHEMA)
        else:
            platforms.platform(f"sklearn:mine.{name}", 3).fit(x, y)
    assert "\n" not in str(error.value) and error.value.exit_code == 2


@pytest.mark.integration
def test_a_script_does_not_end_well_because_a_module_did(shared, own, here):
    """``sys.exit(0)`` in a user's module was the end of the audit, with the exit code of a gate that holds."""
    write(here, {"mine.py": "import sys\nsys.exit(0)\n"})
    train = pathlib.Path(user_code.__file__).parents[1] / "scripts" / "train.py"
    env = os.environ | {"PYTHONPATH": str(train.parents[1])}
    command = [sys.executable, str(train), f"--dataset={own}", "--model=mine:factory"]
    done = subprocess.run(command, env=env, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: model=mine:factory cannot be")


# --- attacks ---------------------------------------------------------------------------------------------------------

ATTACK = """
import numpy as np
from mia_jax.attacks.common import from_answers
import helper

def attack(num_classes, sign=1.0):
    def fit(key, seen, member, population=None):
        return None

    def score(state, seen):
        return sign * helper.SIGN * np.asarray(seen["p"], np.float64)

    return from_answers(lambda log_p, y: {"p": log_p[:, 0]}, fit, score, needs=frozenset())
"""


def audited(own, here, monkeypatch, factory, kind):
    entry = attacks.Entry(factory, "Mine", "mine")
    monkeypatch.setitem(attacks.ATTACKS, "mine", entry)
    small = dict(num_models=4, num_targets=1, num_epochs=1, hidden=4, population=40, num_records=80)
    where = dict(dataset=str(own), workdir=str(here / kind.partition(":")[0]))
    audits.run(BalancedConfig(attacks="mine", target_kind=kind, **small, **where))
    with np.load(here / kind.partition(":")[0] / "scores.npz") as held:
        return held["score_mine"]


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize(
    "kind", [pytest.param("nn", marks=pytest.mark.integration), "sklearn:sklearn.naive_bayes.BernoulliNB"]
)
def test_an_edited_attack_is_not_given_the_scores_of_the_old_one(own, here, monkeypatch, kind):
    """Its file, a file that it imports, or its options: the same workdir, other scores."""
    write(here, {"mine.py": ATTACK, "helper.py": "SIGN = 1\n"})
    monkeypatch.syspath_prepend(here)

    def factory():
        forget("mine", "helper")
        return importlib.import_module("mine").attack

    plain = audited(own, here, monkeypatch, factory(), kind)
    np.testing.assert_array_equal(audited(own, here, monkeypatch, factory(), kind), plain)
    partial = functools.partial(factory(), sign=-2.0)
    np.testing.assert_array_equal(audited(own, here, monkeypatch, partial, kind), -2 * plain)
    write(here, {"helper.py": "SIGN = -1\n"})
    np.testing.assert_array_equal(audited(own, here, monkeypatch, factory(), kind), -plain)
    write(here, {"mine.py": ATTACK.replace("log_p[:, 0]", "2 * log_p[:, 0]")})  # what it sees of a model
    np.testing.assert_allclose(audited(own, here, monkeypatch, factory(), kind), -2 * plain)


@pytest.mark.parametrize("named", [{"__name__": "__notebook__"}, {}])
def test_what_was_typed_into_a_notebook(named):
    """There is no file: the code itself counts, and what of the notebook it uses; its namespace may have no name."""

    def defined(text, name="attack", **named):
        space = {"thresholds": thresholds, **named}
        exec(text, space)
        return user_code.describe(space[name], library=True)

    plain = "SIGN = 1\ndef helper(x):\n    return SIGN * x\ndef attack(num_classes):\n    return helper(num_classes)\n"
    assert defined(plain, **named) == defined(plain, **named) == defined(f"other = 2\n{plain}", **named)
    changed = [plain.replace(a, b) for a, b in (("SIGN = 1", "SIGN = 2"), ("* x", "+ x"), ("(num_classes)\n", "(3)\n"))]
    assert len({defined(text, **named) for text in (plain, *changed)}) == 4


def test_every_attack_of_ours_has_a_source_of_its_own():
    found = attacks.sources(["lira", "rmia", "shokri"])
    assert len(set(found.values())) == 3 and attacks.sources(["lira", "rmia", "shokri"]) == found
    assert attacks.sources(["nobody's"]) == {"nobody's": ""}


SETTINGS = """
import argparse, types
import helper
EPOCHS = 40
NET = {"width": [64, 32]}
calls = 0
log = []
args = argparse.Namespace(epochs=3, workdir="a")

class Config:
    rate = 0.1

class Net:
    def __init__(self):
        self.width = NET["width"]

def train(x, y, seed):
    return Net(), EPOCHS, Config.rate

def fit(x, y, *, seed):
    global calls
    calls += 1
    log.append(object())
    return train(x, y, seed), args.epochs, helper.scaled(x, helper.BY)

def apart(x, y, *, seed):
    return seed
"""


def test_settings_among_the_globals_count(here):
    """A script that set EPOCHS from its arguments was given the shadows of its last run from the same workdir."""
    write(here, {"mine.py": SETTINGS, "helper.py": HELPER + "BY = 2\n"})
    mine = user_code.load("mine:fit", "trainer=mine:fit").__globals__
    first, apart = user_code.describe(mine["fit"]), user_code.describe(mine["apart"])
    changes = {
        "EPOCHS": lambda: mine.update(EPOCHS=2),
        "NET": lambda: mine["NET"]["width"].append(8),
        "args": lambda: setattr(mine["args"], "epochs", 4),
        "Config": lambda: setattr(mine["Config"], "rate", 0.2),
        "helper": lambda: setattr(mine["helper"], "BY", 3),
    }
    found = [first]
    for change in changes.values():
        change()
        found.append(user_code.describe(mine["fit"]))
    assert len(set(found)) == 1 + len(changes)
    assert user_code.describe(mine["apart"]) == apart  # it reads none of them
    mine["fit"](0, 0, seed=0)
    mine["args"].workdir = "b"
    assert user_code.describe(mine["fit"]) == found[-1]  # what it writes itself, and what it does not read


CELLS = """
class Net:
    width = 64

def build(seed):
    return Net, seed, 2

def fit(x, y, *, seed):
    return build(seed)

cells = [(fit, build, Net)]

def build(seed):
    return Net, seed, 1

class Net:
    def width(self):
        return 32
"""


def test_functions_that_one_file_defines_again_count(here):
    """A cell of a notebook in a file, run again after an edit: fit calls the new function, and its file is the same."""
    write(here, {"mine.py": CELLS})
    fit, build, net = user_code.load("mine:cells", "trainer=mine:cells")[0]
    space = fit.__globals__
    found = [user_code.describe(fit)]
    for name, first in (("build", build), ("Net", net)):
        again, space[name] = space[name], first
        found.append(user_code.describe(fit))
        space[name] = again
    assert len(set(found)) == 3 and user_code.describe(fit) == found[0]
    build.__defaults__ = (8,)  # as of another cell: def build(seed=8)
    space["build"] = build
    found.append(user_code.describe(fit))
    build.__defaults__ = (9,)
    assert user_code.describe(fit) not in found


@pytest.mark.parametrize("edited", ["# a note\n" + CELLS, '"""\n' + CELLS, ""])
def test_a_file_that_is_edited_while_its_function_runs_is_not_read_again(here, edited):
    """Models that a run had trained were not found again, or a half-written file was a traceback."""
    write(here, {"mine.py": CELLS})
    fit = user_code.load("mine:cells", "trainer=mine:cells")[0][0]
    before = user_code.describe(fit)
    (here / "mine.py").write_text(edited)
    with pytest.warns(UserWarning, match="has changed since it was imported, and what was imported is used"):
        assert user_code.describe(fit) == before
