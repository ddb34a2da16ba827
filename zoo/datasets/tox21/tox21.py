"""Tox21 as a TensorFlow Datasets builder.

The file comes from `<data_dir>/downloads/manual` where it lies there, else from the repository
that publishes it. It is verified by SHA-256; its molecules become fingerprints by RDKit.
"""

import numpy as np
import tensorflow_datasets as tfds

from zoo.datasets.source_file import contents
from zoo.datasets.tox21 import files
from zoo.datasets.tox21.fingerprint import BITS, fingerprints
from zoo.datasets.tox21.split import split_of

_DESCRIPTION = """
Molecules and whether each disturbs one of seven nuclear receptors or causes one of five responses
to stress: twelve assays of the Tox21 programme, as collected for MoleculeNet. Labels are 0, 1 or,
where an assay gave none, NaN. The fingerprint is Morgan's of radius 2, folded to 1,024 bits, made
by RDKit. Splits keep molecules of one fingerprint together, about 80, 10 and 10 %.
"""

_CITATION = """
@article{huang2016tox21challenge,
  title   = {Tox21Challenge to Build Predictive Models of Nuclear Receptor and Stress Response Pathways as Mediated by Exposure to Environmental Chemicals and Drugs},
  author  = {Huang, Ruili and Xia, Menghang and Nguyen, Dac-Trung and Zhao, Tongan and Sakamuru, Srilatha and Zhao, Jinghua and Shahane, Sampada A. and Rossoshek, Anna and Simeonov, Anton},
  journal = {Frontiers in Environmental Science},
  volume  = {3},
  pages   = {85},
  year    = {2016}
}
@article{wu2018moleculenet,
  title   = {MoleculeNet: A Benchmark for Molecular Machine Learning},
  author  = {Wu, Zhenqin and Ramsundar, Bharath and Feinberg, Evan N. and Gomes, Joseph and Geniesse, Caleb and Pappu, Aneesh S. and Leswing, Karl and Pande, Vijay},
  journal = {Chemical Science},
  volume  = {9},
  pages   = {513--530},
  year    = {2018}
}
"""  # noqa: E501

_LICENSE = "MIT of the repository that publishes the file; the data are of the US government"


class Tox21(tfds.core.GeneratorBasedBuilder):
    """8,006 molecules: id, SMILES, fingerprint and twelve labels.

    Example, which downloads unless the file lies in `<data_dir>/downloads/manual`:

    ```python
    builder = Tox21(data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. Put `tox21.csv.gz` (or the same without `.gz`), from
    datasets of {files.REPOSITORY}, into the directory.
    """

    def _info(self):
        bits = tfds.features.Tensor(shape=(BITS,), dtype=np.uint8, encoding="bytes")
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "mol_id": tfds.features.Text(),
                    "smiles": tfds.features.Text(),
                    "fingerprint": bits,
                    **dict.fromkeys(files.ASSAYS, np.float32),
                }
            ),
            homepage=files.HOMEPAGE,
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        content = contents(dl_manager, files.source_files())["molecules"]
        ids, smiles, labels = files.parsed(content)
        bits = fingerprints(smiles)
        splits = np.array([split_of(fingerprint) for fingerprint in bits])
        return {
            split: self._generate_examples(
                (ids[i], smiles[i], bits[i], labels[i]) for i in np.flatnonzero(splits == split)
            )
            for split in ("train", "validation", "test")
        }

    def _generate_examples(self, rows):
        for mol_id, smiles, fingerprint, labels in rows:
            example = {"mol_id": mol_id, "smiles": smiles, "fingerprint": fingerprint}
            yield mol_id, example | dict(zip(files.ASSAYS, labels, strict=True))
