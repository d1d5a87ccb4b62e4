"""What holds records and labels together, given as the x of one call: a line says how it is taken apart."""

import numpy as np
import pytest

import mia_jax as mia
from mia_jax.types import InputError

N = 40
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
Y, MEMBER = np.arange(N) % 2, np.arange(N) < N // 2
P = np.full((N, 2), 0.5)


class Pairs:
    """A data set of PyTorch's kind."""

    def __len__(self):
        return N

    def __getitem__(self, k):
        return X[k], int(Y[k])


class TensorDataset(Pairs):
    tensors = (X, Y)


class DataLoader:
    dataset, batch_sampler, collate_fn = Pairs(), None, None


class HuggingFace:
    column_names, shape = ["a", "label"], (N, 2)

    def to_pandas(self):
        raise NotImplementedError


HELD = {
    "pairs": (Pairs(), r"mia_jax.records\(dataset\) takes it apart: give records.x and records.y"),
    "a list of pairs": ([*zip(X, Y, strict=True)], r"mia_jax.records\(dataset\)"),
    "TensorDataset": (TensorDataset(), "x, y = dataset.tensors takes it apart"),
    "DataLoader": (DataLoader(), r"mia_jax.records\(loader.dataset\)"),
    "Hugging Face": (HuggingFace(), r"x = data.to_pandas\(\) is one, and y = x.pop\('label'\)"),
    "splits": ({"train": HuggingFace()}, r"data\['train'\].to_pandas\(\)"),
    "a dict": ({"a": X[:, 0], "label": Y}, r"pandas.DataFrame\(data\)"),
    "Records": (mia.Records(X, Y), "give its .x and .y"),
    "records and schema": (mia.records(X, Y, notify=lambda line: None), "give records.x and records.y"),
    "a path": ("x.npy", r"np.load\(path\)"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_line_says_how_they_are_taken_apart(name):
    """A TypeError of audit() without y; of the user's model, or "rows of different lengths", with it."""
    x, told = HELD[name]
    for given in ({"member": MEMBER}, {"y": Y, "member": MEMBER}, {"y": X[:, 0], "signal": "squared_error"}):
        with pytest.raises(InputError, match=told):
            mia.audit(lambda x: P, x, **given)


def test_the_real_data_sets_of_pytorch_and_hugging_face():
    torch, datasets = pytest.importorskip("torch"), pytest.importorskip("datasets")
    tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    with pytest.raises(InputError, match=r"x, y = dataset.tensors"):
        mia.audit(lambda x: P, tensors, member=MEMBER)
    x, y = tensors.tensors
    assert mia.audit(lambda x: P, x, y, MEMBER, attacks="loss")["loss"].auc.value == 0.5
    with pytest.raises(InputError, match=r"mia_jax.records\(loader.dataset\)"):
        mia.audit(lambda x: P, torch.utils.data.DataLoader(tensors), member=MEMBER)
    with pytest.raises(InputError, match=r"data.to_pandas"):
        mia.audit(lambda x: P, datasets.Dataset.from_dict({"a": X[:, 0], "label": Y}), Y, MEMBER)


def test_labels_that_are_missing():
    with pytest.raises(InputError, match="y is missing, the classes of the records"):
        mia.audit(lambda x: P, X, member=MEMBER)
    frame = pytest.importorskip("pandas").DataFrame({"a": X[:, 0], "Label": Y})
    with pytest.raises(InputError, match=r"y = x\['Label'\], and x without that column"):
        mia.audit(lambda x: P, frame, member=MEMBER)


def test_a_series_of_texts_is_records():
    """An IndexError, before."""
    texts = pytest.importorskip("pandas").Series(["a b", "c"] * (N // 2))
    assert mia.audit(lambda x: P, texts, Y, MEMBER, attacks="loss")["loss"].auc.value == 0.5


def test_what_was_made_of_labels_and_answers_is_said_by_the_result():
    """It stood in the report alone."""
    logits = np.stack([-X[:, 0] * 3, X[:, 0] * 3 + 1], 1)
    found = mia.audit(lambda x: logits, X, np.array(["no", "yes"])[Y], MEMBER, attacks="loss")
    for told in ("no is 0, yes is 1. The answers", "answers are logits"):
        assert told in " ".join(found.notes) and told in " ".join(repr(found).split()) and told in found._repr_html_()


def test_records_are_shown_by_types_and_shapes():
    assert repr(mia.Records(X, Y)) == "Records(x=float32[40, 3], y=int64[40])"
