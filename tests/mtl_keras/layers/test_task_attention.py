"""TaskAttention gives each task the shared features under a soft mask of its own."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.task_attention import TaskAttention


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def normalised(weights, name, features):
    norm = {key: weights[f"{name}_normalization/{key}"] for key in NORMALIZATION}
    flat = features.reshape(*features.shape[:-2], -1)
    flat = (flat - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3)
    return (flat * norm["gamma"] + norm["beta"]).reshape(features.shape)


def attended(weights, shared, features, previous=None):
    """Task by task, on the concatenation, as the paper has it."""
    outputs = []
    for k in range(weights["hidden_kernel"].shape[1]):
        inputs = shared if previous is None else np.concatenate([shared, previous[k]], -1)
        hidden = np.einsum("...i,iko->...ko", inputs, weights["hidden_kernel"])
        hidden = np.maximum(normalised(weights, "hidden", hidden), 0)
        logits = np.einsum("...ki,iko->...ko", hidden, weights["mask_kernel"])
        logits = normalised(weights, "mask", logits)[..., k, :]
        outputs.append(features / (1 + np.exp(-logits)))
    return tuple(outputs)


NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
CASES = [
    LayerCase(
        layer_class=TaskAttention,
        config={"num_tasks": 2, "units": 4},
        inputs=(
            (draw(4, 3, 5), draw(4, 3, 6, seed=1)),
            (draw(4, 3, 2, seed=2), draw(4, 3, 2, seed=3)),
        ),
        masks=((MASK, MASK), None),
        expected=lambda weights, features, previous: attended(weights, *features, previous),
        training_differs=True,
    )
]


def unnormalised(num_tasks=3, features_shape=(None, 4), previous_shape=None):
    layer = TaskAttention(num_tasks, batch_normalization=False)
    layer.build(features_shape, previous_shape)
    return layer


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_the_first_block_attends_without_previous(shape, count):
    layer = TaskAttention(count)
    features = draw(2, *shape)
    got = layer(features)
    weights = {w.path.removeprefix(f"{layer.name}/"): numpy([w])[0] for w in layer.weights}
    assert len(got) == count
    for a, b in zip(numpy(got), attended(weights, features, features), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # float32


def test_a_reloaded_first_block_is_the_same(tmp_path):
    inputs = keras.Input((3, 4))
    model = keras.Model(inputs, TaskAttention(2)(inputs))
    model.save(tmp_path / "model.keras")
    loaded, features = keras.saving.load_model(tmp_path / "model.keras"), draw(2, 3, 4)
    np.testing.assert_array_equal(numpy(loaded(features)), numpy(model(features)))


def test_blocks_follow_each_other_under_masks():
    inputs = keras.Input((3, 4))
    masked = keras.layers.Masking()(inputs)
    outputs = TaskAttention(2)(masked, TaskAttention(2)(masked))
    model = keras.Model(inputs, outputs)
    features = draw(2, 3, 4)
    features[1, 2] = 0
    for output in numpy(model(features, training=True)):
        assert output.shape == (2, 3, 4)
        assert np.isfinite(output).all()


def test_without_normalisation_there_are_biases():
    layer = unnormalised()
    layer.mask_kernel.assign(np.zeros(layer.mask_kernel.shape))
    bias = draw(3, 4)
    layer.biases[1].assign(bias.reshape(-1))
    features = draw(2, 4, seed=1)
    for got, logits in zip(numpy(layer(features)), bias, strict=True):
        np.testing.assert_allclose(got, features / (1 + np.exp(-logits)), rtol=1e-5)  # float32


@pytest.mark.parametrize(("bias", "share"), [(-1e3, 0), (0, 0.5), (1e3, 1)])
def test_masks_go_from_nothing_to_everything(bias, share):
    layer = unnormalised()
    layer.mask_kernel.assign(np.zeros(layer.mask_kernel.shape))
    layer.biases[1].assign(np.full(12, bias))
    features = draw(2, 4)
    for got in numpy(layer(features)):
        np.testing.assert_array_equal(got, share * features)


def test_permuted_tasks_permute_the_outputs():
    order, previous = [2, 0, 1], draw(3, 2, 5, seed=8)
    shapes = ((None, 4), ((None, 5),) * 3)
    layers = unnormalised(3, *shapes), unnormalised(3, *shapes)
    for ours, theirs in zip(*(layer.weights for layer in layers), strict=True):
        value = draw(*ours.shape, seed=9)
        ours.assign(value)
        tasks = value.reshape(3, -1) if value.ndim == 1 else value.transpose(1, 0, 2)
        tasks = tasks[order]
        theirs.assign(tasks.reshape(-1) if value.ndim == 1 else tasks.transpose(1, 0, 2))
    features = draw(2, 4)
    plain = numpy(layers[0](features, tuple(previous)))
    permuted = numpy(layers[1](features, tuple(previous[order])))
    # A product of other columns may be summed in another order.
    np.testing.assert_allclose(permuted, [plain[k] for k in order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("positions", [(3,), (3, 2)])
def test_masked_positions_enter_no_batch_statistics(positions):
    features = draw(4, *positions, 5)
    where = MASK.reshape(*MASK.shape, *(1,) * len(positions))
    dirty = np.where(where, features, 100).astype("float32")
    layer = TaskAttention(2)
    clean, garbage = (numpy(layer(x, mask=MASK, training=True)) for x in (features, dirty))
    for a, b in zip(clean, garbage, strict=True):
        # Masked positions count as 0 in the sums: nothing but their order may differ.
        np.testing.assert_allclose(a[MASK], b[MASK], rtol=1e-5, atol=1e-6)


def test_kernels_of_tasks_and_maps_differ():
    layer = TaskAttention(2, units=4, kernel_initializer=keras.initializers.HeNormal(seed=0))
    layer.build((None, 4))
    kernels = [k for w in numpy([layer.hidden_kernel, layer.mask_kernel]) for k in w.swapaxes(0, 1)]
    assert len({kernel.tobytes() for kernel in kernels}) == 4


@pytest.mark.parametrize("arguments", [{"num_tasks": 0}, {"num_tasks": 2, "units": 0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"must be a whole number.*Received"):
        TaskAttention(**arguments)


@pytest.mark.parametrize(
    ("features", "previous", "message"),
    [
        ((draw(2, 3, 4),) * 3, None, "`features` must be one tensor or two.*Received: 3"),
        ((draw(2, 3, 4), draw(2, 4, 4)), None, "`features` must be one tensor .*Received"),
        (draw(2, 3, 4), (draw(2, 3, 4),), "`previous` must be a tuple of 2.*Received: 1"),
        (draw(2, 3, 4), draw(2, 3, 4), "`previous` must be a tuple of 2.*Received"),
        (draw(2, 3, 4), (draw(2, 4),) * 2, "`previous` must have the positions.*Received"),
    ],
)
def test_wrong_tensors_are_refused(features, previous, message):
    with pytest.raises(ValueError, match=message):
        TaskAttention(2)(features, previous)


def test_previous_is_there_always_or_never():
    layer = TaskAttention(2)
    layer(draw(2, 4))
    with pytest.raises(ValueError, match=r"`previous` must be given in every call or in none"):
        layer(draw(2, 4), (draw(2, 4),) * 2)
    layer = TaskAttention(2)
    layer(draw(2, 4), (draw(2, 4),) * 2)
    with pytest.raises(ValueError, match=r"Received: previous=None"):
        layer(draw(2, 4))
