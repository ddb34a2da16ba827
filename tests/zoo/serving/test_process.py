"""`mtl-zoo serve` as its own process: right answers to many, reasons to the rest, a good end."""

import base64
import gzip
import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import zoo
from conformance.export_client import example, rows
from conformance.exported_models import CASES
from conformance.raw_http import PATIENCE, ends, read_answer, request
from conformance.serve_process import ServeProcess

if keras.backend.backend() != "tensorflow":
    pytest.skip("models with strings are exported on TensorFlow", allow_module_level=True)

CASE = CASES["mixture_with_strings"]
TASKS = {"first": ["first"], "second": ["second"], "third": ["third"]}
TASKS |= {name: ["first", "second", "third"] for name in ("serve", "serving_default", "examples")}
TIMEOUT = 3  # Seconds; long enough for an answer on a busy machine.


@pytest.fixture(scope="module")
def model():
    """An expert mixture of three tasks that reads strings, numbers and ids."""
    return CASE.model()


@pytest.fixture(scope="module")
def expected(model):
    return model.predict(CASE.x, verbose=0)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """A folder as TensorFlow Serving has it, of version 2."""
    folder = tmp_path_factory.mktemp("models") / "shop"
    model.export(folder / "2", signatures="both")
    return folder


@pytest.fixture(scope="module")
def served(saved):
    limits = ("--timeout", TIMEOUT, "--max-bytes", 50_000, "--max-rows", 64)
    process = ServeProcess(saved, *limits)
    yield process
    process.kill()


def plain(x, kept=slice(None)):
    return {name: values[kept].tolist() for name, values in x.items()}


def assert_answer(found, expected, kept=slice(None)):
    """Outputs by name, or one output alone, within what a batch of another size may change."""
    names = expected if isinstance(found, dict) else [None]
    assert not isinstance(found, dict) or found.keys() == expected.keys()
    for name in names:
        ours = found[name] if name else found
        theirs = expected[name] if name else next(iter(expected.values()))
        np.testing.assert_allclose(ours, theirs[kept], atol=1e-6)


def good(served, expected):
    status, answer = served.post({"inputs": plain(CASE.x)})
    assert status == 200
    assert_answer(answer["outputs"], expected)


# -- answers


def test_it_says_where_it_is_and_what_it_answers(served):
    assert served.said["url"].startswith("http://127.0.0.1:")
    assert served.path == "/v1/models/shop"
    assert (served.said["name"], served.said["version"]) == ("shop", 2)
    assert served.said["signatures"] == sorted(TASKS)


@pytest.mark.parametrize("signature", TASKS)
def test_every_signature_answers_as_the_model_in_columns_and_in_rows(served, expected, signature):
    own = {task: expected[task] for task in TASKS[signature]}
    columns = plain(CASE.x)
    instances = [{name: values[i] for name, values in columns.items()} for i in range(5)]
    if signature == "examples":
        instances = [{"b64": base64.b64encode(example(row)).decode()} for row in rows(CASE.x)]
        columns = instances
    status, answer = served.post({"signature_name": signature, "inputs": columns})
    assert status == 200
    assert_answer(answer["outputs"], own)
    status, answer = served.post({"signature_name": signature, "instances": instances})
    assert status == 200
    found = answer["predictions"]
    if len(own) > 1:
        found = {task: [row[task] for row in found] for task in own}
    assert_answer(found, own)


def test_status_and_metadata_are_as_tensorflow_servings(served):
    state = {"version": "2", "state": "AVAILABLE"}
    state["status"] = {"error_code": "OK", "error_message": ""}
    for path in ("/v1/models/shop", "/v1/models/shop/versions/2"):
        assert served.get(path) == (200, {"model_version_status": [state]})
        status, metadata = served.get(f"{path}/metadata")
        assert status == 200
        assert metadata["model_spec"] == {"name": "shop", "signature_name": "", "version": "2"}
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        assert signatures.keys() == TASKS.keys()
    own = signatures["third"]
    axes = [{"size": "-1", "name": ""}, {"size": "3", "name": ""}]
    shape = {"dim": axes, "unknown_rank": False}
    assert own["method_name"] == "tensorflow/serving/predict"
    assert own["inputs"].keys() == CASE.x.keys() and own["outputs"].keys() == {"third"}
    dtypes = {name: own["inputs"][name]["dtype"] for name in own["inputs"]}
    assert dtypes == {"age": "DT_FLOAT", "job": "DT_STRING", "shop": "DT_INT64", "seen": "DT_FLOAT"}
    for found in (own["inputs"]["seen"], own["outputs"]["third"]):
        assert found["tensor_shape"] == shape and found["name"].endswith(":0")


