"""The data sets of Shokri et al. 2017 (section VI-A) as one table: what they are, whence they come, who reads them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from mia_jax.data import images, tabular

_TRUSTLAB = "https://github.com/privacytrustlab/datasets"
_SHOKRI = (
    "R. Shokri, M. Stronati, C. Song, V. Shmatikov, Membership Inference Attacks Against Machine Learning Models, 2017"
)


BUILDER_VERSION = "1.0.0"  # of builders.py: raise it when the same files would give other records


class Format(NamedTuple):
    """One way in which a data set lies on disk: these files, all of them, and what reads their contents."""

    files: tuple[str, ...]
    parse: Callable[[Mapping[str, Any]], tuple[np.ndarray, np.ndarray]]  # may raise files.UNREADABLE
    labeled: bool = True  # False: the labels of these files are for other classes, and k-means finds ours
    folder: str = ""  # where an archive is unpacked: what people call all files together
    streamed: bool = False  # ``parse`` gets paths, for files that are too large to be held


class Dataset(NamedTuple):
    """A data set. ``formats`` are looked for in this order; ``urls`` are of the files of the first."""

    name: str
    title: str
    records: int  # as published
    shape: tuple[int, ...]  # *f of one record
    classes: int
    kind: Literal["binary", "pixel", "mixed"]
    formats: tuple[Format, ...]
    urls: tuple[str, ...]
    page: str  # where a person gets it
    reference: str
    stand_in: str | None = None  # the name of its simulation in simulated.py
    builder: str = ""  # the name of its config in builders.py
    clustered: bool = False  # the classes are k-means clusters, found by us, unless a file of its own holds them

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are accepted, best first; files that belong together are joined by " + "."""
        return tuple(form.folder or " + ".join(form.files) for form in self.formats)


def _purchase(classes: int) -> Dataset:
    read_csv = functools.partial(tabular.parse_labeled_csv, member="dataset_purchase", width=600, classes=100)
    read_npz = functools.partial(tabular.parse_npz, widths=(600,))
    own = classes == 100
    formats = [
        Format(("dataset_purchase.tgz",), read_csv, own),
        Format(("purchase100.npz",), functools.partial(read_npz, classes=100), own),
    ]
    rows = functools.partial(tabular.parse_labeled_rows, width=600, classes=100)
    formats.append(Format(("dataset_purchase",), rows, own, streamed=True))
    if own:
        formats.append(Format(("purchase.npz",), functools.partial(read_npz, classes=100)))
    else:
        formats.insert(0, Format((f"purchase{classes}.npz",), functools.partial(read_npz, classes=classes)))
    return Dataset(
        name=f"purchase{classes}",
        title=f"Purchase-{classes}",
        records=197_324,
        shape=(600,),
        classes=classes,
        kind="binary",
        formats=tuple(formats),
        urls=(f"{_TRUSTLAB}/raw/master/dataset_purchase.tgz",),
        page=_TRUSTLAB,
        reference=f"{_SHOKRI}; from Kaggle's Acquire Valued Shoppers Challenge, 2014",
        stand_in="purchase",
        builder="purchase",
        clustered=not own,
    )


