"""Strict settings for every test: the CPU backend, two devices, no silent rank promotion, warnings are errors."""

import collections
import gc
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# One thread of BLAS and OpenMP for each process: those of two processes on two cores wait for each other, spinning.
# Variables are read when a library is loaded; a plugin of pytest has loaded NumPy's.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import jax
import pytest
import threadpoolctl

pytest.register_assert_rewrite("report_pages", "small_runs")

import small_runs
from jax.experimental.compilation_cache import compilation_cache

from mia_jax.checks import unnoticed
from mia_jax.statistics import blind_baseline

threadpoolctl.threadpool_limits(1)
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "standard")


def pytest_configure(config):
    """The default run compiles without most optimizations, which takes a third of the time; what it runs is small.

    With ``-m integration`` and ``-m slow`` programs are those that users run. JAX_DISABLE_MOST_OPTIMIZATIONS=0 or 1
    decides for both. Processes that tests start inherit it.
    """
    quick = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", str(int("not slow" in config.option.markexpr)))
    jax.config.update("jax_disable_most_optimizations", quick == "1")
    flags = os.environ.get("XLA_FLAGS", "")
    # MLIR's emitters cost more than all else. Later versions of XLA have no others, and end where a flag is unknown.
    if quick == "1" and jax.__version_info__[:2] == (0, 10) and "fusion_emitters" not in flags:
        few = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{flags} {few}".strip()


def pytest_collection_finish(session):
    """What is there stays there: in the default run, looking through it for garbage takes a tenth of the time."""
    if "not slow" not in session.config.option.markexpr:
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


# Files of few and long tests come first, then those of many: at the end no process waits long for another.
LONG = ("interrupt", "attacks_shokri", "train_script", "canaries", "finished", "synthesize_script", "serve_script")


def pytest_collection_modifyitems(config, items):
    """Slow tests run where -m names them only: not with ``-m integration``. And the order of files."""
    if "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    names = {item: item.path.stem.removeprefix("test_") for item in items}
    many = collections.Counter(names.values())
    items.sort(key=lambda item: (names[item] not in LONG, -many[names[item]], names[item]))


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder that all tests of this process share: the compiler's cache, the data, a run."""
    folder = tmp_path_factory.getbasetemp() / "shared"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session", autouse=True)
def compiled_once(shared):
    """Programs are compiled once a session: each run makes its functions anew, and jit would compile them anew.

    A folder for each process of xdist, because jax writes into it in place.
    """
    for name, value in small_runs.cache_settings(shared).items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


DEVICES = dict(local_devices=jax.local_devices, local_device_count=jax.local_device_count)


@pytest.fixture(scope="session", autouse=True)
def one_device():
    """One of the two devices, for tests about something else: each device compiles every program for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "local_devices", lambda: DEVICES["local_devices"]()[:1])
        patch.setattr(jax, "local_device_count", lambda: 1)
        yield


WHOLE = unnoticed.LARGEST, blind_baseline.TREES["max_iter"]


@pytest.fixture(scope="session", autouse=True)
def short_audits(request):
    """In the default run an audit makes no mistakes in copies of its file, and its blind baseline boosts few trees.

    Both take longer than all else in a small audit. With ``whole_audits``, and in integration tests, all is there.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "not slow" in request.config.option.markexpr:
            patch.setattr(unnoticed, "LARGEST", -1)
            patch.setitem(blind_baseline.TREES, "max_iter", 10)
        yield


@pytest.fixture
def whole_audits(monkeypatch):
    """Audits as users run them, for tests of what ``short_audits`` leaves out."""
    monkeypatch.setattr(unnoticed, "LARGEST", WHOLE[0])
    monkeypatch.setitem(blind_baseline.TREES, "max_iter", WHOLE[1])


@pytest.fixture
def two_devices(monkeypatch):
    """Both devices, for tests that are about devices."""
    for name, function in DEVICES.items():
        monkeypatch.setattr(jax, name, function)


@pytest.fixture
def no_pages(monkeypatch):
    """Runs without a page: its figures take longer than a small run does."""
    monkeypatch.setattr("mia_jax.reports.report.write_report", lambda workdir: None)


@pytest.fixture(scope="session")
def own(shared):
    """The path of a small data set (``small_runs.records``)."""
    return small_runs.write_data(shared / "own.npz")


@pytest.fixture(scope="session")
def finished(shared, own):
    """A run that nobody interrupted: its workdir, and what ``audits.run`` returned. To be copied, not written to."""
    from mia_jax import audits

    workdir = shared / "finished"
    return workdir, audits.run(small_runs.config(own, workdir), command="the command")


@pytest.fixture(scope="session")
def canary_config(tmp_path_factory):
    """The configuration of ``canary_run``."""
    return small_runs.canary_config(tmp_path_factory.mktemp("canaries"))


@pytest.fixture(scope="session")
def canary_run(canary_config):
    """What ``audits.run`` returned of a network that learned its canaries by heart. Its workdir is not written to."""
    from mia_jax import audits

    return audits.run(canary_config)


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data files, or a skip that says how to get one."""
    path = os.environ.get("MIA_JAX_DATA_DIR")
    if not path or not os.path.isdir(path):
        pytest.skip("needs real data: set MIA_JAX_DATA_DIR to a folder of official files (docs/data.md)")
    return path