def test_metadata_are_what_tensorflow_itself_writes_of_them(served, saved):
    from google.protobuf import json_format
    from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

    (graph,) = saved_model_pb2.SavedModel.FromString(
        (saved / "2" / "saved_model.pb").read_bytes()
    ).meta_graphs
    _, metadata = served.get("/v1/models/shop/metadata")
    for name, own in metadata["metadata"]["signature_def"]["signature_def"].items():
        found = json_format.ParseDict(own, meta_graph_pb2.SignatureDef())
        assert found == graph.signature_def[name]


# -- many at once


def load(served, expected, seed, count):
    """Asks `count` questions on one connection; gives how many were answered rightly."""
    rng = np.random.default_rng(seed)
    signatures = [name for name in TASKS if name != "examples"]
    with served.connection() as connection:
        for _ in range(count):
            kept = rng.integers(0, 5, rng.integers(1, 9))
            signature = signatures[rng.integers(len(signatures))]
            question = {"signature_name": signature, "inputs": plain(CASE.x, kept)}
            connection.request("POST", f"{served.path}:predict", json.dumps(question))
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status == 200, answer
            own = {task: expected[task] for task in TASKS[signature]}
            assert_answer(answer["outputs"], own, kept)
    return count


def at_once(served, expected, clients, count):
    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(lambda seed: load(served, expected, seed, count), range(clients)))


def test_many_clients_at_once_each_get_their_own_answer(served, expected):
    assert at_once(served, expected, clients=24, count=30) == 24 * 30


@pytest.mark.slow
def test_many_clients_for_long_each_get_their_own_answer(served, expected):
    """`pytest -m slow tests/zoo/serving/test_process.py -k for_long`"""
    assert at_once(served, expected, clients=64, count=500) == 64 * 500


def test_a_wrong_question_spoils_nobody_elses_answer(served, expected):
    wrong = {"signature_name": "examples", "inputs": [{"b64": "AAAA"}]}
    right = [{"b64": base64.b64encode(example(row)).decode()} for row in rows(CASE.x)]
    right = {"signature_name": "examples", "inputs": right}

    def ask(i):
        return served.post(wrong if i % 4 == 0 else right)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    for i, (status, answer) in enumerate(answers):
        if i % 4 == 0:
            assert status == 400 and "The model cannot take this: " in answer["error"]
        else:
            assert status == 200
            assert_answer(answer["outputs"], expected)


# -- wrong questions


def changed(**columns):
    return {"inputs": plain(CASE.x) | columns}


