"""MultiMNIST, MultiFashion, Fashion+MNIST: two overlaid images, a classification task for each.

A variant is whose images and which protocol: 28 x 28 pixels and a pair an image (Sener & Koltun
2018), or 36 x 36 pixels and two pairs an image (Lin et al. 2019); see `composition`. The inputs are
bytes, 0 to 255. Reading the data needs TensorFlow Datasets; there is no sample in the package.
"""

import os
from typing import Any

from zoo.datasets.columns import Split

VARIANTS = (
    "mnist_sener2018",
    "mnist_lin2019",
    "fashion_sener2018",
    "fashion_lin2019",
    "fashion_and_mnist_sener2018",
    "fashion_and_mnist_lin2019",
)
"""The first one is the default."""


def make_tasks(variant: str) -> tuple:
    """The classes at the top left and at the bottom right, as fresh objects."""
    from mtl_keras.tasks import CategoricalTask

    return CategoricalTask("left", 10), CategoricalTask("right", 10)


def make_features(variant: str) -> dict[str, Any]:
    """The image, whose size the protocol says."""
    from zoo.features import Image

    size = 28 if variant.endswith("sener2018") else 36
    return {"image": Image((size, size, 1))}


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The splits of a variant; prepares them in `data_dir` where they are not."""
    from zoo.datasets.multi_mnist.full import read_full

    return read_full(data_dir, variant)
