import base64
import json

import numpy as np
import pytest

from zoo.serving.refusal import Refusal
from zoo.serving.tensor_format import NotFinite, TensorFormat


def made(kind, dtype, shape, name="x"):
    return TensorFormat(name, kind, np.dtype(dtype), shape)


FLOATS = made("float", "float32", (None,))
BYTES = made("integer", "uint8", (None,))
LONGS = made("integer", "int64", (None,))
TEXTS = made("string", object, (None,))
FLAGS = made("bool", bool, (None,))
PAIRS = made("float", "float32", (None, 2))


@pytest.mark.parametrize(
    ("own", "value", "expected"),
    [
        (FLOATS, [1, 2.5, -3e38], [1, 2.5, -3e38]),
        (FLOATS, [10**30], [1e30]),
        (BYTES, [0, 255], [0, 255]),
        (LONGS, [-(2**63), 2**63 - 1, 2**53 + 1], [-(2**63), 2**63 - 1, 2**53 + 1]),
        (FLAGS, [True, False], [True, False]),
        (TEXTS, ["", "Köln"], [b"", "Köln".encode()]),
        (TEXTS, [{"b64": "AP8="}, "AP8="], [b"\x00\xff", b"AP8="]),
        (PAIRS, [[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]),
        (made("float", "float32", ()), 3, 3),
        (made("float", "float32", None), [[[1], [2]]], [[[1], [2]]]),
        (made("string", object, None), "one", b"one"),
        (made("float", "float32", (None, None)), [[], []], np.zeros((2, 0))),
        (made("float", "float32", (None, 3)), [], np.zeros((0, 3))),
    ],
)
def test_values_of_the_kind_become_an_array_of_the_dtype(own, value, expected):
    found = own.array(value)
    assert found.dtype == own.dtype
    np.testing.assert_array_equal(found, np.array(expected, own.dtype))


def test_numbers_that_are_not_finite_may_be_written_so():
    found = FLOATS.array([NotFinite("nan"), NotFinite("inf"), NotFinite("-inf"), 1])
    np.testing.assert_array_equal(found, np.array([np.nan, np.inf, -np.inf, 1], "float32"))


@pytest.mark.parametrize(
    ("own", "value", "said"),
    [
        (FLOATS, ["1"], "Received: '1' at [0]"),
        (FLOATS, [1, True], "Received: True at [1]"),
        (FLOATS, [1, None], "Received: None at [1]"),
        (FLOATS, [1, {"b64": "AA=="}], "at [1]"),
        (FLOATS, [1e39], "in range. Received: 1e+39"),
        # As `json` reads 1e400, which nobody wrote as Infinity.
        (FLOATS, [1, float("inf")], "in range. Received: inf at [1]"),
        (FLOATS, [1, 10**400], "at [1]"),
        (BYTES, [256], "Received: 256"),
        (BYTES, [3, -1], "Received: -1 at [1]"),
        (BYTES, [1.0], "Received: 1.0"),
        (LONGS, [2**63], f"Received: {2**63}"),
        (LONGS, [True], "Received: True"),
        (LONGS, [NotFinite("nan")], "Received: nan"),
        (FLAGS, [1], "true or false"),
        (TEXTS, [1], "texts"),
        (TEXTS, ["fine", {"b64": "%%"}], "Received: {'b64': '%%'} at [1]"),
        (TEXTS, [{"b64": 1}], "Received: {'b64': 1}"),
        (TEXTS, [{"b64": "", "more": 1}], "at [0]"),
        (TEXTS, ["\ud800"], r"Received: '\ud800' at [0]"),
        (FLOATS, 1, "float32 of shape (rows,)"),
        (FLOATS, [[1]], "Received: [1] at [0]"),
        (FLOATS, {"0": 1}, "nested lists"),
        (PAIRS, [[1, 2], [3]], "with lists of lengths [1, 2] in one"),
        (PAIRS, [[1, 2, 3]], "float32 of shape (rows, 2)"),
        (PAIRS, [[1, 2], 3], "shape (rows, 2)"),
        (PAIRS, [1, 2], "shape (rows, 2)"),
        (PAIRS, [[1, 2], [3, [4]]], "Received: [4] at [1][1]"),
        (made("float", "float32", None), [[1], [1, 2]], "float32 of any shape"),
        (made("float", "float32", None), [1, [2]], "float32 of any shape"),
        (made("", "complex64", (None,)), [1], "which JSON cannot say"),
    ],
)
def test_all_else_is_refused_by_name_expectation_and_value(own, value, said):
    with pytest.raises(Refusal) as refused:
        own.array(value)
    assert refused.value.status == 400
    assert "Input 'x'" in refused.value.reason and said in refused.value.reason


def test_depth_costs_no_stack():
    value = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Refusal):
        made("float", "float32", None).array(value)
    # Python would take a stack to free it.
    while isinstance(value, list):
        (value,) = value


def test_what_is_received_is_cut_short():
    with pytest.raises(Refusal) as refused:
        PAIRS.array([["x" * 10_000] * 3] * 1000)
    assert len(refused.value.reason) < 400


@pytest.mark.parametrize("own", [FLOATS, LONGS, FLAGS, TEXTS, PAIRS], ids=str)
def test_what_is_written_is_read_as_it_was(own):
    values = np.array([[1, 0], [1, 1], [0, 0]]).astype(own.dtype)
    if own is TEXTS:
        values = np.array([[b"a", b"\xff"], [b"", "ä".encode()], [b"1", b"{}"]], object)
    values = values[:, 0] if len(own.shape) == 1 else values
    values = np.array([*values, *values[:1]], own.dtype)
    found = own.array(json.loads(json.dumps(own.values(values), allow_nan=False)))
    np.testing.assert_array_equal(found, values)


def test_floats_are_written_without_loss():
    values = np.random.default_rng(0).normal(size=1000).astype("float32")
    np.testing.assert_array_equal(
        FLOATS.array(json.loads(json.dumps(FLOATS.values(values)))), values
    )


def test_json_has_no_number_that_is_not_finite():
    assert FLOATS.values(np.array([1, np.nan, -np.inf], "float32")) == [1.0, None, None]


def test_strings_that_are_no_text_or_are_called_bytes_are_written_in_base64():
    assert TEXTS.values(np.array([b"\xff", b"fine"], object)) == [{"b64": "/w=="}, "fine"]
    own = made("string", object, (None,), "image_bytes")
    assert own.values(np.array([b"fine"], object)) == [{"b64": base64.b64encode(b"fine").decode()}]


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("float32", "float"),
        ("float16", "float"),
        ("bfloat16", "float"),
        ("int32", "integer"),
        ("uint8", "integer"),
        ("bool", "bool"),
        ("string", "string"),
        ("complex64", ""),
    ],
)
def test_the_kind_of_a_spec(dtype, kind):
    import tensorflow as tf

    own = TensorFormat.of("x", tf.TensorSpec((None, 2), dtype))
    assert (own.kind, own.shape, own.by_rows) == (kind, (None, 2), True)
    assert str(own) == f"{dtype} of shape (rows, 2)"


def test_half_precision_there_and_back():
    import tensorflow as tf

    own = TensorFormat.of("x", tf.TensorSpec((None,), "bfloat16"))
    array = own.array([0.5, -2])
    assert array.dtype == own.dtype and own.values(array) == [0.5, -2.0]
    assert not TensorFormat.of("x", tf.TensorSpec(None)).by_rows
    assert not TensorFormat.of("x", tf.TensorSpec((4,))).by_rows
