"""Each protocol between the client and our own server, and the forms that answers have elsewhere."""

import json

import numpy as np
import pytest
from faulty_proxy import CLASSES, FAST, FEATURES, TARGET, records

from mia_jax.targets import answer_format, black_box, server
from mia_jax.targets.remote import PROTOCOLS, connect, protocols, replies, urls
from mia_jax.targets.server import Shown
from mia_jax.types import Answers, InputError

pytest.importorskip("httpx", reason="needs the extra `remote`: pip install 'mia-jax[remote]'")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_brings_back_what_was_answered(service, protocol):
    x = records(40)
    url = service + server.paths()[protocol]
    target = connect(url, x, protocol=protocol, options=FAST)
    assert target.answers == Answers(CLASSES) and not target.traced
    np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)
    if protocol != "amazon":  # its URL does not tell
        automatic = connect(url, x, options=FAST)
        np.testing.assert_allclose(automatic.ask(x[:20]), TARGET.ask(x[:20]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shown", [Shown(top_k=2), Shown(digits=3), Shown(label_only=True), Shown(top_k=1)])
def test_each_protocol_tells_what_is_hidden(protocol, shown):
    x = records(24)
    with server.serve(TARGET, (FEATURES,), shown=shown) as url:
        target = connect(
            url + server.paths()[protocol], x, protocol=protocol, num_classes=CLASSES, options=FAST._replace(timeout=20)
        )
        log_p = target.ask(x)
    want = np.asarray(TARGET.ask(x))
    kind = "labels" if shown.label_only else "top_k" if shown.top_k else "probabilities"
    assert target.answers == Answers(CLASSES, kind, shown.digits, shown.top_k)
    if not shown.digits:  # rounding makes ties
        np.testing.assert_array_equal(log_p.argmax(1), want.argmax(1))
    told = log_p > np.log(np.finfo(np.float32).tiny) + 1
    assert (told.sum(1) == (1 if shown.label_only else shown.top_k or CLASSES)).all()
    if shown.label_only:
        np.testing.assert_allclose(log_p[told], 0, atol=1e-6)
    elif shown.digits:
        p = np.exp(want.astype(np.float64)).round(3)
        np.testing.assert_allclose(log_p, np.log(np.maximum(p, 0.0005)), rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_allclose(log_p[told], want[told], rtol=1e-5, atol=1e-5)


def test_classes_have_names_in_some_services():
    names = ["setosa", "versicolor", "virginica", "a", "b"]
    x = records(20)
    with server.serve(TARGET, (FEATURES,), labels=names) as url:
        for protocol in ("google", "amazon"):
            place = url + server.paths()[protocol]
            with pytest.raises(InputError, match=r"called 'setosa'.*\(`class_names`\).*`num_classes`"):
                connect(place, x, protocol=protocol, options=FAST)
            with pytest.raises(InputError, match=r"called 'setosa'"):  # names of labels that are others
                connect(place, x, protocol=protocol, label_names=[*names[:4], "c"], options=FAST)
            for known in (dict(class_names=names), dict(label_names=names)):
                target = connect(place, x, protocol=protocol, **known, options=FAST)
                np.testing.assert_allclose(target.ask(x), TARGET.ask(x), rtol=1e-5, atol=1e-5)


def test_labels_need_the_number_of_classes():
    with (
        server.serve(TARGET, (FEATURES,), shown=Shown(label_only=True)) as url,
        pytest.raises(InputError, match=r"number of classes \(`num_classes`\), .*\(`class_names`\)"),
    ):
        connect(url + server.paths()["vertex"], records(20), options=FAST)


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b'{"predictions": [[0.25, 0.75], [0.5, 0.5]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b"[[0.25, 0.75], [0.5, 0.5]]", [[0.25, 0.75], [0.5, 0.5]]),
        (b"0.25,0.75\n0.5,0.5\n", [[0.25, 0.75], [0.5, 0.5]]),
        (b"0.75,0.5", [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [0.75, 0.5]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [{"score": 0.75, "predicted_label": 1}, {"score": 0.5}]}', [[0.25, 0.75], [0.5, 0.5]]),
        (
            b'{"predictions": [{"probabilities": [0.25, 0.75]}, {"probabilities": [0.5, 0.5]}]}',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (
            b'[{"classes": ["1", "0"], "scores": [0.75, 0.25]}, {"classes": ["0", "1"], "scores": [0.5, 0.5]}]',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (  # Vertex AutoML, of images and of tables
            b'{"predictions": [{"ids": ["7", "9"], "displayNames": ["0", "1"], "confidences": [0.25, 0.75]},'
            b' {"ids": ["9", "7"], "displayNames": ["1", "0"], "confidences": [0.5, 0.5]}], "deployedModelId": "4"}',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (  # Hugging Face, all classes
            b'[[{"label": "LABEL_1", "score": 0.75}, {"label": "LABEL_0", "score": 0.25}],'
            b' [{"label": "LABEL_0", "score": 0.5}, {"label": "LABEL_1", "score": 0.5}]]',
            [[0.25, 0.75], [0.5, 0.5]],
        ),
        (b'{"probabilities": [[0.25, 0.75], [0.5, 0.5]], "model": "m"}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"result": [0.75, 0.5]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [[[0.25, 0.75]], [[0.5, 0.5]]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [[[0.25, 0.75], [0.5, 0.5]]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [[0.75], [0.5]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": ["0.75", "0.5"]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [["0.25", "0.75"], ["0.5", "0.5"]]}', [[0.25, 0.75], [0.5, 0.5]]),
        (b'{"predictions": [{"0": 0.25, "1": 0.75}, {"0": 0.5, "1": 0.5}]}', [[0.25, 0.75], [0.5, 0.5]]),
        # SageMaker's linear learner: the score is that of class 1, whatever the label
        (
            b'{"predictions": [{"score": 0.25, "predicted_label": 0}, {"score": 0.75, "predicted_label": 1}]}',
            [[0.75, 0.25], [0.25, 0.75]],
        ),
        # and of others, whose best label has its own
        (
            b'{"predictions": [{"score": 0.75, "predicted_label": 0}, {"score": 0.75, "predicted_label": 1}]}',
            [[0.75, 0.25], [0.25, 0.75]],
        ),
    ],
)
def test_forms_of_answers_that_services_are_known_for(body, want):
    reply = protocols.INSTANCES.decode(body, 2)
    reading = replies.learn(reply)
    np.testing.assert_array_equal(replies.read(reply, 2, reading), want)


def test_null_is_no_probability():
    reading = replies.Reading("vectors", Answers(2), None)
    v1 = protocols.INSTANCES.decode(b'{"predictions": [[0.5, 0.5], [null, 1.0]]}', 2)
    tensor = {"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [0.5, 0.5, None, 1.0]}
    v2 = protocols.oip().decode(json.dumps({"outputs": [tensor]}).encode(), 2)
    for reply in (v1, v2):
        assert answer_format.faults(replies.read(reply, 2, reading), Answers(2)).keys() == {1}


@pytest.mark.parametrize(
    ("datatype", "data", "names", "want"),
    [
        ("INT64", [2, 0], None, [2, 0]),
        ("FP32", [2.0, 0.0], None, [2, 0]),
        ("BYTES", ["b", "a"], ["a", "b", "c"], [1, 0]),
    ],
)
def test_labels_come_as_numbers_or_names(datatype, data, names, want):
    tensor = {"name": "predict", "shape": [2, 1], "datatype": datatype, "data": data}
    reply = protocols.oip().decode(json.dumps({"outputs": [tensor]}).encode(), 2)
    reading = replies.learn(reply, classes=3, names=names)
    assert reading.answers == Answers(3, "labels")
    assert replies.read(reply, 2, reading).argmax(1).tolist() == want
    with pytest.raises(black_box.TargetError, match="class"):
        replies.read([data[0], 7 if names is None else "z"], 2, reading)


def test_an_open_inference_server_says_what_the_model_is_called():
    metadata = {"inputs": [{"name": "pixels", "datatype": "FP32"}], "outputs": [{"name": "id"}, {"name": "probs"}]}
    codec = protocols.dialects("oip", "http://h/v2/models/m/infer", metadata)[0]
    sent = json.loads(codec.encode(np.arange(6, dtype=np.uint8).reshape(1, 2, 3)))
    assert sent["inputs"] == [{"name": "pixels", "shape": [1, 2, 3], "datatype": "FP32", "data": [0, 1, 2, 3, 4, 5]}]
    assert sent["outputs"] == [{"name": "probs"}]


@pytest.mark.parametrize("orjson", [True, False])
def test_integers_go_as_integers_and_floats_whole(monkeypatch, orjson):
    if orjson:
        pytest.importorskip("orjson")
    else:
        monkeypatch.setattr(protocols, "orjson", None)
    bits = np.array([[0, 1, 1], [1, 0, 255]], np.uint8)
    assert protocols.INSTANCES.encode(bits) == b'{"instances":[[0,1,1],[1,0,255]]}'
    assert protocols.COMMAS.encode(bits) == b"0,1,1\n1,0,255\n"
    assert protocols.COMMAS.encode(bits.astype(bool)) == b"0,1,1\n1,0,1\n"
    assert json.loads(protocols.oip().encode(bits))["inputs"][0]["datatype"] == "UINT8"
    assert json.loads(protocols.oip().encode(bits > 0))["inputs"][0]["data"] == [False, True, True, True, False, True]
    assert json.loads(protocols.GOOGLE.encode(bits[:1])) == {"input": {"csvInstance": [0, 1, 1]}}
    assert json.loads(protocols.amazon("m", "e").encode(bits[:1]))["Record"] == {"f0": "0", "f1": "1", "f2": "1"}
    x = np.random.default_rng(0).normal(size=(3, 4))
    for dtype in (np.float32, np.float64):
        sent = np.array(json.loads(protocols.INSTANCES.encode(x.astype(dtype)))["instances"])
        np.testing.assert_array_equal(sent.astype(dtype), x.astype(dtype))


def test_urls_tell_their_protocol_and_show_no_secret():
    for path, want in {
        "/v2/models/m": ("/v2/models/m/infer", "oip"),
        "/v2/models/m/versions/3/infer": ("/v2/models/m/versions/3/infer", "oip"),
        "/v1/models/m": ("/v1/models/m:predict", "vertex"),
        "/v1/projects/p/locations/l/endpoints/7:predict": ("/v1/projects/p/locations/l/endpoints/7:predict", "vertex"),
        "/endpoints/e": ("/endpoints/e/invocations", "sagemaker"),
        "/invocations": ("/invocations", "mlflow"),
        "/prediction/v1.6/projects/p/trainedmodels/m": (
            "/prediction/v1.6/projects/p/trainedmodels/m/predict",
            "google",
        ),
        "/predict": ("/predict", "json"),
        "/api/v3/predict?model=7": ("/api/v3/predict?model=7", "json"),
        "/predict/": ("/predict/", "json"),
    }.items():
        assert urls.resolve(f"https://h:1{path}") == (f"https://h:1{want[0]}", want[1])
    assert urls.resolve("http://h/score/7/", "json")[0] == "http://h/score/7/"
    assert urls.resolve("http://h/v2/models/m?a=1")[0] == "http://h/v2/models/m/infer?a=1"
    assert urls.public("https://u:pw@h:1/x?key=s#f") == "https://h:1/x"
    versions = {urls.identity(f"https://h/x{end}") for end in ("", "?version=1", "?version=2")}
    assert len(versions) == 3 and not any("version" in name for name in versions)
    unusable = ("ftp://h/x", "http://h:x/v2/models/m", "http://[h/v2/models/m", "h/v2/models/m")
    for url in (*unusable, "https://u:pw@h/v2/models/m", "https://h/what"):
        with pytest.raises(InputError) as error:
            urls.resolve(url)
        assert "pw" not in str(error.value)
