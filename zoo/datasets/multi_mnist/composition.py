"""Two images in one: the protocols of Sener & Koltun 2018 and of Lin et al. 2019.

Chance comes from `RandomState`, whose numbers NumPy keeps the same in all versions.
"""

import numpy as np

CANVAS, SIZE = 36, 28


def sener2018(left: tuple, right: tuple, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One pair for each left image: 28 x 28, the second one 6 pixels lower and further right.

    Each left image is drawn at (0, 0), a right one by chance at (6, 6) of 36 x 36 pixels, the
    brighter pixel wins, and the canvas is scaled to 28 x 28, nearest pixel.

    Args:
        left: images (n, 28, 28) and labels (n,), uint8.
        right: the same; may be the same images.
        seed: of the partners.

    Returns:
        Images (n, 28, 28), left labels and right labels (n,), uint8.

    Reference:
        Sener & Koltun 2018, "Multi-Task Learning as Multi-Objective Optimization", section 5.1,
        arXiv:1810.04650; the resizing is that of the authors' code.
    """
    draws = np.random.RandomState(seed)
    partners = draws.randint(len(right[1]), size=len(left[1]))
    canvas = np.zeros((len(partners), CANVAS, CANVAS), np.uint8)
    canvas[:, :SIZE, :SIZE] = left[0]
    lower = canvas[:, 6 : 6 + SIZE, 6 : 6 + SIZE]
    np.maximum(lower, right[0][partners], out=lower)
    nearest = ((np.arange(SIZE) + 0.5) * CANVAS / SIZE).astype(int)
    return canvas[:, nearest][:, :, nearest], left[1], right[1][partners]


def lin2019(left: tuple, right: tuple, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pairs for each left image: 36 x 36, labels that differ, each image moved by chance.

    From the middle of the canvas the left image moves by 0 to 4 pixels up and to the left, the
    right one down and to the right; the brighter pixel wins.

    Args:
        left: images (n, 28, 28) and labels (n,), uint8.
        right: the same; may be the same images.
        seed: of partners and places.

    Returns:
        Images (2n, 36, 36), left labels and right labels (2n,), uint8.

    Reference:
        Lin et al. 2019, "Pareto Multi-Task Learning", section 5.2, arXiv:1912.12854, after
        Sabour et al. 2017, arXiv:1710.09829. How far which image may move is our reading: the
        tasks are the image at the top left and the one at the bottom right.
    """
    draws = np.random.RandomState(seed)
    images, labels = np.repeat(left[0], 2, axis=0), np.repeat(left[1], 2)
    partners = draws.randint(len(right[1]), size=len(labels))
    while (same := right[1][partners] == labels).any():
        partners[same] = draws.randint(len(right[1]), size=same.sum())
    moves = draws.randint(5, size=(2, 2, len(labels)))
    middle = (CANVAS - SIZE) // 2
    canvas = np.maximum(
        _placed(images, middle - moves[0]), _placed(right[0][partners], middle + moves[1])
    )
    return canvas, labels, right[1][partners]


def _placed(images, corners):
    # Images (n, 28, 28) with their corners at (2, n) on canvases of their own.
    canvas = np.zeros((len(images), CANVAS, CANVAS), np.uint8)
    rows, columns = (corner[:, None] + np.arange(SIZE) for corner in corners)
    canvas[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]] = images
    return canvas
