"""dense_prediction: an encoder-decoder with heads at pixels, cut anywhere between tasks."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
from conformance.network_statements import dense, relu
from zoo import dense_prediction
from zoo.features import Image, Numeric

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # sums of some hundred float32 products


def pixel_tasks():
    return [
        mtl.CategoricalTask("segmentation", 3, positions=2),
        mtl.RegressionTask("depth", positions=2),
        mtl.DirectionTask("normals", positions=2),
        mtl.BinaryTask("indoors"),
    ]


def images(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def outputs(model, x):
    return {k: keras.ops.convert_to_numpy(v) for k, v in model(x).items()}


# -- outputs against NumPy


def convolution(layer, x):
    kernel, bias = layer.get_weights()
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return bias + sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def two_convolutions(model, name, x):
    for layer in model.get_layer(name).layers:
        x = relu(convolution(layer, x))
    return x


def halved(x):
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def forward(model, x, prefix=""):
    """Full resolution, half of it, and back."""
    fine = two_convolutions(model, "encoder_0", x)
    coarse = two_convolutions(model, "encoder_1", halved(fine))
    up = coarse.repeat(2, axis=1).repeat(2, axis=2)
    found = {"coarse": coarse}
    for task in ("segmentation", "depth", "normals"):
        decoder = f"{task}_decoder_0" if prefix else "decoder_0"
        found[task] = two_convolutions(model, decoder, np.concatenate([up, fine], axis=-1))
    return found


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_outputs_are_those_of_the_equations(share):
    model, x = dense_prediction(pixel_tasks(), (4, 6, 2), [4, 5], share=share), images(2, 4, 6, 2)
    maps = forward(model, x, prefix="task" if share < 1 else "")
    logits = {
        task: dense(model.get_layer(task), maps[task])
        for task in ("segmentation", "depth", "normals")
    }
    shares = np.exp(logits["segmentation"])
    pooled = dense(model.get_layer("indoors"), maps["coarse"].mean(axis=(1, 2)))
    normals = logits["normals"]
    expected = {
        "segmentation": shares / shares.sum(axis=-1, keepdims=True),
        "depth": logits["depth"],
        # Where all channels of a pixel are 0 there is no direction.
        "normals": normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-3),
        "indoors": 1 / (1 + np.exp(-pooled)),
    }
    received = outputs(model, x)
    for task, value in expected.items():
        np.testing.assert_allclose(received[task], value, err_msg=task, **FLOAT32)


# -- the share


def two_3x3(inputs, units):
    return 9 * inputs * units + units + 9 * units * units + units


@pytest.mark.parametrize(
    "share, shared", [(0.0, 0), (0.2, 1), (0.4, 2), (0.6, 3), (0.8, 4), (1.0, 5)]
)
def test_parameters_are_counted(share, shared):
    tasks = pixel_tasks()[:2]
    model = dense_prediction(tasks, (8, 8, 2), [3, 4, 5], share=share)
    levels = [two_3x3(2, 3), two_3x3(3, 4), two_3x3(4, 5), two_3x3(5 + 4, 4), two_3x3(4 + 3, 3)]
    heads = (3 + 1) * (3 + 1)
    assert model.count_params() == sum(levels[:shared]) + 2 * sum(levels[shared:]) + heads


def test_separate_networks_have_names_of_their_own():
    model = dense_prediction(pixel_tasks()[:2], (4, 4, 2), [3, 4], share=0.0)
    names = {layer.name for layer in model.layers if layer.weights}
    parts = ("encoder_0", "encoder_1", "decoder_0")
    owned = {f"{task}_{part}" for task in ("segmentation", "depth") for part in parts}
    assert names == owned | {"segmentation", "depth"}


def test_one_network_is_named_by_role():
    model = dense_prediction(pixel_tasks()[:2], (4, 4, 2), [3, 4], dropout=0.1)
    names = {layer.name for layer in model.layers}
    pool = {"encoder_1_pool", "decoder_0_up", "decoder_0_skip"}
    levels = {"encoder_0", "encoder_1", "decoder_0"}
    assert names == {"features", "segmentation", "depth"} | levels | pool
    inner = [layer.name for layer in model.get_layer("encoder_0").layers]
    assert inner == ["convolution_0", "convolution_1", "dropout"]


def test_a_row_task_alone_needs_no_decoder():
    model = dense_prediction([mtl.BinaryTask("indoors")], (4, 4, 2), [3, 4])
    assert not [layer.name for layer in model.layers if "decoder" in layer.name]


# -- a model as encoder, and other inputs


def backbone():
    image = keras.Input((8, 8, 2))
    half = keras.layers.Conv2D(3, 3, 2, padding="same", name="a")(image)
    eighth = keras.layers.Conv2D(4, 3, 4, padding="same", name="b")(half)
    return keras.Model(image, [half, eighth], name="mine")


@pytest.mark.parametrize("share, copies", [(0.0, 2), (0.5, 1), (1.0, 1)])
def test_a_model_may_be_the_encoder_and_keeps_its_weights(share, copies):
    mine = backbone()
    model = dense_prediction(pixel_tasks()[:2], (8, 8, 2), mine, share=share)
    encoders = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.Model) and layer.name.endswith(("mine", "encoder"))
    ]
    assert len(encoders) == copies
    for encoder in encoders:
        assert (encoder is mine) == (share > 0)
        np.testing.assert_array_equal(encoder.get_weights()[0], mine.get_weights()[0])
    # The finest map is at half of the resolution.
    depth = outputs(model, images(1, 8, 8, 2))["depth"]
    assert depth.shape == (1, 8, 8, 1)
    np.testing.assert_array_equal(depth[:, ::2, ::2], depth[:, 1::2, 1::2])


def test_sizes_may_be_open():
    model = dense_prediction(pixel_tasks(), (None, None, 2), [3, 4, 5])
    for size in (4, 8):
        assert outputs(model, images(1, size, 8, 2))["normals"].shape == (1, size, 8, 3)


def test_an_image_feature_is_rescaled():
    model = dense_prediction(pixel_tasks()[1:2], {"photo": Image((4, 4, 2))}, [3])
    plain = dense_prediction(pixel_tasks()[1:2], (4, 4, 2), [3])
    plain.set_weights(model.get_weights())
    x = images(2, 4, 4, 2)
    np.testing.assert_allclose(
        outputs(model, {"photo": 255 * x})["depth"], outputs(plain, x)["depth"], **FLOAT32
    )


def test_the_decoder_may_have_widths_of_its_own():
    model = dense_prediction(pixel_tasks()[:1], (4, 4, 2), [3, 4], decoder=[7])
    assert model.get_layer("decoder_0").output_shape == (None, 4, 4, 7)


# -- labels


def test_labels_that_are_missing_at_pixels_count_for_nothing():
    # Where all units of a pixel happen to be off, its normal has no direction.
    keras.utils.set_random_seed(0)
    model = dense_prediction(pixel_tasks()[:3], (4, 4, 2), [3, 4], run_eagerly=True)
    x, rng = images(2, 4, 4, 2), np.random.default_rng(1)
    segmentation = rng.integers(-1, 3, (2, 4, 4))
    depth = rng.normal(size=(2, 4, 4))
    depth[:, 0] = np.nan
    normals = rng.normal(size=(2, 4, 4, 3))
    # A vector is missing as a whole: where one of its numbers is, and where it has no direction.
    normals[0, 0, 0, 1] = np.nan
    normals[1, :, 2] = 0
    y = {"segmentation": segmentation, "depth": depth, "normals": normals}
    logs = model.test_on_batch(x, y, return_dict=True)
    p = outputs(model, x)

    kept = segmentation >= 0
    assert logs["segmentation_labels"] == kept.sum()
    of_label = np.take_along_axis(p["segmentation"], np.abs(segmentation)[..., None], axis=-1)
    assert logs["segmentation_loss"] == pytest.approx(-np.log(of_label[kept]).mean(), rel=1e-5)
    best, ious = p["segmentation"].argmax(axis=-1), []
    for label in range(3):
        both = (best == label) & (segmentation == label) & kept
        either = ((best == label) | (segmentation == label)) & kept
        ious += [both.sum() / either.sum()] * bool(either.any())
    assert logs["segmentation_mean_iou"] == pytest.approx(np.mean(ious), rel=1e-5)

    assert logs["depth_labels"] == 24
    gaps = (p["depth"][..., 0] - depth)[:, 1:]
    assert logs["depth_mae"] == pytest.approx(np.abs(gaps).mean(), rel=1e-5)
    assert logs["depth_rmse"] == pytest.approx(np.sqrt((gaps**2).mean()), rel=1e-5)

    found = np.isfinite(normals).all(axis=-1) & (normals != 0).any(axis=-1)
    assert logs["normals_labels"] == found.sum() == 27
    directions = normals[found] / np.linalg.norm(normals[found], axis=-1, keepdims=True)
    distance = ((directions - p["normals"][found]) ** 2).sum(axis=-1) / 2
    assert logs["normals_loss"] == pytest.approx(distance.mean(), rel=1e-4)
    cosine = (directions * p["normals"][found]).sum(axis=-1)
    degrees = np.degrees(np.arccos(cosine)).mean()
    assert logs["normals_angular_error"] == pytest.approx(degrees, rel=1e-4)


@pytest.mark.slow
def test_it_learns_what_a_pixel_shows():
    keras.utils.set_random_seed(0)
    x = images(32, 4, 4, 3)
    y = {
        "segmentation": x.argmax(axis=-1),
        "depth": x[..., 0],
        "normals": x / np.linalg.norm(x, axis=-1, keepdims=True),
    }
    model = dense_prediction(
        pixel_tasks()[:3], (4, 4, 3), [16], optimizer=keras.optimizers.Adam(0.01)
    )
    model.fit(x, y, batch_size=32, epochs=60, verbose=0)
    logs = model.evaluate(x, y, return_dict=True, verbose=0)
    # Chance: 1/3, the mean absolute value of a normal variable, 90 degrees.
    assert logs["segmentation_accuracy"] > 0.7
    assert logs["depth_mae"] < 0.4
    assert logs["normals_angular_error"] < 30


# -- bad arguments


def uneven_model():
    x = keras.Input((7, 7, 2))
    return keras.Model(x, [x, keras.layers.MaxPooling2D(2)(x)])


def vector_model():
    x = keras.Input((4, 4, 2))
    return keras.Model(x, keras.layers.Flatten()(x))


BAD = {
    "odd": (((6, 6, 2), [3, 4, 5]), {}, r"`inputs` must have a height.*4 divides.*Received: "),
    "vector": ((4, [3, 4]), {}, r"`inputs` must be one image.*Received: inputs=4"),
    "features": (
        ({"age": Numeric(mean=0.0, variance=1.0)}, [3]),
        {},
        r"`inputs` must be one image.*Received: inputs=",
    ),
    "widths": (((4, 4, 2), [0]), {}, r"`encoder` must be .*Received: encoder=\[0\]"),
    "model": (
        ((4, 4, 2), vector_model()),
        {},
        r"`encoder` must be widths, or .*Received: encoder=",
    ),
    "maps": (((7, 7, 2), uneven_model()), {}, r"`encoder` must give maps .*Received: shapes"),
    "decoder": (((4, 4, 2), [3, 4]), {"decoder": [3, 4]}, r"`decoder` must have 1 .*Received: dec"),
    "share": (((4, 4, 2), [3, 4]), {"share": -1}, r"`share` must be .*Received: share=-1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_refused(case):
    arguments, options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        dense_prediction(pixel_tasks(), *arguments, **options)


def test_a_task_of_sequences_is_refused():
    with pytest.raises(ValueError, match=r"Task 'tag' labels positions.*length.*Received: shape"):
        dense_prediction([mtl.TokenTask("tag", 3)], (4, 4, 2), [3])
