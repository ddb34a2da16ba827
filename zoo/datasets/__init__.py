"""Ready data sets: one call gives batches, feature statistics and tasks.

>>> data = load("census_income")
>>> sorted(data.sizes)
['test', 'train', 'validation']

TensorFlow and TensorFlow Datasets are imported when a data set is loaded, not here.
"""

from zoo.datasets.dataset import Dataset
from zoo.datasets.info import Info, info
from zoo.datasets.registry import list, load

__all__ = ["Dataset", "Info", "info", "list", "load"]
