import keras
import numpy as np
import pytest

from zoo.datasets.columns import Split
from zoo.datasets.words import Words, frequent

TEXTS = np.array(
    [
        s.encode()
        for s in ("play r&b & 80 s rock", "& wine", "", "beyoncé … live !", "a b c d e f g")
    ],
    object,
)
VOCABULARY = ("&", "play", "r&b", "beyoncé", "…", "80")


def column(length=5):
    return Words(TEXTS, VOCABULARY, length, max_tokens=10)


def test_each_word_has_its_position():
    expected = [
        [3, 4, 2, 7, 1],
        [2, 1, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [5, 6, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(column().ids(), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="text needs TensorFlow")
@pytest.mark.parametrize("length", [3, 9])
def test_the_feature_gives_a_model_the_same_ids(length):
    import tensorflow as tf

    words = column(length)
    layer = words.feature().preprocessor("text")
    np.testing.assert_array_equal(layer(tf.constant(TEXTS)), words.ids())
    np.testing.assert_array_equal(
        layer(tf.constant(["PLAY R&B"])), layer(tf.constant(["play r&b"]))
    )
    assert words.feature().max_tokens == 10


def test_take_keeps_the_vocabulary():
    taken = Split({"text": column()}, {"t": np.arange(5)}).take(np.array([3, 0])).inputs["text"]
    assert taken.texts.tolist() == [TEXTS[3], TEXTS[0]]
    assert taken.vocabulary == VOCABULARY and taken.max_tokens == 10
    np.testing.assert_array_equal(taken.ids(), column().ids()[[3, 0]])


def test_words_are_ordered_by_frequency_then_by_the_alphabet():
    texts = [b"b a c c", b"c b a once", "é é".encode()]
    assert frequent(texts) == ("c", "a", "b", "é")
    assert frequent(texts, most=2) == ("c", "a")
