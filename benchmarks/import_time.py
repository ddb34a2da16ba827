"""What `import mtl_keras` adds to `import keras`.

    python benchmarks/import_time.py [--runs 9]

Each run is a new process that imports Keras, then times `import mtl_keras` alone: what the
package adds, free of the seconds (and the spread) of TensorFlow itself.
"""

import argparse
import os
import subprocess
import sys

import numpy as np

SCRIPT = """
import time
start = time.perf_counter()
import keras
middle = time.perf_counter()
import mtl_keras
print(middle - start, time.perf_counter() - middle)
"""


def main():
    """Prints medians and ranges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    times = []
    for i in range(runs + 1):
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        times.append([float(word) for word in process.stdout.split()[-2:]])
        print(f"run {i} of {runs}", end="\r", flush=True)
    # The first run warms the disk cache.
    times = np.array(times[1:])
    for name, column in zip(("import keras", "import mtl_keras adds"), times.T, strict=True):
        low, middle, high = column.min(), np.median(column), column.max()
        print(f"{name:<22} {middle:.3f} s ({low:.3f} to {high:.3f}, {runs} runs)")


if __name__ == "__main__":
    main()
