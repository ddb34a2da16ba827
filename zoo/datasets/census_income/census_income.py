"""The full Census-Income (KDD) data as a TensorFlow Datasets builder.

The files come from `<data_dir>/downloads/manual` where they lie there, else from the archive of
UCI. They are verified by the SHA-256 of their content, see `source`.
"""

import numpy as np
import tensorflow_datasets as tfds

from zoo.datasets.census_income import source
from zoo.datasets.census_income.columns import COLUMNS, NUMERIC, parse

_CHUNK = 10_000  # Lines parsed at a time: all 200,000 at once would take half a gigabyte.

_DESCRIPTION = """
Weighted census data of the 1994 and 1995 Current Population Surveys of the US Census Bureau:
299,285 people, 41 demographic and employment variables, and whether the income is over
50,000 dollars. All 42 raw columns are given, in the order of the source; `?` is a category of
its own, and integer codes (industry, occupation, year, ...) are strings.
"""

_CITATION = """
@misc{census_income_kdd_117,
  title        = {{Census-Income (KDD)}},
  year         = {2000},
  howpublished = {UCI Machine Learning Repository},
  doi          = {10.24432/C5N30T},
  url          = {https://archive.ics.uci.edu/dataset/117/census+income+kdd}
}
"""

_LICENSE = "CC BY 4.0, as given by the UCI Machine Learning Repository"


class CensusIncome(tfds.core.GeneratorBasedBuilder):
    """The full data, 42 raw columns in the order of the source.

    Example, which downloads unless the files lie in `<data_dir>/downloads/manual`:

    ```python
    builder = CensusIncome(data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. Put `census-income.data.gz` and `census-income.test.gz`
    (or the same without `.gz`, or the archive census+income+kdd.zip as it is) from
    {source.HOMEPAGE} into the directory.
    """

    def _info(self):
        features = {name: np.int32 if name in NUMERIC else np.str_ for name in COLUMNS}
        features["instance_weight"] = np.float32
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            homepage=source.HOMEPAGE,
            citation=_CITATION,
            license=_LICENSE,
            # The order of the file decides which rows are validation and which are test.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        files = _manual_files(dl_manager) or _downloaded_files(dl_manager)
        # Both are verified before the first example is written.
        texts = {split: source.FILES[split].read(path).decode("ascii") for split, path in files}
        return {split: self._generate_examples(text) for split, text in texts.items()}

    def _generate_examples(self, text):
        lines = text.splitlines(keepends=True)
        for start in range(0, len(lines), _CHUNK):
            columns = parse("".join(lines[start : start + _CHUNK]))
            for name in NUMERIC:
                columns[name] = list(map(int, columns[name]))
            columns["instance_weight"] = list(map(float, columns["instance_weight"]))
            for row, values in enumerate(zip(*columns.values(), strict=True), start):
                yield row, dict(zip(columns, values, strict=True))


def _manual_files(dl_manager):
    try:
        directory = dl_manager.manual_dir
    except AssertionError:  # How TFDS says that there is no such directory, or an empty one.
        return None
    files = source.find(directory, dl_manager.extract)
    return files.items() if files else None


def _downloaded_files(dl_manager):
    files = source.find(dl_manager.download_and_extract(source.URL), dl_manager.extract)
    if not files:
        names = " and ".join(file.name for file in source.FILES.values())
        raise ValueError(f"The archive must hold {names}. Received: url={source.URL}")
    return files.items()
