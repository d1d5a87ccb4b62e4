"""Data sets that give other records each time they are read: random transforms, in PyTorch's way and in others."""

import re

import numpy as np
import pytest

import mia_jax as mia

N = 60
X = np.random.default_rng(0).normal(size=(N, 2, 4)).astype(np.float32)
NOTE = "each time it is read, as with a random transform"


class Items:
    """A data set of PyTorch's kind; ``transform(x [2, 4])`` makes what it gives."""

    def __init__(self, transform=lambda x: x, named=False):
        self.transform, self.named, self.read = transform, named, 0

    def __len__(self):
        return N

    def __getitem__(self, k):
        self.read += 1
        x = self.transform(X[k])
        return {"x": x, "label": k % 2} if self.named else (x, k % 2)


RNG = np.random.default_rng(1)


def flipped(x):
    return x[:, ::-1].copy() if RNG.random() < 0.5 else x


def said(data):
    heard = []
    _, schema = mia.records(data, notify=heard.append)
    assert heard == list(schema.notes)
    return [note for note in heard if NOTE in note]


@pytest.mark.parametrize("named", [False, True])
def test_a_random_transform_is_noted(named):
    [note] = said(Items(flipped, named))
    assert (
        re.match(r"Record \d+ of Items is another one ", note)
        and "give the data set with the transform of eval" in note
    )


def test_others_are_not_and_few_records_are_read_again():
    missing = Items(lambda x: np.where(x > 0, x, np.nan).astype(np.float32))
    for data in (Items(), Items(named=True), missing):
        assert said(data) == [] and data.read <= N + 16
    assert said([(x, k % 2) for k, x in enumerate(X)]) == []


def test_a_data_set_that_can_be_read_once_only_is_read():
    once = iter(X)
    data = Items(lambda x: next(once))
    assert said(data) == [] and data.read == N + 1


@pytest.mark.integration  # torch takes seconds to import
def test_random_transforms_of_libraries_are_noted():
    torch = pytest.importorskip("torch")

    def erased(x):
        return torch.where(torch.rand(4) < 0.5, torch.from_numpy(x), torch.zeros(4))

    torch.manual_seed(0)
    assert len(said(torch.utils.data.Subset(Items(erased), range(40)))) == 1
    assert said(torch.utils.data.Subset(Items(torch.from_numpy), range(40))) == []
    assert said(torch.utils.data.TensorDataset(torch.from_numpy(X).bfloat16(), torch.arange(N) % 2)) == []
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"a": [None, *X[1:, 0, 0].tolist()], "label": [k % 2 for k in range(N)]})
    assert said(data) == []
    moved = data.with_transform(lambda batch: {**batch, "a": [(a or 0) + RNG.random() for a in batch["a"]]})
    assert len(said(moved)) == 1
