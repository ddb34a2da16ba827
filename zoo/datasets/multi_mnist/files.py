"""The files of MNIST and Fashion-MNIST, and how they are read."""

import numpy as np

from zoo.datasets.source_file import SourceFile

MNIST = "https://storage.googleapis.com/cvdf-datasets/mnist/"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

# Of the decompressed content: archives of it differ.
_SHA256 = {
    "mnist/train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "mnist/train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "mnist/t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "mnist/t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
    "fashion-mnist/train-images-idx3-ubyte": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "fashion-mnist/train-labels-idx1-ubyte": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "fashion-mnist/t10k-images-idx3-ubyte": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "fashion-mnist/t10k-labels-idx1-ubyte": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}


def source_files(folder: str) -> dict[tuple[str, str], SourceFile]:
    """(part, kind) to the file: parts "train" and "t10k", kinds "images" and "labels".

    Args:
        folder: "mnist" or "fashion-mnist", where the files of one name are told apart.
    """
    base = MNIST if folder == "mnist" else FASHION
    files = {}
    for name, sha256 in _SHA256.items():
        where, file = name.split("/")
        if where == folder:
            part, kind, *_ = file.split("-")
            files[part, kind] = SourceFile(name, sha256, f"{base}{file}.gz")
    return files


def parsed(content: bytes) -> np.ndarray:
    """The uint8 array of a file in the IDX format: its magic number tells how many axes."""
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
