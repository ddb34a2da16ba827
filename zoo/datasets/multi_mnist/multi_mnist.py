"""MultiMNIST and its relatives as a TensorFlow Datasets builder.

The files come from `<data_dir>/downloads/manual/mnist` and `.../fashion-mnist` where they lie
there, else from where TensorFlow Datasets itself fetches them. They are verified by SHA-256.
"""

import dataclasses

import tensorflow_datasets as tfds

from zoo.datasets.multi_mnist import composition, files
from zoo.datasets.source_file import contents

_DESCRIPTION = """
Two images in one, each with a task of its own: which of ten classes is the one at the top left,
which the one at the bottom right? Composed of MNIST, of Fashion-MNIST, or of a piece of clothing
and a digit, by one of two protocols. The last twelfth of the training files makes the
validation split, so that no image is in two splits.
"""

_CITATION = """
@inproceedings{sener2018multi,
  title     = {Multi-Task Learning as Multi-Objective Optimization},
  author    = {Sener, Ozan and Koltun, Vladlen},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2018}
}
@inproceedings{lin2019pareto,
  title     = {Pareto Multi-Task Learning},
  author    = {Lin, Xi and Zhen, Hui-Ling and Li, Zhenhua and Zhang, Qing-Fu and Kwong, Sam},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}
@article{lecun1998gradient,
  title   = {Gradient-based learning applied to document recognition},
  author  = {LeCun, Yann and Bottou, Leon and Bengio, Yoshua and Haffner, Patrick},
  journal = {Proceedings of the IEEE},
  year    = {1998}
}
@article{xiao2017fashion,
  title   = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  author  = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  journal = {arXiv:1708.07747},
  year    = {2017}
}
"""

_LICENSE = "MNIST: CC BY-SA 3.0, as usually given, from memory; Fashion-MNIST: MIT"
_PARTS = {
    "train": ("train", slice(None, -5_000), 0),
    "validation": ("train", slice(-5_000, None), 1),
    "test": ("t10k", slice(None), 2),
}
"""Split to file, the rows of it, and the seed of its composition."""


@dataclasses.dataclass
class Composition(tfds.core.BuilderConfig):
    """Whose images, and by which protocol."""

    left: str = "mnist"
    right: str = "mnist"
    protocol: str = "sener2018"


def _configs():
    sources = {
        "mnist": ("mnist", "mnist"),
        "fashion": ("fashion-mnist", "fashion-mnist"),
        "fashion_and_mnist": ("fashion-mnist", "mnist"),
    }
    return [
        Composition(name=f"{name}_{protocol}", left=left, right=right, protocol=protocol)
        for name, (left, right) in sources.items()
        for protocol in ("sener2018", "lin2019")
    ]


class MultiMnist(tfds.core.GeneratorBasedBuilder):
    """Pairs of images: image, left and right label.

    Example, which downloads unless the files lie in `<data_dir>/downloads/manual/mnist`:

    ```python
    builder = MultiMnist(config="mnist_lin2019", data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = _configs()
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Only needed where the download fails. Put the four official files of MNIST into a folder
    `mnist` of the directory, those of Fashion-MNIST into `fashion-mnist`, with `.gz` or without.
    """

    def _info(self):
        size = 28 if self.builder_config.protocol == "sener2018" else 36
        label = tfds.features.ClassLabel(num_classes=10)
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 1)),
                    "left": label,
                    "right": label,
                }
            ),
            homepage="https://arxiv.org/abs/1810.04650",
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config
        loaded = {folder: _loaded(dl_manager, folder) for folder in {config.left, config.right}}
        return {
            split: self._generate_examples(loaded[config.left], loaded[config.right], *part)
            for split, part in _PARTS.items()
        }

    def _generate_examples(self, left, right, part, rows, seed):
        compose = getattr(composition, self.builder_config.protocol)
        sides = [
            (arrays[part, "images"][rows], arrays[part, "labels"][rows]) for arrays in (left, right)
        ]
        for i, (image, *labels) in enumerate(zip(*compose(*sides, seed), strict=True)):
            yield i, {"image": image[..., None], "left": int(labels[0]), "right": int(labels[1])}


def _loaded(dl_manager, folder):
    found = contents(dl_manager, files.source_files(folder))
    return {key: files.parsed(content) for key, content in found.items()}