DEEP = "[" * 100_000
LONG_NUMBER = "9" * 5_000
BAD = {
    "nothing": (b"", 400, "must be JSON"),
    "no JSON": (b"{", 400, "must be JSON, in UTF-8. Received: Expecting property name"),
    "no UTF-8": (b'{"inputs": "\xff"}', 400, "in UTF-8. Received: 'utf-8' codec can't decode"),
    "UTF-16": ('{"inputs": 1}'.encode("utf-16"), 400, "in UTF-8"),
    "no object": (b"[1]", 400, "must be a JSON object. Received: [1]"),
    "too deep": (DEEP[:40_000], 400, "nested too deeply"),
    "too deep within": ('{"inputs": ' + DEEP[:40_000], 400, "nested too deeply"),
    "deep, and closed": (f'{{"inputs": {"[" * 500}{"]" * 500}}}', 400, "must be an object"),
    "a long number": (f'{{"inputs": {LONG_NUMBER}}}', 400, "Exceeds the limit"),
    "a number out of range": (json.dumps(changed(age=[1e39] * 5)), 400, "Received: 1e+39 at [0]"),
    "a lone surrogate": (json.dumps(changed(job=["\ud800"] * 5)), 400, "Input 'job'"),
    "no inputs": ({}, 400, 'must have either "instances", rows, or "inputs", columns'),
    "both": ({"inputs": {}, "instances": []}, 400, "Received: ['inputs', 'instances']"),
    "another key": (changed() | {"input": 1}, 400, "Received: ['input'] beside them"),
    "another signature": (changed() | {"signature_name": "fourth"}, 400, "Received: 'fourth'"),
    "no name": (changed() | {"signature_name": ["first"]}, 400, "Received: ['first']"),
    "an input less": ({"inputs": {"age": [1]}}, 400, "Received: without ['job', 'seen', 'shop']"),
    "an input more": (changed(size=[1]), 400, "Received: with ['size'] beside them"),
    "a text for a number": (changed(age=["38"] * 5), 400, "Received: '38' at [0]"),
    "a number for a text": (changed(job=[1] * 5), 400, "Input 'job' must be string"),
    "a float for an integer": (changed(shop=[1.5] * 5), 400, "Input 'shop' must be int64"),
    "a bool for a number": (changed(age=[True] * 5), 400, "Received: True"),
    "null": (changed(age=[None] * 5), 400, "Received: None"),
    "an integer out of range": (changed(shop=[2**63] * 5), 400, f"Received: {2**63}"),
    "ragged": (changed(seen=[[1, 2, 3]] * 4 + [[1]]), 400, "with lists of lengths [1, 3]"),
    "another width": (changed(seen=[[1, 2]] * 5), 400, "float32 of shape (rows, 3)"),
    "no list": (changed(age=1), 400, "float32 of shape (rows,)"),
    "fewer rows of one": (changed(age=[1]), 400, "1 of 'age'"),
    "no rows": ({"inputs": {"age": [], "job": [], "seen": [], "shop": []}}, 400, "0 rows"),
    "rows without an input": ({"instances": [{"age": 1}]}, 400, "`instances[0]` must have exactly"),
    "no base64": ({"signature_name": "examples", "inputs": [{"b64": "%"}]}, 400, "'b64': '%'"),
    "no example": ({"signature_name": "examples", "inputs": ["x"]}, 400, "cannot take this"),
    "too many rows": ({"instances": [{}] * 65}, 413, "may have 64 rows. Received: 65"),
    "too many bytes": (b" " * 50_001, 413, "A body may have 50000 bytes. Received: 50001"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_question_is_told_why_and_the_next_is_answered(served, expected, name):
    body, status, said = BAD[name]
    found, answer = served.post(body)
    assert found == status and answer.keys() == {"error"}
    assert said in answer["error"] and len(answer["error"]) < 500
    good(served, expected)


ELSEWHERE = {
    "another model": ("POST", "/v1/models/other:predict", 404, "The model must be 'shop'"),
    "another version": ("POST", "/v1/models/shop/versions/1:predict", 404, "must be 2"),
    "no version": ("GET", "/v1/models/shop/versions/last", 404, "must be 2. Received: 'last'"),
    "the status of another": ("GET", "/v1/models/other", 404, "Received: 'other'"),
    "another path": ("GET", "/v2", 404, "'/v2' is not served: see /v1/models/shop"),
    "another verb": ("POST", "/v1/models/shop:classify", 404, "Received: ':classify'"),
    "a slash more": ("GET", "/healthz/", 404, "'/healthz/' is not served"),
    "a question by GET": ("GET", "/v1/models/shop:predict", 405, "must be POST. Received: GET"),
    "a question by PUT": ("PUT", "/v1/models/shop:predict", 405, "Received: PUT"),
    "health by POST": ("POST", "/healthz", 405, "The method must be "),
    "a status by DELETE": ("DELETE", "/v1/models/shop", 405, "Received: DELETE"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_wrong_path_or_method_is_told_why(served, name):
    method, path, status, said = ELSEWHERE[name]
    with served.connection() as connection:
        connection.request(method, path, json.dumps(changed()))
        response = connection.getresponse()
        assert response.status == status
        assert said in json.loads(response.read())["error"]
        assert ("Allow" in response.headers) == (status == 405)


def test_compressed_bodies_are_refused(served):
    body = gzip.compress(json.dumps(changed()).encode())
    status, answer = served.post(body, headers={"Content-Encoding": "gzip"})
    assert status == 415 and "Received: Content-Encoding 'gzip'" in answer["error"]


NO_HTTP = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a length that is none": request("{}", length="two"),
    "a negative length": request("{}", length=-2),
    "two lengths": request("{}", headers="Content-Length: 3\r\n"),
    "a length and chunks": b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a long head": b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20_000,
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_told_so_and_the_next_is_answered(served, expected, name):
    with socket.create_connection(served.address, TIMEOUT) as connection:
        connection.sendall(NO_HTTP[name])
        status, _, answer = read_answer(connection)
        assert 400 <= status < 500 and answer.keys() == {"error"}
        assert ends(connection)
    good(served, expected)


def test_more_than_was_announced_is_no_second_question(served):
    body = json.dumps(changed())
    with socket.create_connection(served.address, TIMEOUT) as connection:
        connection.sendall(request(body, f"{served.path}:predict", length=len(body) - 1))
        assert read_answer(connection)[0] == 400
        # The last byte is the first of the next.
        connection.sendall(b"\r\n\r\n")
        assert read_answer(connection)[0] == 400
        assert ends(connection)


def test_slow_clients_are_told_and_hold_up_nobody(served, expected):
    path = f"{served.path}:predict"
    begun = [b"", b"POST", request("{", path, length=2)]
    slow = [socket.create_connection(served.address, 4 * TIMEOUT) for _ in range(30)]
    for i, own in enumerate(slow):
        own.sendall(begun[i % 3])
    good(served, expected)
    for i, own in enumerate(slow):
        with own:
            if i % 3:
                assert read_answer(own)[0] == 408
            else:
                # Who has said nothing is told nothing.
                assert ends(own)
    good(served, expected)


# -- an entry by its folder, and the end


def until_the_end(served, begun, seed):
    """Asks until the server closes the connection, then on another, if there is; every answer."""
    rng, answered = np.random.default_rng(seed), []
    while True:
        try:
            connection = socket.create_connection(served.address, 30)
        except ConnectionError:
            return answered
        with connection:
            last = False
            while not last:
                kept = rng.integers(0, 5, 3)
                body = json.dumps({"inputs": plain(CASE.x, kept)})
                connection.sendall(request(body, f"{served.path}:predict"))
                begun.release()
                status, head, answer = read_answer(connection)
                assert status == 200
                answered.append((kept, answer["outputs"]))
                last = "connection: close" in head


SIGINT = pytest.param(signal.SIGINT, marks=pytest.mark.slow)


# One test, for the start of an entry takes long.
@pytest.mark.parametrize("sent", [signal.SIGTERM, SIGINT])
def test_an_entry_is_served_until_a_signal_comes_and_no_question_is_lost(
    model, expected, sent, tmp_path
):
    zoo.save(model, tmp_path / "shop", CASE.x)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # TensorFlow serves, whatever backend is used elsewhere.
    served = ServeProcess(tmp_path / "shop", KERAS_BACKEND="torch", TMPDIR=str(temporary))
    try:
        assert (served.said["name"], served.said["version"]) == ("shop", 1)
        assert served.said["signatures"] == sorted(TASKS)
        assert [path.name[:14] for path in temporary.iterdir()] == ["mtl-zoo-serve-"]
        begun = threading.Semaphore(0)
        with ThreadPoolExecutor(12) as pool:
            clients = [pool.submit(until_the_end, served, begun, seed) for seed in range(12)]
            for _ in range(100):
                assert begun.acquire(timeout=PATIENCE)
            assert served.end(sent) == (0, "")
        # A question that is lost raises in its client.
        answered = [answer for own in clients for answer in own.result()]
    finally:
        served.kill()
    assert len(answered) >= 100
    for kept, answer in answered:
        assert_answer(answer, expected, kept)
    assert list(temporary.iterdir()) == []
