"""The TFDS builder under TFDS's own test case, on a dummy archive with invented rows."""

import pytest
import tensorflow_datasets as tfds

from zoo.datasets.census_income.census_income import CensusIncome
from zoo.datasets.census_income.columns import COLUMNS


@pytest.mark.usefixtures("dummy_archive")
class CensusIncomeTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = CensusIncome
    EXAMPLE_DIR = __file__.rpartition("/")[0] + "/dummy_data"
    SPLITS = {"train": 40, "test": 20}  # noqa: RUF012
    # The checksum of the archive is unknown; the files in it are verified instead.
    SKIP_CHECKSUMS = True


def test_features_are_all_columns_in_order(tmp_path):
    info = CensusIncome(data_dir=tmp_path).info
    assert set(info.features) == set(COLUMNS)
    assert "CC BY 4.0" in info.redistribution_info.license
    assert "10.24432/C5N30T" in info.citation