def _cifar(classes: int, members: tuple[str, ...], label_bytes: int, label: str, folders: tuple[str, str]) -> Dataset:
    name = f"cifar{classes}"
    archive = f"cifar-{classes}-binary.tar.gz"
    read = functools.partial(images.parse_cifar, members=members, label_bytes=label_bytes, classes=classes)
    pickles = tuple(member.removesuffix(".bin") for member in members)
    unpickle = functools.partial(images.parse_cifar_python, members=pickles, label=label, classes=classes)
    return Dataset(
        name=name,
        title=f"CIFAR-{classes}",
        records=60_000,
        shape=(32, 32, 3),
        classes=classes,
        kind="pixel",
        formats=(
            Format((archive,), read),
            Format((f"cifar-{classes}-python.tar.gz",), unpickle),
            Format((f"{name}.npz",), functools.partial(images.parse_npz, shape=(32, 32, 3), classes=classes)),
            *(
                Format(tuple(f"{folder}/{file}" for file in files), parse, folder=f"{folder}/")
                for folder, files, parse in zip(folders, (members, pickles), (read, unpickle), strict=True)
            ),
        ),
        urls=(f"https://www.cs.toronto.edu/~kriz/{archive}",),
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        reference="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        builder=name,
    )


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_ALL = (
    *(_purchase(classes) for classes in (2, 10, 20, 50, 100)),
    Dataset(
        name="texas",
        title="Texas hospital stays",
        records=67_330,
        shape=(6_169,),
        classes=100,
        kind="binary",
        formats=(
            # The paper counts 6,170 features, the published file has 6,169.
            Format(("dataset_texas.tgz",), functools.partial(tabular.parse_texas, widths=(6169, 6170), classes=100)),
            Format(("texas100.npz",), functools.partial(tabular.parse_npz, widths=(6169, 6170), classes=100)),
            Format(("texas.npz",), functools.partial(tabular.parse_npz, widths=(6169, 6170), classes=100)),
            Format(
                ("texas/100/feats", "texas/100/labels"),
                functools.partial(tabular.parse_texas_rows, widths=(6169, 6170), classes=100),
                streamed=True,
            ),
        ),
        urls=(f"{_TRUSTLAB}/raw/master/dataset_texas.tgz",),
        page=_TRUSTLAB,
        reference=f"{_SHOKRI}; from the Texas Department of State Health Services, 2006-2009",
        stand_in="texas",
        builder="texas",
    ),
    Dataset(
        name="location",
        title="Location (Bangkok)",
        records=5_010,
        shape=(446,),
        classes=30,
        kind="binary",
        formats=(
            Format(
                ("dataset_location.tgz",),
                functools.partial(tabular.parse_labeled_csv, member="bangkok", width=446, classes=30),
            ),
            Format(("location.npz",), functools.partial(tabular.parse_npz, widths=(446,), classes=30)),
            Format(("bangkok",), functools.partial(tabular.parse_labeled_rows, width=446, classes=30), streamed=True),
        ),
        urls=(f"{_TRUSTLAB}/raw/master/dataset_location.tgz",),
        page=_TRUSTLAB,
        reference=f"{_SHOKRI}; from Foursquare check-ins, 2012-2013 (Yang et al. 2016)",
        stand_in="location",
        builder="location",
    ),
    _cifar(10, images.CIFAR10, 1, "labels", ("cifar-10-batches-bin", "cifar-10-batches-py")),
    _cifar(100, images.CIFAR100, 2, "fine_labels", ("cifar-100-binary", "cifar-100-python")),
    Dataset(
        name="mnist",
        title="MNIST",
        records=70_000,
        shape=(28, 28),
        classes=10,
        kind="pixel",
        formats=(
            Format(tuple(f"{name}.gz" for name in _IDX), images.parse_mnist),
            Format(_IDX, images.parse_mnist),
            Format(
                tuple(f"MNIST/raw/{name}" for name in _IDX), images.parse_mnist, folder="MNIST/raw/"
            ),  # torchvision's
            Format(("mnist.npz",), functools.partial(images.parse_npz, shape=(28, 28), classes=10)),
        ),
        urls=tuple(f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz" for name in _IDX),
        page="https://storage.googleapis.com/cvdf-datasets/mnist/",
        reference="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document"
        " Recognition, 1998",
        builder="mnist",
    ),
    Dataset(
        name="adult",
        title="Adult (census income)",
        records=48_842,
        shape=(tabular.ADULT_WIDTH,),
        classes=2,
        kind="mixed",
        formats=(Format(("adult.data", "adult.test"), tabular.parse_adult),),
        urls=tuple(
            f"https://archive.ics.uci.edu/ml/machine-learning-databases/adult/adult.{part}" for part in ("data", "test")
        ),
        page="https://archive.ics.uci.edu/dataset/2/adult",
        reference="B. Becker, R. Kohavi, Adult, UCI Machine Learning Repository, 1996",
        builder="adult",
    ),
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
DATASETS["purchase"] = DATASETS["purchase100"]
