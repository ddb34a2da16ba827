"""Does the quickstart's answer depend on the seed? The quickstart, several times.

    python benchmarks/sharing.py [--seeds 5]

Seeds change initial weights and the order of the training rows; the rows are the same. The
table gives mean and range over seeds of the test AUC, single-task models beside the shared
trunk, and of Delta_m, which pairs the two of one seed.
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from zoo.quickstart import run


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    results = []
    for seed in track(seeds, "training"):
        with tempfile.TemporaryDirectory() as folder:
            silent = Console(file=io.StringIO())
            results.append(run(Path(folder) / "out", seed, console=silent))
    table = Table("test AUC", "single task", "shared trunk", "change in %")
    for task in results[0]["test_auc"]["single task"]:
        alone, shared = (
            np.array([result["test_auc"][side][task] for result in results])
            for side in ("single task", "shared trunk")
        )
        table.add_row(task, *map(_four, (alone, shared)), _two(100 * (shared / alone - 1)))
    table.add_row("Delta_m", "", "", _two(np.array([r["delta_m_percent"] for r in results])))
    console = Console(width=110)
    console.print(table)
    console.print(f"Mean (range) over {len(seeds)} seeds. {results[0]['versions']}")


def _four(values):
    return f"{values.mean():.4f} ({values.min():.4f} to {values.max():.4f})"


def _two(values):
    return f"{values.mean():+.2f} ({values.min():+.2f} to {values.max():+.2f})"


if __name__ == "__main__":
    main()
