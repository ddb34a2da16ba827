"""What every adapter does with the layer that it is put around."""

import json

import keras
import numpy as np
import pytest

from conformance.layer_masks import ReadMask
from mtl_keras.layers.hyper_adapter import HyperAdapter
from mtl_keras.layers.low_rank_task_adapter import LowRankTaskAdapter
from mtl_keras.layers.task_adapter import TaskAdapter

MAKE = {
    "TaskAdapter": lambda layer, **more: TaskAdapter(2, 2, layer=layer, **more),
    "LowRankTaskAdapter": lambda layer, **more: LowRankTaskAdapter(layer, 2, 2, **more),
    "HyperAdapter": lambda layer, **more: HyperAdapter(2, 2, 3, layer=layer, **more),
}
FEATURES = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
IDS = np.array([0, 1, 1], "int32")


@pytest.fixture(params=MAKE.values(), ids=MAKE.keys())
def make(request):
    return request.param


def model_of(layer):
    x, ids = keras.Input(FEATURES.shape[1:]), keras.Input((), dtype="int32")
    return keras.Model([x, ids], layer(x, ids))


def randomise(layer):
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])


def test_a_trained_layer_keeps_its_weights(make):
    dense = keras.layers.Dense(5)
    plain = keras.ops.convert_to_numpy(dense(FEATURES))
    layer = make(dense)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(FEATURES, IDS)), plain)
    assert layer.layer is dense


def test_a_frozen_layer_stays_frozen(make):
    dense = keras.layers.Dense(5, name="inner", trainable=False)
    layer = make(dense)
    layer(FEATURES, IDS)
    assert len(layer.non_trainable_weights) == 2
    assert not [w for w in layer.trainable_weights if "inner" in w.path]
    assert layer.trainable_weights


def test_the_layer_is_saved_inside(make, tmp_path):
    layer = make(keras.layers.Dense(5, name="inner"), name="outer")
    model = model_of(layer)
    randomise(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [w.path for w in loaded.weights] == [w.path for w in model.weights]
    found, want = (m.predict([FEATURES, IDS], verbose=0) for m in (loaded, model))
    np.testing.assert_array_equal(found, want)


def test_a_revived_layer_does_not_share_weights(make):
    layer = make(keras.layers.Dense(5, name="inner"))
    layer(FEATURES, IDS)
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    twin = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(twin.layer) is keras.layers.Dense
    assert twin.layer is not layer.layer
    assert twin.layer.units == 5


def test_open_positions_are_adapted(make):
    x, ids = keras.Input((None, 4)), keras.Input((), dtype="int32")
    layer = make(keras.layers.Dense(5))
    model = keras.Model([x, ids], layer(x, ids))
    assert model.output_shape == (None, None, 5)
    randomise(layer)
    vectors = keras.ops.convert_to_numpy(layer(FEATURES, IDS))
    for length in (1, 3):
        sequences = np.repeat(FEATURES[:, None], length, axis=1)
        found = model.predict([sequences, IDS], verbose=0)
        # Vectors and positions take the same sums in another order.
        np.testing.assert_allclose(found[:, -1], vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_layer_may_have_another_policy(make, policy):
    outputs = make(keras.layers.Dense(5), dtype=policy)(FEATURES, IDS)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")


def test_the_layer_hears_of_training_and_of_masks():
    class Listener(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.heard = None

        def call(self, inputs, training=None, mask=None):
            self.heard = training, mask is not None
            return keras.ops.sum(inputs, 1)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], input_shape[2])

        def compute_mask(self, inputs, previous_mask=None):
            return None

    listener = Listener()
    sequences = keras.layers.Masking()(np.ones((3, 2, 4), "float32"))
    outputs = TaskAdapter(2, 2, layer=listener)(sequences, IDS, training=True)
    assert listener.heard == (True, True)
    assert outputs.shape == (3, 4)
    probe = ReadMask()
    probe(outputs)
    assert probe.mask is None


def test_a_dropout_inside_drops_in_training_only():
    layer = TaskAdapter(2, 2, layer=keras.layers.Dropout(0.5, seed=0))
    inference, training = (
        keras.ops.convert_to_numpy(layer(FEATURES, IDS, training=t)) for t in (False, True)
    )
    np.testing.assert_array_equal(inference, FEATURES)
    assert (training == 0).any()
