"""Slots: how labels of different tasks travel through a stream of examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from mtl_keras.data.structure import Spec, Structure


class Slots:
    """Labels travel in slots, one a shape and type of label, and find their tasks batch by batch.

    So an example of a mixture of a hundred tasks carries one label, not a hundred.

    Args:
        structure: of the data sets.
    """

    def __init__(self, structure: Structure):
        self._names = list(structure.labels)
        self._missing = structure.missing
        self.kinds, self._slot_of = _assigned(structure.labels)
        self._groups = self._grouped(structure.labels)

    def filled(
        self, name: str, labels: dict[str, tf.Tensor], blank: Callable[[Spec], tf.Tensor]
    ) -> tuple:
        """The slots of examples of the data set `name`; `blank` makes those of no label."""
        own = {self._slot_of[name, task]: label for task, label in labels.items()}
        return tuple(own[i] if i in own else blank(kind) for i, kind in enumerate(self.kinds))

    def labels(self, slots: tuple, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels by task of a batch, `ids` (batch,) the positions of the rows' data sets."""
        found = {}
        for used, owners in self._groups.items():
            found |= self._labels_of(used, owners, slots, ids)
        return {task: found[task] for task in self._missing}

    def _labels_of(self, used, owners, slots, ids):
        # For tasks whose labels come in the same slots: (tasks, batch, ...) at once.
        import tensorflow as tf

        kind = self.kinds[used[0]]
        ones = (1,) * len(kind.shape)
        missing = [self._missing[task] for task in owners]
        found = tf.reshape(tf.constant(missing, kind.dtype), (-1, 1, *ones))
        for i, slot in enumerate(used):
            theirs = [[name in own[i] for name in self._names] for own in owners.values()]
            rows = tf.gather(tf.constant(np.array(theirs)), ids, axis=1)
            rows = tf.reshape(rows, (len(owners), -1, *ones))
            found = tf.where(rows, slots[slot][None], found)
        return dict(zip(owners, tf.unstack(found, len(owners)), strict=True))

    def _grouped(self, labels):
        # Slots to {task: for each of the slots, the data sets that label the task there}.
        owners = defaultdict(lambda: defaultdict(set))
        for name, own in labels.items():
            for task in own:
                owners[task][self._slot_of[name, task]].add(name)
        groups = defaultdict(dict)
        for task, by_slot in owners.items():
            used = tuple(sorted(by_slot))
            groups[used][task] = [by_slot[slot] for slot in used]
        return groups


def _assigned(labels):
    # A data set's labels of one kind take the slots of that kind in turn.
    kinds, slot_of = [], {}
    for name, own in labels.items():
        free = dict(enumerate(kinds))
        for task, kind in own.items():
            slot = next((slot for slot, other in free.items() if other == kind), len(kinds))
            if slot == len(kinds):
                kinds.append(kind)
            free.pop(slot, None)
            slot_of[name, task] = slot
    return kinds, slot_of
