"""Counts the full data of a data set and writes `info.json` into its package.

    python -m zoo.datasets.write_info NAME --data-dir DIR

DIR is a directory of TensorFlow Datasets; what is not prepared there is prepared first.
"""

import argparse
import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.datasets.info import Counts, info
from zoo.datasets.registry import load, package_of, variant_of


def counted(name: str, data_dir: str) -> dict[str, Any]:
    """What `info.json` holds, from the full data."""
    package = package_of(name)
    counts = {}
    for variant in getattr(package, "VARIANTS", (None,)):
        data = load(name, source="tfds", data_dir=data_dir, variant=variant)
        rates = {
            "label_rates": {split: dict(of) for split, of in data.label_rates.items()},
            "missing_rates": {split: dict(of) for split, of in data.missing_rates.items()},
        }
        counts[variant or ""] = asdict(Counts(dict(data.sizes), **_rounded(rates)))
    published = importlib.import_module(f"{package.__name__}.full").make_builder(
        *variant_of(package, None), data_dir=None
    )
    return {
        "licence": published.info.redistribution_info.license,
        "homepage": published.info.homepage,
        "citation": published.info.citation,
        "counts": counts,
    }


def _rounded(rates):
    if isinstance(rates, dict):
        return {key: _rounded(value) for key, value in rates.items()}
    return round(rates, 6)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--data-dir", required=True)
    options = parser.parse_args()
    path = Path(package_of(options.name).__file__).parent / "info.json"
    text = json.dumps(counted(options.name, options.data_dir), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")
    print(f"{path}\n{info(options.name)}")


if __name__ == "__main__":
    main()
