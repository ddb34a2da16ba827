"""Feature kinds: each encoding against NumPy, and statistics that are learned from data."""

import keras
import numpy as np
import pytest

from zoo.builders.inputs import encode_inputs
from zoo.features import Categorical, Image, Numeric, Text

BACKEND = keras.backend.backend()
needs_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="vocabularies need the TensorFlow backend"
)
other_backends = pytest.mark.skipif(
    BACKEND == "tensorflow", reason="the TensorFlow backend has vocabularies"
)
AGES = np.array([20.0, 31.0, 44.0, 58.0, 90.0], "float32")
SHOPS = ["bakery", "café", "bakery", "florist", "bakery"]


def encode(features, values, adapt=None, as_vector=True):
    inputs, encoded = encode_inputs(features, adapt, as_vector)
    values = {name: tensor(value) for name, value in values.items()}
    return keras.Model(inputs, encoded).predict(values, verbose=0)


def tensor(value):
    value = np.asarray(value)
    if value.dtype.kind in "US":
        import tensorflow as tf

        # Keras takes no NumPy strings.
        return tf.constant(value)
    return value


def stream(columns, batch_size):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(columns).batch(batch_size)


def one_hot(ids, width):
    return np.eye(width, dtype="float32")[np.asarray(ids)]


def standardised(values):
    values = np.asarray(values, "float64")
    return (values - values.mean(axis=0)) / values.std(axis=0)


# -- Numeric


def test_a_number_is_standardised():
    encoded = encode({"age": Numeric(mean=40.0, variance=25.0)}, {"age": AGES})
    np.testing.assert_allclose(encoded, ((AGES - 40) / 5)[:, None], rtol=1e-6)


def test_an_array_is_standardised_by_channel():
    values = np.random.default_rng(0).normal(3, 2, (4, 5, 2)).astype("float32")
    feature = Numeric(mean=[3.0, 1.0], variance=[4.0, 9.0], shape=(5, 2))
    expected = (values - [3.0, 1.0]) / [2.0, 3.0]
    encoded = encode({"signal": feature}, {"signal": values})
    # float32 arithmetic of numbers around 3.
    np.testing.assert_allclose(encoded, expected.reshape(4, 10), rtol=1e-5, atol=1e-6)


def test_a_constant_number_becomes_zero():
    encoded = encode({"age": Numeric(mean=7.0, variance=0.0)}, {"age": np.full(3, 7.0, "float32")})
    np.testing.assert_array_equal(encoded, np.zeros((3, 1)))


def test_number_statistics_are_learned_from_an_array():
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt={"age": AGES})
    np.testing.assert_allclose(encoded[:, 0], standardised(AGES), rtol=1e-5)


def test_number_statistics_are_learned_from_a_column():
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt={"age": AGES[:, None]})
    np.testing.assert_allclose(encoded, standardised(AGES)[:, None], rtol=1e-5)


def test_number_statistics_are_learned_from_a_list():
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt={"age": AGES.tolist()})
    np.testing.assert_allclose(encoded, standardised(AGES)[:, None], rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_number_statistics_are_learned_from_batches_of_any_size(batch_size):
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt=stream({"age": AGES}, batch_size))
    np.testing.assert_allclose(encoded[:, 0], standardised(AGES), rtol=1e-5)


def test_number_statistics_are_learned_from_rows_of_a_stream():
    adapt = stream({"age": AGES}, 2).unbatch()
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt=adapt)
    np.testing.assert_allclose(encoded[:, 0], standardised(AGES), rtol=1e-5)


def test_labels_beside_adapt_are_ignored():
    adapt = stream(({"age": AGES}, {"clicked": np.zeros(5)}), 2)
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt=adapt)
    np.testing.assert_allclose(encoded[:, 0], standardised(AGES), rtol=1e-5)


def test_other_columns_of_adapt_are_ignored():
    encoded = encode({"age": "numeric"}, {"age": AGES}, adapt={"id": SHOPS, "age": AGES})
    np.testing.assert_allclose(encoded[:, 0], standardised(AGES), rtol=1e-5)


