"""info: what a data set is, without loading it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from zoo.datasets.registry import package_of, variant_of

if TYPE_CHECKING:
    from mtl_keras.tasks import Task


@dataclass(frozen=True)
class Counts:
    """Rows, and rates from 0 to 1, of the full data's splits."""

    sizes: Mapping[str, int]
    label_rates: Mapping[str, Mapping[str, float]]
    missing_rates: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, repr=False)
class Info:
    """What a data set is.

    Args:
        name: name in `zoo.datasets.list()`.
        variant: which of its variants this is, None where there are none.
        title: one line.
        tasks: its tasks.
        licence: what its publishers state.
        homepage: where it is described.
        citation: BibTeX.
        counts: rows and rates of the full data.
        class_names: task name to the names of its classes, by number, where they have any.
    """

    name: str
    variant: str | None
    title: str
    tasks: Sequence["Task"]
    licence: str
    homepage: str
    citation: str
    counts: Counts
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __repr__(self):
        label_rates, missing_rates = self.counts.label_rates, self.counts.missing_rates
        lines = [self.title, f"{self.licence} · {self.homepage}", f"tasks: {self.tasks}"]
        for split, rows in self.counts.sizes.items():
            rates = [f"{task} {rate:.2%} positive" for task, rate in label_rates[split].items()]
            rates += [f"{t} {rate:.2%} missing" for t, rate in missing_rates[split].items() if rate]
            lines.append(f"{split:<12}{rows:>9,}  {', '.join(rates)}".rstrip())
        return "\n".join(lines)


def info(name: str, variant: str | None = None) -> Info:
    """What a data set is: its tasks, sizes, rates of labels and of missing ones, and licence.

    Args:
        name: one of `zoo.datasets.list()`.
        variant: which of a data set that has several; default its first.

    Raises:
        ValueError: for an unknown name or variant.

    Example:

    >>> counted = info("fdu_mtl").counts
    >>> counted.sizes
    {'train': 22180, 'validation': 3200, 'test': 6400}
    """
    package = package_of(name)
    chosen = variant_of(package, variant)
    known = json.loads((resources.files(package) / "info.json").read_text("utf-8"))
    counts = known.pop("counts")["/".join(chosen)]
    return Info(
        name=name,
        variant=chosen[0] if chosen else None,
        title=package.__doc__.splitlines()[0],
        tasks=package.make_tasks(*chosen),
        counts=Counts(**counts),
        class_names=package.make_class_names() if hasattr(package, "make_class_names") else {},
        **known,
    )
