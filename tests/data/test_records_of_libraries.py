"""Records from arrays, and from the data sets of PyTorch and Hugging Face."""

import subprocess
import sys

import numpy as np
import pytest
from test_records import AGE, CLASS, COLUMNS, RNG, TOWN, N, read, refused


def test_arrays():
    x = RNG.random((N, 3, 5), np.float32)
    records, schema, _ = read(x, np.arange(N) % 2)
    np.testing.assert_array_equal(records.x, x)
    assert schema.shape == (3, 5) and schema.num_classes == 2
    assert read((x.tolist(), (np.arange(N) % 2).tolist()))[0].x.shape == x.shape
    images = RNG.integers(0, 255, (N, 4, 4, 3)).astype(np.uint8)
    records, schema, _ = read({"image": images, "label": CLASS})
    assert records.x.dtype == np.uint8 and schema.shape == (4, 4, 3) and schema.class_names == ("no", "yes")
    records, schema, _ = read({"age": AGE, "embedding": x[:, 0], "label": CLASS})
    assert [f.name for f in schema.fields][:2] == ["age", "embedding[0]"] and schema.shape == (6,)
    mixed = np.array([*zip(AGE, TOWN, strict=True)], object)
    assert read(mixed, CLASS)[1].fields[1].categories == ("Bonn", "Kiel", "Ulm")
    assert "give mia_jax.records(x, y)" in refused(x)
    import scipy.sparse

    assert "toarray()" in refused(scipy.sparse.eye(N), np.arange(N) % 2)


def test_the_column_of_labels_of_an_array():
    """Its number, of whatever type, is that of a file without names, where it can only be text."""
    y = np.arange(N) % 2
    matrix = np.column_stack([RNG.random((N, 3)), y, 1 - y])
    for label in (3, "3", np.int64(3), -2, "-2"):
        records, schema, _ = read(matrix, label=label)
        np.testing.assert_array_equal(records.y, y)
        assert [field.name for field in schema.fields] == ["x0", "x1", "x2", "x3"]
    records, _, _ = read(matrix, label=["4", 3])
    np.testing.assert_array_equal(records.y, y)
    assert records.x.shape == (N, 3)
    for label in (True, 3.0, "age", "1.5"):
        assert "is no column of an array: give its number, 0 to 4" in refused(matrix, label=label)
    assert "as label=-1" in refused(matrix)


def test_what_would_be_passed_over_is_refused():
    """``label`` beside labels, of which one was taken for a feature; and ``kinds`` of what has no columns."""
    x, y = RNG.integers(0, 4, (N, 3)).astype(float), np.arange(N) % 2
    for data, labels in ((x, y), ({"a": x[:, 0], "b": y}, 1 - y), ((x, y), None)):
        assert "leave one of them out" in refused(data, labels, label="b")
    assert "leave `label` out" in refused([*zip(x, y.tolist(), strict=True)], label="b")
    for labels, label in ((y, None), (None, 2)):
        schema = read(x, labels, label=label, kinds="x0:category")[1]
        assert schema.fields[0].kind == "categorical" and len(schema.fields[0].categories) == 4
    assert "names the column zip" in refused(x, y, kinds="zip:category")
    assert "leave it out" in refused(RNG.random((N, 3, 5)), y, kinds="x0:category")


@pytest.mark.integration  # torch takes seconds to import
def test_data_sets_of_pytorch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

    x, y = torch.arange(N * 4, dtype=torch.float32).reshape(N, 4), torch.arange(N) % 3
    np.testing.assert_array_equal(read(x, y)[0].x, x.numpy())
    whole = TensorDataset(x, y)
    records, schema, _ = read(whole)
    np.testing.assert_array_equal(records.x, x.numpy())
    assert records.y.tolist() == y.tolist()
    assert len(read(Subset(whole, range(9)))[0].y) == 9
    assert "give its .dataset" in refused(DataLoader(whole, batch_size=4))

    class Images(Dataset):
        classes = ("cat", "dog")

        def __len__(self):
            return N

        def __getitem__(self, k):
            from PIL import Image

            if k >= N:
                raise IndexError
            return Image.fromarray(np.full((6, 6, 3), k, np.uint8)), k % 2

    records, schema, _ = read(Images())
    assert records.x.dtype == np.uint8 and schema.shape == (6, 6, 3) and schema.class_names == ("cat", "dog")
    ragged = [(np.zeros(3 + k % 2), k % 2) for k in range(N)]
    assert "record 1 has shape (4,), and record 0 (3,)" in refused(ragged)
    assert "of 3 parts" in refused([(1, 2, 3)] * N)


@pytest.mark.integration
def test_data_sets_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"age": datasets.Value("float64"), "label": datasets.ClassLabel(names=["dog", "cat"])})
    data = datasets.Dataset.from_dict({"age": AGE.tolist(), "label": [k % 2 for k in range(N)]}, features)
    records, schema, said = read(data)
    assert schema.class_names == ("dog", "cat") and records.y.tolist() == [k % 2 for k in range(N)]
    assert "dog, cat, in this order" in said
    splits = datasets.DatasetDict({"train": data, "test": data})
    assert "several splits (train, test): give one of them, as data['train']" in refused(splits)
    hidden = datasets.Dataset.from_dict({"age": AGE.tolist(), "label": [-1] * N}, features)
    assert "record 0 has -1 in the column label" in refused(hidden)


def test_a_frame_that_cannot_be_read_says_why():
    assert "mia_jax.load(path) reads a file" in refused("mine.csv")
    pandas = pytest.importorskip("pandas")
    twice = pandas.DataFrame(np.zeros((4, 2)), columns=["a", "a"])
    assert "two columns are called a" in refused(twice)


@pytest.mark.integration
def test_a_lazy_frame_is_to_be_computed():
    assert "collect()" in refused(pytest.importorskip("polars").DataFrame(COLUMNS).lazy())


@pytest.mark.integration
def test_no_library_of_frames_is_imported_for_a_dict():
    code = "import sys, mia_jax as mia; mia.records({'a': [1, 2, 3], 'y': [0, 1, 0]}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "polars", "pyarrow", "torch", "datasets"} & {*loaded}


@pytest.mark.parametrize("label", [int, "abc".__getitem__, lambda k: np.int64(k)])
def test_a_data_set_that_gives_the_label_first_is_named(label):
    """ "rows of different lengths", or a label that is an image."""
    x = RNG.random((N, 2, 5), np.float32)

    class Swapped:
        def __len__(self):
            return N

        def __getitem__(self, k):
            if k >= N:
                raise IndexError
            return label(k % 3), x[k]

    told = refused(Swapped())
    assert "Swapped gives (label, x) for a record, and (x, label) is needed" in told
    records, _, _ = read(eval(told.partition("needed: give ")[2], {"dataset": Swapped()}))
    np.testing.assert_array_equal(records.x, x)
    assert records.y.tolist() == [k % 3 for k in range(N)]
    one_hot = [(0.5 * k, np.eye(3)[k % 3]) for k in range(N)]  # a single number, and a label
    assert "label, x" not in refused(one_hot)
