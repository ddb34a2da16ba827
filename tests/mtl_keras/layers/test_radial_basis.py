"""RadialBasis: Gaussians of distances, blind to where the points lie as a whole."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.radial_basis import RadialBasis

POINTS = np.random.default_rng(0).normal(size=(3, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)


def statement(num_basis, cutoff):
    def expected(weights, positions):
        batch, points, _ = positions.shape
        out = np.zeros((batch, points, num_basis, points))
        space = cutoff / (num_basis - 1)
        for b, i, k, j in np.ndindex(out.shape):
            distance = np.linalg.norm(positions[b, i] - positions[b, j])
            if i != j:
                out[b, i, k, j] = np.exp(-((distance - k * space) ** 2) / (2 * space**2))
        return out

    return expected


CASES = [
    LayerCase(
        layer_class=RadialBasis,
        config={"num_basis": num_basis, "cutoff": cutoff},
        inputs=(POINTS,),
        masks=(MASK,),
        expected=statement(num_basis, cutoff),
        name=f"{num_basis}",
    )
    for num_basis, cutoff in ((2, 3.0), (6, 2.5))
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def test_turning_mirroring_and_moving_change_nothing():
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    layer = RadialBasis(8, 4.0)
    moved = (POINTS @ turn - [3.0, 0.0, 1.0]).astype("float32")
    np.testing.assert_allclose(arrays(layer(moved)), arrays(layer(POINTS)), atol=1e-5)


def test_pairs_with_a_masked_point_are_zero():
    mask = np.array([[True, False, True]] * 3)
    x = np.where(mask[..., None], POINTS[:, :3], np.nan).astype("float32")
    pairs = arrays(RadialBasis(4)(x, mask=keras.ops.convert_to_tensor(mask)))
    assert not pairs[..., 1].any()
    alone = arrays(RadialBasis(4)(POINTS[:, [0, 2]]))
    np.testing.assert_allclose(pairs[:, 0, :, 2], alone[:, 0, :, 1], atol=1e-6)


def test_points_on_one_another_are_at_distance_zero():
    together = arrays(RadialBasis(3, 2.0)(np.zeros((1, 2, 3), "float32")))
    np.testing.assert_allclose(together[0, 0, :, 1], np.exp([0.0, -0.5, -2.0]), rtol=1e-5)
    np.testing.assert_array_equal(together[0, 0, :, 0], 0)


def test_half_precision_tells_hundredths_apart():
    x = np.array([[[100.0, 0, 0], [101.0, 0, 0], [100.0, 1.01, 0]]], "float32")
    near = arrays(RadialBasis(41, 2.0, dtype="mixed_float16")(x)).astype("float32")
    full = arrays(RadialBasis(41, 2.0)(x))
    np.testing.assert_allclose(near, full, atol=1e-3)
    assert np.abs(near[0, 0, :, 1] - near[0, 0, :, 2]).max() > 0.05


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_basis": 1}, "`num_basis` must be a whole number of at least 2"),
        ({"cutoff": 0.0}, "`cutoff` must be a finite number above 0"),
    ],
)
def test_bad_arguments_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        RadialBasis(**config)