def test_array_statistics_are_learned_by_channel():
    values = np.random.default_rng(0).normal([[5.0, -2.0]], [[1.0, 7.0]], (9, 4, 2))
    values = values.astype("float32")
    adapted = Numeric(shape=(4, 2)).adapted([values[:4], values[4:]])
    np.testing.assert_allclose(adapted.mean, values.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(adapted.variance, values.var(axis=(0, 1)), rtol=1e-5)


def test_variance_far_from_zero_is_exact():
    # E[x^2] - E[x]^2 would lose every digit here.
    values = 1e8 + np.arange(10.0)
    adapted = Numeric().adapted([values[:3], values[3:]])
    assert adapted.mean == pytest.approx(1e8 + 4.5)
    assert adapted.variance == pytest.approx(8.25)


def test_given_statistics_are_not_learned_again():
    feature = Numeric(mean=0.0, variance=1.0)
    encoded = encode({"age": feature}, {"age": AGES}, adapt={"age": AGES})
    np.testing.assert_array_equal(encoded[:, 0], AGES)


# -- Categorical


def test_an_id_is_one_hot():
    encoded = encode({"shop": Categorical(num_categories=4)}, {"shop": np.array([3, 0, 1])})
    np.testing.assert_array_equal(encoded, one_hot([3, 0, 1], 4))


@needs_tensorflow
def test_a_string_is_one_hot_after_a_column_for_the_unknown():
    feature = Categorical(vocabulary=("bakery", "café"))
    encoded = encode({"shop": feature}, {"shop": ["café", "nowhere", "bakery", ""]})
    np.testing.assert_array_equal(encoded, one_hot([2, 0, 1, 0], 3))


@needs_tensorflow
def test_an_integer_is_looked_up_in_its_vocabulary():
    feature = Categorical(vocabulary=(70, 50))
    encoded = encode({"zip": feature}, {"zip": np.array([50, 70, 71])})
    np.testing.assert_array_equal(encoded, one_hot([2, 1, 0], 3))


@needs_tensorflow
def test_minus_one_may_be_a_category():
    feature = Categorical(vocabulary=(-1, 0))
    encoded = encode({"flag": feature}, {"flag": np.array([-1, 0, 5])})
    np.testing.assert_array_equal(encoded, one_hot([1, 2, 0], 3))


@needs_tensorflow
def test_a_vocabulary_of_numpy_integers_is_one_of_integers():
    feature = Categorical(vocabulary=np.array([70, 50]))
    encoded = encode({"zip": feature}, {"zip": np.array([50, 70, 71])})
    np.testing.assert_array_equal(encoded, one_hot([2, 1, 0], 3))


@needs_tensorflow
@pytest.mark.parametrize(
    "adapt",
    [
        {"shop": SHOPS},
        {"shop": np.array(SHOPS)},
        {"shop": np.array(SHOPS, dtype=object)},
        {"shop": np.array(SHOPS)[:, None]},
    ],
    ids=["list", "strings", "objects", "column"],
)
def test_categories_are_learned_most_frequent_first(adapt):
    encoded = encode({"shop": "categorical"}, {"shop": [*SHOPS, "nowhere"]}, adapt)
    np.testing.assert_array_equal(encoded, one_hot([1, 2, 1, 3, 1, 0], 4))


@needs_tensorflow
@pytest.mark.parametrize("batch_size", [2, 5])
def test_categories_are_learned_from_a_stream(batch_size):
    adapt = stream(({"shop": SHOPS}, np.zeros(5)), batch_size)
    encoded = encode({"shop": "categorical"}, {"shop": [*SHOPS, "nowhere"]}, adapt)
    np.testing.assert_array_equal(encoded, one_hot([1, 2, 1, 3, 1, 0], 4))


@needs_tensorflow
def test_integer_categories_are_learned():
    values = np.array([7, 9, 9])
    encoded = encode({"zip": "categorical"}, {"zip": np.array([9, 7, 8])}, {"zip": values})
    np.testing.assert_array_equal(encoded, one_hot([1, 2, 0], 3))


# -- Text


def text():
    return Text(
        vocabulary=("good", "bad", "film"), max_tokens=5, sequence_length=4, embedding_dim=3
    )


def average_of_words(ids, table):
    """The mean of the vectors of the words, padding 0 left out; 0 without words."""
    return np.stack(
        [table[row[row != 0]].mean(axis=0) if row.any() else 0 * table[0] for row in ids]
    )


@needs_tensorflow
def test_text_is_ids_padded_and_cut():
    texts = ["Good film!", "bad, dull film", "", "film film film film good"]
    encoded = encode({"review": text()}, {"review": texts}, as_vector=False)
    expected = [[2, 4, 0, 0], [3, 1, 4, 0], [0, 0, 0, 0], [4, 4, 4, 4]]
    np.testing.assert_array_equal(encoded, expected)


@needs_tensorflow
@pytest.mark.parametrize(
    ("standardize", "expected"),
    [
        ("lower_and_strip_punctuation", [2, 3, 0, 0]),
        ("lower", [2, 4, 3, 0]),
        ("strip_punctuation", [1, 3, 0, 0]),
        (None, [1, 4, 3, 0]),
    ],
)
def test_words_of_punctuation_keep_their_place_unless_stripped(standardize, expected):
    feature = Text(("good", "film", "&"), 5, sequence_length=4, standardize=standardize)
    encoded = encode({"review": feature}, {"review": ["Good & film"]}, as_vector=False)
    np.testing.assert_array_equal(encoded, [expected])


@needs_tensorflow
def test_text_as_vector_averages_the_words_without_padding():
    inputs, encoded = encode_inputs({"review": text()})
    model = keras.Model(inputs, encoded)
    (table,) = model.get_weights()
    texts = tensor(["Good film!", "bad, dull film", "film film film film good"])
    expected = average_of_words(np.array([[2, 4, 0], [3, 1, 4], [4, 4, 4]]), table)
    np.testing.assert_allclose(model.predict({"review": texts}, verbose=0), expected, rtol=1e-5)


@needs_tensorflow
def test_text_without_words_is_the_zero_vector():
    encoded = encode({"review": text()}, {"review": ["", "   ", "!"]})
    np.testing.assert_array_equal(encoded, np.zeros((3, 3)))


@needs_tensorflow
@pytest.mark.parametrize("streamed", [False, True])
def test_words_are_learned_most_frequent_first(streamed):
    texts = ["a film", "a bad film, a", "A"]
    adapt = stream({"review": texts}, 2) if streamed else {"review": texts}
    feature = Text(sequence_length=3)
    encoded = encode({"review": feature}, {"review": ["bad a film", "new"]}, adapt, as_vector=False)
    np.testing.assert_array_equal(encoded, [[4, 2, 3], [1, 0, 0]])


@needs_tensorflow
def test_words_are_learned_of_what_is_standardised():
    adapt = {"review": ["A & a & &"]}
    feature = Text(sequence_length=4, standardize="lower")
    encoded = encode({"review": feature}, {"review": ["a A & b"]}, adapt, as_vector=False)
    np.testing.assert_array_equal(encoded, [[3, 3, 2, 1]])


@needs_tensorflow
def test_no_more_words_are_learned_than_max_tokens():
    adapt = {"review": ["a a a b b c"]}
    feature = Text(sequence_length=3, max_tokens=4)
    encoded = encode({"review": feature}, {"review": ["a b c"]}, adapt, as_vector=False)
    np.testing.assert_array_equal(encoded, [[2, 3, 1]])


# -- Image


def test_an_image_is_scaled():
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 1)).astype("uint8")
    encoded = encode({"photo": Image((3, 4, 1))}, {"photo": image}, as_vector=False)
    np.testing.assert_allclose(encoded, image / 255, rtol=1e-6)


