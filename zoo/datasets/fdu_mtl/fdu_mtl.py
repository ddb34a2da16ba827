"""FDU-MTL as a TensorFlow Datasets builder.

The files come from `<data_dir>/downloads/manual` where they lie there, else from the repository
that publishes them. They are verified by SHA-256, see `checksums.tsv`.
"""

import tensorflow_datasets as tfds

from zoo.datasets.fdu_mtl import files
from zoo.datasets.source_file import contents

_DESCRIPTION = """
Reviews of 16 domains, 14 of them products and two movies, each positive or negative: about 1,400
for training, 200 for development and 400 for testing in each. Texts are tokenised and lower-case.
"""

_CITATION = """
@inproceedings{liu2017adversarial,
  title     = {Adversarial Multi-task Learning for Text Classification},
  author    = {Liu, Pengfei and Qiu, Xipeng and Huang, Xuanjing},
  booktitle = {Proceedings of the 55th Annual Meeting of the Association for Computational Linguistics},
  year      = {2017},
  url       = {https://aclanthology.org/P17-1001}
}
"""  # noqa: E501

_LICENSE = "MIT of the repository that publishes the files; none is stated for the reviews"


class FduMtl(tfds.core.GeneratorBasedBuilder):
    """16 domains' reviews: text, domain and sentiment.

    Example, which downloads unless the files lie in `<data_dir>/downloads/manual`:

    ```python
    builder = FduMtl(data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. Put the 32 files `<domain>.task.train` and
    `<domain>.task.test` (or the same with `.gz`), from data/fdu-mtl of {files.HOMEPAGE}, into the
    directory.
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "domain": tfds.features.ClassLabel(names=files.DOMAINS),
                    "positive": tfds.features.ClassLabel(names=["no", "yes"]),
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
        rows = {key: files.parsed(content) for key, content in found.items()}
        last = slice(-files.DEVELOPMENT, None)
        parts = {
            "train": ("train", slice(None, -files.DEVELOPMENT)),
            "validation": ("train", last),
            "test": ("test", slice(None)),
        }
        return {
            split: self._generate_examples(
                {
                    domain: [column[where] for column in rows[domain, part]]
                    for domain in files.DOMAINS
                }
            )
            for split, (part, where) in parts.items()
        }

    def _generate_examples(self, rows):
        for domain, (texts, labels) in rows.items():
            for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
                yield f"{domain}_{i}", {"text": text, "domain": domain, "positive": label}
