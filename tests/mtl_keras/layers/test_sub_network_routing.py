"""SubNetworkRouting draws its connections in training, and fixes them for inference."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.sub_network_routing import SubNetworkRouting


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def towers(count, *shape):
    return tuple(draw(*shape, seed=seed) for seed in range(count))


def numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def stretched(s, gamma=-0.1, zeta=1.1):
    return np.clip(s * (zeta - gamma) + gamma, 0, 1)


def equation(weights, features):
    """The sum over connections, one at a time."""
    gates, kernel = stretched(sigmoid(weights["log_alpha"])), weights["kernel"]
    return tuple(
        sum(gates[i, j] * u @ kernel[i, :, j] for i, u in enumerate(features))
        for j in range(gates.shape[1])
    )


MASKS = (
    np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool),
    np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
    np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 0]], bool),
)
CASES = [
    LayerCase(
        layer_class=SubNetworkRouting,
        config={"num_outputs": 2, "units": 4, "l0_penalty": 0.1, "seed": 0},
        inputs=(towers(3, 4, 3, 5),),
        masks=(MASKS,),
        expected=equation,
        training_differs=True,
    )
]


def built(count, outputs, channels=5, log_alpha=None, **arguments):
    layer = SubNetworkRouting(outputs, **arguments)
    layer.build(((None, channels),) * count)
    if log_alpha is not None:
        layer.log_alpha.assign(np.broadcast_to(log_alpha, (count, outputs)))
    return layer


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_an_average_is_a_weighted_sum(shape, count):
    log_alpha = draw(count, 2, seed=9)
    layer, features = built(count, 2, log_alpha=log_alpha, kind="average"), towers(count, *shape)
    want = np.einsum("ij,i...c->j...c", stretched(sigmoid(log_alpha)), np.stack(features))
    np.testing.assert_allclose(numpy(layer(features)), want, rtol=1e-5, atol=1e-6)  # float32
    assert [weight.name for weight in layer.weights] == ["log_alpha"]


def test_images_are_transformed_position_by_position():
    layer, images = built(2, 3), towers(2, 2, 3, 4, 5)
    flat = layer(tuple(image.reshape(-1, 5) for image in images))
    for got, want in zip(numpy(layer(images)), numpy(flat), strict=True):
        # A product of another shape may be summed in another order.
        np.testing.assert_allclose(got, want.reshape(got.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_closed_connections_carry_nothing(training):
    layer, features = built(2, 2, log_alpha=[[50, -50], [-50, 50]]), towers(2, 3, 5)
    kernel = numpy([layer.kernel])[0]
    for k, output in enumerate(numpy(layer(features, training=training))):
        # float32 products
        np.testing.assert_allclose(output, features[k] @ kernel[k, :, k], rtol=1e-5, atol=1e-6)


def test_open_averages_leave_towers_alone():
    features = towers(3, 2, 4)
    layer = built(3, 3, 4, log_alpha=100 * np.eye(3) - 50, kind="average")
    for got, want in zip(numpy(layer(features)), features, strict=True):
        np.testing.assert_array_equal(got, want)


def test_permuted_sub_networks_and_outputs():
    features, order, log_alpha = towers(3, 2, 5), [2, 0, 1], draw(3, 3, seed=9)
    kernel = draw(3, 5, 3, 5, seed=8)
    layers = built(3, 3, log_alpha=log_alpha), built(3, 3, log_alpha=log_alpha[order][:, order])
    layers[0].kernel.assign(kernel)
    layers[1].kernel.assign(kernel[order][:, :, order])
    plain = numpy(layers[0](features))
    permuted = numpy(layers[1](tuple(features[k] for k in order)))
    # Sums of float32 in another order.
    np.testing.assert_allclose(permuted, [plain[k] for k in order], rtol=1e-5, atol=1e-6)


def drawn_gates(layer, draws=1):
    """z of training: with towers of ones and the average, what comes out is z itself."""
    gates = [numpy(layer((np.ones((1, 1), "float32"),), training=True)) for _ in range(draws)]
    return np.array(gates).ravel()


@pytest.mark.parametrize("log_alpha", [-1.0, 0.0, 2.0])
def test_draws_follow_the_hard_concrete_distribution(log_alpha):
    gates = drawn_gates(built(1, 4000, 1, log_alpha=log_alpha, kind="average", seed=0))
    beta, gamma, zeta = 2 / 3, -0.1, 1.1
    # P(s <= x) = sigmoid(beta logit(x) - log_alpha), at what the stretch maps to 0, 1/2 and 1.
    for value, share in ((0.0, np.mean(gates == 0)), (0.5, np.mean(gates <= 0.5))):
        x = (value - gamma) / (zeta - gamma)
        want = sigmoid(beta * np.log(x / (1 - x)) - log_alpha)
        # Four standard errors of 4000 draws, at their largest.
        np.testing.assert_allclose(share, want, atol=4 * 0.5 / np.sqrt(4000))
    x = (1 - gamma) / (zeta - gamma)
    want = 1 - sigmoid(beta * np.log(x / (1 - x)) - log_alpha)
    np.testing.assert_allclose(np.mean(gates == 1), want, atol=4 * 0.5 / np.sqrt(4000))


def test_each_step_draws_again_and_a_seed_repeats_it():
    first, again = (drawn_gates(built(1, 8, 1, kind="average", seed=3), 2) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:8], first[8:])


def test_half_precision_draws_the_same_gates():
    arguments = {"kind": "average", "seed": 3, "log_alpha": 0.0003}
    exact, half = (
        drawn_gates(built(1, 50, 1, dtype=dtype, **arguments))
        for dtype in ("float32", "mixed_float16")
    )
    np.testing.assert_array_equal(half, exact.astype("float16"))


def test_the_penalty_is_the_expected_number_of_open_connections():
    log_alpha = draw(2, 3)
    layer = built(2, 3, log_alpha=log_alpha, l0_penalty=0.5)
    layer(towers(2, 4, 5), training=True)
    want = sigmoid(log_alpha - 2 / 3 * np.log(0.1 / 1.1)).sum()
    np.testing.assert_allclose(float(layer.losses[0]), 0.5 * want, rtol=1e-5)  # float32
    (metric,) = layer.metrics
    assert metric.name.endswith("_l0_loss")
    np.testing.assert_allclose(float(metric.result()), want, rtol=1e-5)


def test_the_penalty_is_added_in_training_only():
    layer = built(2, 2, l0_penalty=0.5)
    layer(towers(2, 4, 5), training=False)
    assert not layer.losses
    layer = built(2, 2)
    layer(towers(2, 4, 5), training=True)
    assert not layer.losses


def test_kernels_are_drawn_each_on_its_own():
    initializer = keras.initializers.GlorotUniform(seed=0)
    layer = built(2, 3, channels=40, units=30, kernel_initializer=initializer)
    kernels = numpy([layer.kernel])[0].transpose(0, 2, 1, 3).reshape(6, -1)
    correlation = np.corrcoef(kernels) - np.eye(6)
    assert np.abs(correlation).max() < 0.15  # 5 standard errors of 1200 draws
    np.testing.assert_allclose(kernels.std(1), np.sqrt(2 / 70), rtol=0.1)  # 1200 draws each


def test_a_kernel_is_what_its_initializer_draws():
    kernels = numpy([built(2, 3, kernel_initializer="identity").kernel])[0]
    np.testing.assert_array_equal(
        kernels.transpose(0, 2, 1, 3), np.broadcast_to(np.eye(5), (2, 3, 5, 5))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_outputs": 0}, r"`num_outputs` must be.*Received: num_outputs=0"),
        ({"num_outputs": 2, "kind": "sum"}, r"`kind` must be.*Received: kind='sum'"),
        ({"num_outputs": 2, "units": 0}, r"`units` must be.*Received: units=0"),
        ({"num_outputs": 2, "kind": "average", "units": 3}, r"`units` must be None.*units=3"),
        ({"num_outputs": 2, "beta": 0}, r"`beta` must be.*Received: beta=0"),
        ({"num_outputs": 2, "gamma": 0}, r"`gamma` must be below 0.*Received: gamma=0"),
        ({"num_outputs": 2, "zeta": 1}, r"`zeta` above 1.*zeta=1"),
        ({"num_outputs": 2, "l0_penalty": -1}, r"`l0_penalty` must be.*l0_penalty=-1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SubNetworkRouting(**arguments)


def test_wrong_features_are_refused():
    with pytest.raises(ValueError, match=r"`features` must be a tuple.*Received"):
        SubNetworkRouting(2)(draw(2, 5))
    layer = SubNetworkRouting(2)
    layer(towers(2, 2, 5))
    with pytest.raises(ValueError, match=r"a tuple of 2 tensors.*Received: 3 tensors"):
        layer(towers(3, 2, 5))
