"""The school data as a TensorFlow Datasets builder.

The file comes from `<data_dir>/downloads/manual` where it lies there, else from the repository
that publishes it. It is verified by SHA-256, see `checksums.tsv`.
"""

import numpy as np
import tensorflow_datasets as tfds

from zoo.datasets.school import files
from zoo.datasets.school.split import parts
from zoo.datasets.source_file import contents

_DESCRIPTION = """
Exam scores of 15,362 students who left 139 secondary schools of the Inner London Education
Authority in 1985, 1986 or 1987, with what is known of the student (year, sex, verbal reasoning
band, ethnic group) and of the school (percentages with free meals and in band 1, whose it is and
for whom), as zeros and ones but for the percentages, and a column of ones.
"""

_CITATION = """
@article{argyriou2008convex,
  title   = {Convex multi-task feature learning},
  author  = {Argyriou, Andreas and Evgeniou, Theodoros and Pontil, Massimiliano},
  journal = {Machine Learning},
  volume  = {73},
  number  = {3},
  pages   = {243--272},
  year    = {2008}
}
@manual{zhou2011malsar,
  title        = {{MALSAR}: Multi-tAsk Learning via StructurAl Regularization},
  author       = {Zhou, Jiayu and Chen, Jianhui and Ye, Jieping},
  organization = {Arizona State University},
  year         = {2011},
  url          = {https://github.com/jiayuzhou/MALSAR}
}
"""

_LICENSE = "none is stated for the data"


class School(tfds.core.GeneratorBasedBuilder):
    """The students of 139 schools: what is known of each, school and score.

    Example, which downloads unless the file lies in `<data_dir>/downloads/manual`:

    ```python
    builder = School(data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. Put `school.mat`, from data of {files.HOMEPAGE}, into the
    directory.
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "student": tfds.features.Tensor(shape=(len(files.COLUMNS),), dtype=np.uint8),
                    "school": np.int32,
                    "exam_score": np.float32,
                }
            ),
            homepage=files.HOMEPAGE,
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        schools = files.parsed(contents(dl_manager, files.source_files())["school"])
        return {
            split: self._generate_examples(schools, part)
            for part, split in enumerate(("train", "validation", "test"))
        }

    def _generate_examples(self, schools, part):
        for school, (columns, scores) in enumerate(schools):
            for row in np.flatnonzero(parts(school, len(scores)) == part).tolist():
                example = {
                    "student": columns[row],
                    "school": school,
                    "exam_score": float(scores[row]),
                }
                yield f"{school}_{row}", example
