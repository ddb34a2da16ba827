"""SNIPS as a TensorFlow Datasets builder.

The files come from `<data_dir>/downloads/manual/snips` where they lie there, else from the
repository that publishes them. They are verified by SHA-256, see `checksums.tsv`.
"""

import tensorflow_datasets as tfds

from zoo.datasets.snips import files
from zoo.datasets.source_file import contents

_DESCRIPTION = """
Requests to a voice assistant, in English and lower-case, each with what it wants, one of seven
intents, and with a tag a word: 39 kinds of slots, such as the artist to play, in 72 IOB tags. The
split is that of Goo et al. 2018.
"""

_CITATION = """
@article{coucke2018snips,
  title   = {Snips Voice Platform: an embedded Spoken Language Understanding system for private-by-design voice interfaces},
  author  = {Coucke, Alice and Saade, Alaa and Ball, Adrien and Bluche, Th{\\'e}odore and Caulier, Alexandre and Leroy, David and Doumouro, Cl{\\'e}ment and Gisselbrecht, Thibault and Caltagirone, Francesco and Lavril, Thibaut and Primet, Ma{\\"e}l and Dureau, Joseph},
  journal = {arXiv:1805.10190},
  year    = {2018}
}
@inproceedings{goo2018slot,
  title     = {Slot-Gated Modeling for Joint Slot Filling and Intent Prediction},
  author    = {Goo, Chih-Wen and Gao, Guang and Hsu, Yun-Kai and Huo, Chih-Li and Chen, Tsung-Chieh and Hsu, Keng-Wei and Chen, Yun-Nung},
  booktitle = {Proceedings of the 2018 Conference of the North American Chapter of the Association for Computational Linguistics: Human Language Technologies},
  year      = {2018}
}
"""  # noqa: E501

_LICENSE = "none stated by who publishes the files; CC0 at its origin, from memory, not confirmed"
_PARTS = {"train": "train", "validation": "valid", "test": "test"}
"""Split to what the files call it."""


class Snips(tfds.core.GeneratorBasedBuilder):
    """Requests: text, intent, and a slot tag a word.

    Example, which downloads unless the files lie in `<data_dir>/downloads/manual/snips`:

    ```python
    builder = Snips(data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. Put the folders `train`, `valid` and `test` of data/snips
    of {files.HOMEPAGE} into a folder `snips` of the directory.
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "intent": tfds.features.ClassLabel(names=files.INTENTS),
                    "slots": tfds.features.Sequence(tfds.features.ClassLabel(names=files.SLOTS)),
                }
            ),
            homepage=files.HOMEPAGE,
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        # All are verified before the first example is written.
        found = contents(dl_manager, files.source_files())
        rows = {
            split: files.parsed(*(found[part, kind] for kind in ("seq.in", "seq.out", "label")))
            for split, part in _PARTS.items()
        }
        return {split: self._generate_examples(rows[split]) for split in rows}

    def _generate_examples(self, rows):
        for i, (text, slots, intent) in enumerate(rows):
            yield i, {"text": text, "intent": intent, "slots": slots}
