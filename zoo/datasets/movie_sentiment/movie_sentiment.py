"""SST-2 and rt-polarity as a TensorFlow Datasets builder.

The files come from `<data_dir>/downloads/manual` where they lie there, else from the
repositories that publish them. They are verified by SHA-256, see `checksums.tsv`.
"""

import tensorflow_datasets as tfds

from zoo.datasets.movie_sentiment import VARIANTS, files
from zoo.datasets.source_file import contents

_DESCRIPTION = """
Sentences of movie reviews, each positive or negative: the two-class sentences of the Stanford
Sentiment Treebank in their official split, or those that they were taken from, Pang & Lee's
sentence polarity data, split by the SHA-256 of the sentence.
"""

_CITATION = """
@inproceedings{socher2013recursive,
  title     = {Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank},
  author    = {Socher, Richard and Perelygin, Alex and Wu, Jean and Chuang, Jason and Manning, Christopher D. and Ng, Andrew and Potts, Christopher},
  booktitle = {Proceedings of the 2013 Conference on Empirical Methods in Natural Language Processing},
  year      = {2013}
}
@inproceedings{pang2005seeing,
  title     = {Seeing Stars: Exploiting Class Relationships for Sentiment Categorization with Respect to Rating Scales},
  author    = {Pang, Bo and Lee, Lillian},
  booktitle = {Proceedings of the 43rd Annual Meeting of the Association for Computational Linguistics},
  year      = {2005}
}
"""  # noqa: E501

_LICENSE = "none stated; rt-polarity: research use"


class MovieSentiment(tfds.core.GeneratorBasedBuilder):
    """Sentences and their sentiment.

    Example, which downloads unless the files lie in `<data_dir>/downloads/manual`:

    ```python
    builder = MovieSentiment(config="rt_polarity", data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in VARIANTS]  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. For "sst2" put `train.tsv`, `dev.tsv` and `test.tsv` of
    data/SST2 of {files.HOMEPAGES["sst2"]} into a folder `sst2` of the directory; for "rt_polarity"
    `rt-polarity.pos` and `rt-polarity.neg` of data/rt-polaritydata of
    {files.HOMEPAGES["rt_polarity"]} into the directory.
    """

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "sentiment": tfds.features.ClassLabel(names=files.SENTIMENTS),
                }
            ),
            homepage=files.HOMEPAGES[self.builder_config.name],
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        # All are verified before the first example is written.
        found = contents(dl_manager, files.source_files(self.builder_config.name))
        return {split: self._generate_examples(rows) for split, rows in files.splits(found).items()}

    def _generate_examples(self, rows):
        for i, (text, sentiment) in enumerate(rows):
            yield i, {"text": text, "sentiment": sentiment}
