"""CMU faces as a TensorFlow Datasets builder.

A file comes from `<data_dir>/downloads/manual` where it lies there, else from the repository that
publishes it. Its content is verified by SHA-256, see `files`.
"""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from zoo.datasets.cmu_faces import PERSONS, POSES, VARIANTS, files
from zoo.datasets.cmu_faces.split import parts

_DESCRIPTION = """
Pictures of 20 people, each in four poses, with four expressions, with sunglasses and without: 640
in black and white, of which 16 were spoilt and are left out. The names of people are invented; left
and right are those of the picture, not of the person.
"""

_CITATION = """
@misc{mitchell1999cmu,
  title        = {CMU Face Images},
  author       = {Mitchell, Tom},
  year         = {1999},
  howpublished = {UCI Machine Learning Repository},
  url          = {https://archive.ics.uci.edu/ml/datasets/cmu+face+images}
}
@book{mitchell1997machine,
  title     = {Machine Learning},
  author    = {Mitchell, Tom},
  publisher = {McGraw Hill},
  year      = {1997}
}
"""

_LICENSE = (
    "free of charge for any educational purpose, with attribution, as UCI's page of the data says; "
    "none is stated by the repository that publishes the files"
)


class CmuFaces(tfds.core.GeneratorBasedBuilder):
    """The pictures of one size, with all that was varied.

    Example, which downloads unless the file lies in `<data_dir>/downloads/manual`:

    ```python
    builder = CmuFaces(config="quarter", data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=variant) for variant in VARIANTS]  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Only needed where the download fails. Put `cmu_faces_half_size.npz` and
    `cmu_faces_quarter_size.npz`, from cmu_faces of https://github.com/Calysto/conx-data, into the
    directory.
    """

    def _info(self):
        shape = files.SHAPES[self.builder_config.name]
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(*shape, 1)),
                    "person": tfds.features.ClassLabel(names=PERSONS),
                    "pose": tfds.features.ClassLabel(names=POSES),
                    "expression": tfds.features.ClassLabel(names=files.EXPRESSIONS),
                    "sunglasses": tfds.features.ClassLabel(names=["no", "yes"]),
                }
            ),
            homepage=files.HOMEPAGE,
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        variant = self.builder_config.name
        images, codes = files.parsed(_content(dl_manager, variant), variant)
        person, pose, _, sunglasses = codes.T
        where = parts(person, pose, sunglasses)
        return {
            split: self._generate_examples(images[where == part], codes[where == part].tolist())
            for part, split in enumerate(("train", "validation", "test"))
        }

    def _generate_examples(self, images, codes):
        labels = ("person", "pose", "expression", "sunglasses")
        for i, (image, row) in enumerate(zip(images, codes, strict=True)):
            yield i, {"image": image[..., np.newaxis], **dict(zip(labels, row, strict=True))}


def _content(dl_manager, variant):
    try:
        manual = Path(dl_manager.manual_dir)
    except AssertionError:  # How TFDS says that there is no such folder, or an empty one.
        found = []
    else:
        found = [path for name in files.names(variant) for path in sorted(manual.rglob(name))]
    return Path(found[0] if found else dl_manager.download(files.url(variant))).read_bytes()
