"""Two images in one, against the protocols pixel by pixel."""

import numpy as np
import pytest

from zoo.datasets.multi_mnist.composition import lin2019, sener2018

N = 40


def side(seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (N, 28, 28)).astype("uint8"), (np.arange(N) % 10).astype("uint8")


def test_sener2018_pixel_by_pixel():
    left, right = side(0), side(1)
    images, labels_left, labels_right = sener2018(left, right, seed=3)
    assert images.shape == (N, 28, 28) and images.dtype == np.uint8
    np.testing.assert_array_equal(labels_left, left[1])
    partners = np.random.RandomState(3).randint(N, size=N)
    np.testing.assert_array_equal(labels_right, right[1][partners])
    for i in (0, 7, 39):
        for row in range(28):
            for column in range(28):
                # The middle of the pixel on the canvas.
                y, x = int((row + 0.5) * 36 / 28), int((column + 0.5) * 36 / 28)
                first = left[0][i, y, x] if y < 28 and x < 28 else 0
                inside = 6 <= y < 34 and 6 <= x < 34
                second = right[0][partners[i], y - 6, x - 6] if inside else 0
                assert images[i, row, column] == max(first, second)


def test_lin2019_places_each_image_within_four_pixels():
    left, right = side(0), side(1)
    images, labels_left, labels_right = lin2019(left, right, seed=3)
    assert images.shape == (2 * N, 36, 36) and images.dtype == np.uint8
    np.testing.assert_array_equal(labels_left, np.repeat(left[1], 2))
    assert (labels_left != labels_right).all()
    for i in range(0, 2 * N, 9):
        explained = [
            (k, a, b, c, d)
            for k in np.flatnonzero(right[1] == labels_right[i])
            for a in range(5)
            for b in range(5)
            for c in range(4, 9)
            for d in range(4, 9)
            if np.array_equal(overlaid(left[0][i // 2], (a, b), right[0][k], (c, d)), images[i])
        ]
        assert len(explained) == 1


def overlaid(first, corner, second, other):
    canvas = np.zeros((2, 36, 36), "uint8")
    canvas[0, corner[0] : corner[0] + 28, corner[1] : corner[1] + 28] = first
    canvas[1, other[0] : other[0] + 28, other[1] : other[1] + 28] = second
    return canvas.max(axis=0)


@pytest.mark.parametrize("compose", [sener2018, lin2019])
def test_the_seed_decides(compose):
    first, again, other = (compose(side(0), side(1), seed) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[2] != other[2]).any()