def test_an_image_as_vector_is_flat():
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 1)).astype("float32")
    encoded = encode({"photo": Image((3, 4, 1), scale=2.0)}, {"photo": image})
    np.testing.assert_allclose(encoded, 2 * image.reshape(2, 12), rtol=1e-6)


# -- several


def test_features_lie_side_by_side_in_the_order_given():
    features = {
        "shop": Categorical(num_categories=2),
        "age": Numeric(mean=40.0, variance=25.0),
        "photo": Image((1, 2, 1), scale=1.0),
    }
    values = {
        "age": np.array([45.0, 40.0], "float32"),
        "photo": np.array([[[[5.0], [6.0]]], [[[7.0], [8.0]]]], "float32"),
        "shop": np.array([1, 0]),
    }
    np.testing.assert_allclose(encode(features, values), [[0, 1, 1, 5, 6], [1, 0, 0, 7, 8]])


# -- wrong arguments


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Numeric(mean=1.0), "`variance`"),
        (lambda: Numeric(variance=1.0), "`mean`"),
        (lambda: Numeric(mean=np.nan, variance=1.0), "`mean`"),
        (lambda: Numeric(mean=1.0, variance=-1.0), "`variance`"),
        (lambda: Numeric(mean=1.0, variance=np.nan), "`variance`"),
        (lambda: Categorical(vocabulary=("a",), num_categories=1), "`num_categories`"),
        (lambda: Categorical(num_categories=0), "`num_categories`"),
        (lambda: Categorical(vocabulary=()), "`vocabulary`"),
        (lambda: Categorical(vocabulary=("a", "a")), "`vocabulary`"),
        (lambda: Categorical(vocabulary="abc"), "`vocabulary`"),
        (lambda: Text(vocabulary="words.txt"), "`vocabulary`"),
        (lambda: Text(standardize="upper"), "`standardize`"),
        (lambda: Image((3, 4)), "`shape`"),
        (lambda: Image(3), "`shape`"),
    ],
)
def test_a_wrong_argument_is_named(make, named):
    with pytest.raises(ValueError, match="Received: ") as error:
        make()
    assert named in str(error.value)


