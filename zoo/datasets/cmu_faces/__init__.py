"""CMU faces: 624 pictures of 20 people; who it is, which way the head turns, and sunglasses.

The variants are two sizes, "half" of 60 x 64 pixels and "quarter" of 30 x 32; the inputs are bytes,
0 to 255. Pictures that differ in nothing but the expression are nearly the same, so they are in one
split, see `split`; everybody is in all three. Expressions (angry, happy, neutral, sad) are no task:
at these sizes a simple convolutional network stays at chance. Left and right are those of the
picture; the names of UCI's files are those of the person. Reading the data needs TensorFlow
Datasets; there is no sample in the package.
"""

import os
from typing import Any

from zoo.datasets.columns import Split

VARIANTS = ("half", "quarter")
"""The first one is the default."""

PERSONS = (
    "alex",
    "bob",
    "carl",
    "dave",
    "emma",
    "fred",
    "george",
    "henry",
    "ian",
    "john",
    "keith",
    "larry",
    "mike",
    "neil",
    "owen",
    "paula",
    "quinn",
    "rose",
    "sam",
    "tom",
)
"""The classes of the task "person": names that the publisher of the files invented."""

POSES = ("forward", "left", "right", "up")
"""The classes of the task "pose"."""


def make_tasks(variant: str) -> tuple:
    """Person, pose and sunglasses, as fresh objects."""
    from mtl_keras.tasks import BinaryTask, CategoricalTask

    return (
        CategoricalTask("person", len(PERSONS)),
        CategoricalTask("pose", len(POSES)),
        BinaryTask("sunglasses"),
    )


def make_class_names() -> dict[str, tuple[str, ...]]:
    """What the classes are called, by task."""
    return {"person": PERSONS, "pose": POSES}


def make_features(variant: str) -> dict[str, Any]:
    """The picture, in the size of the variant."""
    from zoo.datasets.cmu_faces.files import SHAPES
    from zoo.features import Image

    return {"image": Image((*SHAPES[variant], 1))}


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The splits of a variant; prepares them in `data_dir` where they are not."""
    from zoo.datasets.cmu_faces.full import read_full

    return read_full(data_dir, variant)
