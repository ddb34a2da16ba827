"""ConditionalNormalization shares statistics; scale and shift belong to the context."""

import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.conditional_normalization import ConditionalNormalization

MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, features, ids):
    mean, variance = (weights[f"normalization/moving_{name}"] for name in ("mean", "variance"))
    normalized = (features - mean) / np.sqrt(variance + 1e-3)
    out = (weights["film/generator/out/kernel"] + weights["film/generator/out/bias"])[ids]
    return (1 + out[:, None, :5]) * normalized + out[:, None, 5:]


CASES = [
    LayerCase(
        layer_class=ConditionalNormalization,
        config={"kind": "batch", "num_tasks": 3},
        inputs=(draw(4, 3, 5), np.array([2, 0, 1, 2], "int32")),
        masks=(MASK, None),
        training_differs=True,
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


AXES = {"batch": (0, 1, 2), "layer": (3,), "group": (1, 2, 4)}


@pytest.mark.parametrize("kind", AXES)
def test_starts_as_the_plain_normalization_for_every_context(kind):
    images = 3 * draw(4, 2, 3, 6) + 1
    layer = ConditionalNormalization(kind, groups=2)
    output = arrays(layer(images, draw(4, 2), training=True))
    values = images.reshape(4, 2, 3, 2, 3) if kind == "group" else images
    mean, variance = (
        reduce(values, AXES[kind], keepdims=True, dtype="float64") for reduce in (np.mean, np.var)
    )
    expected = ((values - mean) / np.sqrt(variance + 1e-3)).reshape(images.shape)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)  # float32 variances


@pytest.mark.parametrize("kind", AXES)
def test_scale_and_shift_are_those_of_the_task(kind):
    layer = ConditionalNormalization(kind, num_tasks=2, groups=1)
    features, ids = draw(3, 2), np.array([1, 0, 1])
    plain = arrays(layer(features, ids))
    # A row a task: changes of the two scales, then the two shifts.
    layer.film.generator.out.kernel.assign([[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, 5.0, 6.0]])
    output = arrays(layer(features, ids))
    np.testing.assert_allclose(output[1], plain[1] * [2, 3] + [3, 4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output[[0, 2]], plain[[0, 2]] * [1, 0] + [5, 6], rtol=1e-5)


@pytest.mark.parametrize("kind", AXES)
def test_masked_positions_enter_no_statistic(kind):
    layer = ConditionalNormalization(kind, groups=2)
    features, context = draw(4, 3, 2, 4), draw(4, 2)
    garbage = np.where(MASK[:, :, None, None], features, 1e4).astype("float32")
    clean, dirty = (
        arrays(layer(x, context, features_mask=MASK, training=True)) for x in (features, garbage)
    )
    np.testing.assert_allclose(dirty[MASK], clean[MASK], rtol=1e-5, atol=1e-6)
    if kind == "batch":
        valid = features[MASK].reshape(-1, 4)
        np.testing.assert_allclose(clean[MASK].reshape(-1, 4).mean(0), 0, atol=1e-5)
        mean = 0.01 * valid.mean(0)
        once = ConditionalNormalization(kind)
        once(garbage, context, features_mask=MASK, training=True)
        np.testing.assert_allclose(arrays(once.normalization.moving_mean), mean, atol=1e-6)


def test_group_kind_under_a_mask_is_that_of_the_valid_part():
    layer = ConditionalNormalization("group", groups=2)
    features, context = draw(1, 5, 4), draw(1, 2)
    mask = np.array([[1, 1, 1, 0, 0]], bool)
    whole = arrays(layer(features, context, features_mask=mask))
    part = arrays(layer(features[:, :3], context))
    np.testing.assert_allclose(whole[:, :3], part, rtol=1e-5, atol=1e-6)
    assert np.isfinite(arrays(layer(features, context, features_mask=mask & False))).all()


@pytest.mark.parametrize("kind", AXES)
def test_large_values_of_float16_stay_finite(kind):
    layer = ConditionalNormalization(kind, groups=2, dtype="mixed_float16")
    features = (3e4 * np.sign(draw(4, 3, 4))).astype("float16")
    for mask in (None, MASK):
        output = layer(features, draw(4, 2), features_mask=mask, training=True)
        assert np.isfinite(arrays(output)).all()
        assert np.abs(arrays(output)).max() < 3


def test_momentum_and_epsilon_are_those_given():
    layer = ConditionalNormalization("batch", momentum=0.0, epsilon=3.0)
    features, context = draw(4, 5), draw(4, 2)
    layer(features, context, training=True)
    expected = (features - features.mean(0)) / np.sqrt(features.var(0) + 3)
    np.testing.assert_allclose(arrays(layer(features, context)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("kind", "instance"),
        ("groups", 0),
        ("epsilon", 0.0),
        ("momentum", 1.0),
        ("num_tasks", 0),
        ("hidden_units", 3),
    ],
)
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}={value!r}"):
        ConditionalNormalization(**{argument: value})


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"`groups` must divide .* 6\. Received: groups=4"):
        ConditionalNormalization("group", groups=4)(draw(2, 6), draw(2, 3))


def test_a_bad_context_is_refused():
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        ConditionalNormalization(num_tasks=3)(draw(2, 4), draw(2, 2))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        ConditionalNormalization(num_tasks=3)(draw(2, 4), np.array([0, 3]))
