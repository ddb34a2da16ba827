"""joint_text: token and sentence tasks on one encoder, blind for padding and for the future."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import dense, relu, sigmoid
from zoo import joint_text
from zoo.features import Numeric, Text

ENCODERS = ("gru", "lstm", "bilstm", "cnn", "transformer")
FLOAT32 = {"rtol": 1e-4, "atol": 1e-6}  # sums of float32 products through three layers
SIZE = 20
IDS = np.random.default_rng(0).integers(1, SIZE, (3, 6))
LENGTHS = (6, 4, 1)
for row, length in enumerate(LENGTHS):
    IDS[row, length:] = 0


def two_tasks():
    return [mtl.TokenTask("tag", 5), mtl.RegressionTask("mood")]


def small(encoder, tasks=None, inputs=None, **options):
    options = {"embedding": 8, "units": 6, "num_heads": 2} | options
    size = options.pop("vocabulary_size", SIZE)
    return joint_text(tasks or two_tasks(), inputs, size, encoder=encoder, **options)


def outputs(model, ids):
    return {k: keras.ops.convert_to_numpy(v) for k, v in model(ids).items()}


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


# -- outputs against NumPy, one text without padding


def convolution(layer, x):
    kernel, bias = layer.get_weights()
    padded = np.pad(x, ((1, 1), (0, 0)))
    return relu(sum(padded[i : i + len(x)] @ kernel[i] for i in range(3)) + bias)


def recurrence(layer, x):
    kernel, recurrent, bias = layer.get_weights()
    state, states = np.zeros(len(recurrent)), []
    for vector in x:
        given = np.split(vector @ kernel + bias[0], 3)
        kept = np.split(state @ recurrent + bias[1], 3)
        update, reset = (sigmoid(given[i] + kept[i]) for i in range(2))
        state = update * state + (1 - update) * np.tanh(given[2] + reset * kept[2])
        states.append(state)
    return np.stack(states)


def norm(layer, x):
    gamma, beta = layer.get_weights()
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3)
    return gamma * (x - x.mean(axis=-1, keepdims=True)) / spread + beta


def block(layer, x):
    query, query_bias, key, key_bias, value, value_bias, out, out_bias = (
        layer.attention.get_weights()
    )
    mixed = 0
    for head in range(2):
        q = x @ query[:, head] + query_bias[head]
        k = x @ key[:, head] + key_bias[head]
        v = x @ value[:, head] + value_bias[head]
        mixed = mixed + softmax(q @ k.T / np.sqrt(q.shape[1])) @ v @ out[head]
    middle = norm(layer.attention_norm, x + mixed + out_bias)
    hidden = relu(dense(layer.hidden, middle))
    return norm(layer.out_norm, middle + dense(layer.out, hidden))


def waves(length, width):
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width)


@pytest.mark.parametrize(
    "encoder, layer_of",
    [("cnn", convolution), ("gru", recurrence), ("transformer", block)],
    ids=["cnn", "gru", "transformer"],
)
def test_outputs_are_those_of_the_equations(encoder, layer_of):
    model = small(encoder, num_layers=2)
    vectors, *layers = model.get_layer("encoder").layers
    x = vectors.get_weights()[0][IDS[0]]
    if encoder == "transformer":
        x = np.sqrt(8) * x + waves(6, 8)
    for layer in layers:
        x = layer_of(layer, x)
    received = outputs(model, IDS[:1])
    expected = softmax(dense(model.get_layer("tag"), x))
    np.testing.assert_allclose(received["tag"][0], expected, **FLOAT32)
    mood = dense(model.get_layer("mood"), x.mean(axis=0))
    np.testing.assert_allclose(received["mood"][0], mood, **FLOAT32)


# -- padding and the future


def padded_cells():
    usual = dict(zip(ENCODERS, ("mean", "last", "attention", "attention", "mean"), strict=True))
    for encoder in ENCODERS:
        for pooling in ("mean", "last", "attention"):
            for share in (0.7, 1.0):
                slow = pooling != usual[encoder] or share == 1.0
                yield pytest.param(encoder, pooling, share, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize("encoder, pooling, share", padded_cells())
def test_padding_changes_nothing(encoder, pooling, share):
    model = small(encoder, num_layers=2, pooling=pooling, share=share)
    padded = outputs(model, np.pad(IDS, ((0, 0), (0, 3))))
    for row, length in enumerate(LENGTHS):
        alone = outputs(model, IDS[row : row + 1, :length])
        np.testing.assert_allclose(padded["tag"][row, :length], alone["tag"][0], **FLOAT32)
        np.testing.assert_allclose(padded["mood"][row], alone["mood"][0], **FLOAT32)


def reached(model, position):
    """Which positions of the tags change with the token at `position`."""
    changed = IDS[:1].copy()
    changed[0, position] = changed[0, position] % (SIZE - 1) + 1
    before, after = (outputs(model, ids)["tag"][0] for ids in (IDS[:1], changed))
    return np.abs(before - after).max(axis=-1) > 0


@pytest.mark.parametrize("encoder", ["gru", "lstm", "cnn", "transformer"])
def test_a_causal_encoder_reads_no_later_token(encoder):
    model = small(encoder, num_layers=2, causal=True)
    assert list(reached(model, 3)) == [False] * 3 + [True] * 3


@pytest.mark.parametrize("encoder", ["bilstm", "cnn", "transformer"])
def test_another_encoder_reads_ahead(encoder):
    assert reached(small(encoder), 3)[2]


@pytest.mark.parametrize("encoder", ["cnn", "transformer"])
def test_where_the_next_word_is_predicted_the_encoder_is_causal(encoder):
    tasks = [*two_tasks(), mtl.TokenTask("next_word", SIZE)]
    assert not reached(small(encoder, tasks), 3)[:3].any()
    assert reached(small(encoder, tasks, causal=False), 3)[2]


def test_an_encoder_that_would_see_the_next_word_is_refused():
    tasks = [mtl.TokenTask("next_word", SIZE)]
    with pytest.raises(ValueError, match=r"`encoder` must not read ahead.*Received: .*bilstm"):
        small("bilstm", tasks)
    small("bilstm", tasks, causal=False)


def test_labels_at_padded_positions_count_for_nothing():
    model = small("transformer", share=0.5, run_eagerly=True)
    y = {"tag": np.zeros(IDS.shape), "mood": np.zeros(3)}
    logs = model.test_on_batch(IDS, y, return_dict=True)
    assert logs["tag_labels"] == sum(LENGTHS)


def test_a_text_of_padding_alone_has_finite_answers():
    for encoder in ENCODERS:
        for value in outputs(small(encoder), np.zeros((2, 3), int)).values():
            assert np.isfinite(value).all()


# -- structure


def gru(inputs, units):
    return 3 * units * (inputs + units + 2)


def lstm(inputs, units):
    return 4 * units * (inputs + units + 1)


LAYER_SIZES = {
    "gru": [gru(8, 6), gru(6, 6)],
    "lstm": [lstm(8, 6), lstm(6, 6)],
    "bilstm": [2 * lstm(8, 6), 2 * lstm(12, 6)],
    "cnn": [3 * 8 * 6 + 6, 3 * 6 * 6 + 6],
    "transformer": [4 * (8 * 8 + 8) + (8 * 6 + 6) + (6 * 8 + 8) + 4 * 8] * 2,
}
WIDTHS = {"gru": 6, "lstm": 6, "bilstm": 12, "cnn": 6, "transformer": 8}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_parameters_are_counted(encoder):
    blocks = [SIZE * 8, *LAYER_SIZES[encoder]]
    width = WIDTHS[encoder]
    heads, attention = (5 + 1) * (width + 1), width * (width + 1) + width
    # Of three layers with two tasks, the upper ones twice.
    for share, shared in ((0.0, 0), (0.3, 1), (0.6, 2), (1.0, 3)):
        model = small(encoder, num_layers=2, share=share, pooling="attention")
        expected = sum(blocks[:shared]) + 2 * sum(blocks[shared:]) + heads + attention
        assert model.count_params() == expected


def test_layers_are_named_by_role():
    model = small("gru", num_layers=2, share=0.6, dropout=0.1)
    names = {layer.name for layer in model.layers}
    assert names == {"tokens", "encoder", "tag_tower", "mood_tower", "mood_pool", "tag", "mood"}
    inner = [layer.name for layer in model.get_layer("encoder").layers]
    assert inner == ["vectors", "vectors_dropout", "gru_0", "gru_dropout_0"]


def test_share_0_gives_separate_networks():
    model = small("cnn", share=0.0)
    owned = [{id(v) for v in model.get_layer(f"{t}_tower").variables} for t in ("tag", "mood")]
    assert all(owned) and not owned[0] & owned[1]


# -- inputs and encoders of other kinds


def test_a_length_and_an_input_of_ones_own_are_read():
    assert small("gru", inputs=6).input_shape == (None, 6)
    mine = keras.Input((None,), dtype="int32", name="mine")
    assert [x.name for x in small("gru", inputs=mine).inputs] == ["mine"]


def test_a_layer_reads_the_vectors():
    encoder = keras.layers.GRU(4, return_sequences=True, name="mine")
    model = small(encoder)
    assert model.get_layer("encoder").layers[-1] is encoder
    np.testing.assert_allclose(
        outputs(model, IDS)["mood"],
        outputs(model, np.pad(IDS, ((0, 0), (0, 2))))["mood"],
        **FLOAT32,
    )


def pretrained():
    ids = keras.Input((None,), dtype="int32")
    words = keras.layers.Embedding(SIZE, 4)(ids)
    return keras.Model(ids, {"sequence_output": words, "pooled_output": words[:, 0]}, name="mine")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_pretrained_model_reads_the_ids_and_keeps_its_weights(share):
    encoder = pretrained()
    model = small(encoder, embedding=None, vocabulary_size=None, share=share)
    vectors = encoder.get_weights()[0][IDS]
    received = outputs(model, IDS)
    np.testing.assert_allclose(
        received["tag"], softmax(dense(model.get_layer("tag"), vectors)), **FLOAT32
    )
    np.testing.assert_allclose(
        received["mood"], dense(model.get_layer("mood"), vectors[:, 0]), **FLOAT32
    )


def test_pretrained_layers_keep_their_weights_when_copied():
    trained = keras.layers.Dense(4)
    trained.build((None, None, 8))
    model = small(trained, share=0.0)
    for task in ("tag", "mood"):
        copy = model.get_layer(f"{task}_tower").layers[-1]
        assert copy is not trained
        np.testing.assert_array_equal(copy.get_weights()[0], trained.get_weights()[0])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="strings need TensorFlow")
def test_a_text_is_read():
    text = Text(vocabulary=("good", "bad"), max_tokens=4, sequence_length=5)
    model = small("gru", inputs={"review": text}, vocabulary_size=None)
    received = model.predict({"review": np.array(["Good", "bad film", ""])}, verbose=0)
    assert received["tag"].shape == (3, 5, 5)
    np.testing.assert_allclose(
        received["mood"][2], model.get_layer("mood").get_weights()[1], **FLOAT32
    )


BAD = {
    "encoder": ({"encoder": "rnn"}, r"`encoder` must be one of.*Received: encoder='rnn'"),
    "pooling": ({"pooling": "max"}, r"`pooling` must be one of.*Received: pooling='max'"),
    "layers": ({"num_layers": 0}, r"`num_layers` must be.*Received: num_layers=0"),
    "embedding": ({"embedding": None}, r"`embedding` must be.*Received: embedding=None"),
    "size": ({"vocabulary_size": None}, r"`vocabulary_size` must be given.*Received: "),
    "share": ({"share": 2}, r"`share` must be.*Received: share=2"),
    "causal layer": (
        {"encoder": keras.layers.Dense(3), "causal": True},
        r"`causal` goes with the name.*Received: causal=True",
    ),
    "features": (
        {"inputs": {"age": Numeric(mean=0.0, variance=1.0)}},
        r"`inputs` must be one.*Received: inputs=",
    ),
    "rank": ({"inputs": (3, 4)}, r"`inputs` must be one.*Received: inputs=\(3, 4\)"),
    "another size": (
        {"inputs": {"review": Text(max_tokens=50)}},
        r"`vocabulary_size` is that of the text feature, 50.*Received: vocabulary_size=20",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        small(**{"encoder": "gru"} | options)