@pytest.mark.parametrize(
    "feature",
    [
        "numeric",
        Numeric(),
        pytest.param("categorical", marks=needs_tensorflow),
        pytest.param("text", marks=needs_tensorflow),
    ],
)
def test_missing_statistics_name_the_feature(feature):
    with pytest.raises(ValueError, match=r"Feature 'age' has no statistics.*`adapt`.*Received: "):
        encode_inputs({"age": feature})


@pytest.mark.parametrize(
    "adapt",
    [
        {"weight": AGES},
        AGES,
        lambda: stream({"weight": AGES}, 2),
        lambda: stream(AGES, 2),
    ],
    ids=["dict without it", "array", "stream without it", "stream of arrays"],
)
def test_adapt_must_hold_the_feature(adapt):
    adapt = adapt() if callable(adapt) else adapt
    with pytest.raises(ValueError, match=r"Feature 'age'.*`adapt`.*Received: "):
        encode_inputs({"age": "numeric"}, adapt)


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        ("numeric", np.zeros(0)),
        ("numeric", np.array([1.0, np.nan])),
        (Numeric(shape=(2,)), np.zeros((4, 3))),
        ("numeric", ["young", "old"]),
        pytest.param("categorical", np.array([0.5, 1.5]), marks=needs_tensorflow),
        pytest.param("categorical", np.zeros(0, "U1"), marks=needs_tensorflow),
    ],
    ids=["no rows", "NaN", "other shape", "words", "real categories", "no categories"],
)
def test_values_that_nothing_can_be_learned_from_name_the_feature(feature, values):
    with pytest.raises(ValueError, match="Feature 'age' cannot learn from `adapt`"):
        encode_inputs({"age": feature}, {"age": values})


@pytest.mark.parametrize("feature", ["image", "nonsense", 3, None, Image])
def test_an_unknown_kind_names_the_feature(feature):
    with pytest.raises(ValueError, match=r"Feature 'photo' must be one of .*Received: "):
        encode_inputs({"photo": feature})


@pytest.mark.parametrize("name", ["hours per week", "a/b", "", 7])
def test_a_name_that_cannot_be_exported_is_refused(name):
    with pytest.raises(ValueError, match=r"Names of features must be.*Received: "):
        encode_inputs({name: Numeric(mean=0.0, variance=1.0)})


@other_backends
@pytest.mark.parametrize("feature", ["categorical", "text", Categorical(vocabulary=("a",))])
def test_vocabularies_are_refused_on_other_backends(feature):
    with pytest.raises(ValueError, match=f"Feature 'shop'.*TensorFlow.*Received: .*{BACKEND}"):
        encode_inputs({"shop": feature}, {"shop": SHOPS})
