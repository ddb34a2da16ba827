"""What `compile` made of soft-sharing penalties: terms of the loss, and steps of their own."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.gradients.autodiff import cond, num_replicas, vjp
from mtl_keras.sharing.base import Sharing
from mtl_keras.sharing.towers import checked_shapes, corresponding_weights


class SoftSharing:
    """The penalties of a model, and the weights that they see.

    Args:
        model: the model.
        penalties: a `Sharing`, several, or None.

    Attributes:
        penalties: the penalties, a list.
        metrics: what each adds to the loss, under its name.
        state: holds the variables: the number of training steps, and subgradients in use.

    Raises:
        ValueError: for anything else, equal names, and towers that do not correspond.
    """

    def __init__(self, model: Any, penalties: Sharing | Sequence[Sharing] | None):
        self.penalties = _checked_penalties(penalties)
        self.arguments = {"sharing": self.penalties} if self.penalties else {}
        self._model = model
        self.metrics = [keras.metrics.Mean(name=penalty.name) for penalty in self.penalties]
        self.state = keras.layers.Layer(name="sharing")
        self._seen = [self._weights_of(penalty) for penalty in self.penalties]
        if self.penalties:
            self._step = self._add("step", (), "int32")
        self._kept = {
            (i, path): self._add(f"{penalty.name}_{path.replace('/', '_')}", _stacked_shape(group))
            for i, penalty in enumerate(self.penalties)
            if penalty.every > 1 and not penalty.proximal
            for path, (group, _) in self._seen[i].items()
        }

    def _add(self, name, shape, dtype="float32"):
        return self.state.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def _weights_of(self, penalty):
        groups = corresponding_weights(self._model, penalty.towers)
        return {
            path: (checked_shapes(path, group), penalty.factor(path))
            for path, group in groups.items()
            if penalty.factor(path)
        }

    def terms(self, training: bool) -> list:
        """What the penalties add to the loss, on this replica: one scalar, or none.

        In training a call is a step: schedules go on.
        """
        if not self.penalties:
            return []
        values = self.values(training)
        for metric, value in zip(self.metrics, values, strict=True):
            metric.update_state(ops.stop_gradient(value))
        if training:
            self._step.assign_add(1)
        return [sum(values) / num_replicas()]

    def values(self, training: bool = False) -> list:
        """Each penalty, of the weights as they are."""
        found = []
        for i, penalty in enumerate(self.penalties):
            value = sum(self._values(i, penalty, ops.copy(self._step.value), training))
            # A step of its own takes the place of its gradient.
            found.append(ops.stop_gradient(value) if penalty.proximal else value)
        return found

    def _values(self, i, penalty, step, training):
        for path, (group, factor) in self._seen[i].items():
            weights = _tensors(group)
            if training and (i, path) in self._kept:
                subgradient = _refreshed(self._kept[i, path], penalty, weights, step)
                yield penalty.value(weights, factor, step, subgradient)
            else:
                yield penalty.value(weights, factor, step)

    def gradients(self, scale: Any) -> tuple[Any, dict[int, Any]]:
        """The terms of a training step, and their gradients times `scale` by id of variable."""
        groups = [group for seen in self._seen for group, _ in seen.values()]
        variables = list({id(v): v for group in groups for v in group}.values())
        state = [*self.state.variables, *(v for m in self.metrics for v in m.variables)]
        (total,), _, pull = vjp(lambda _: (self.terms(training=True), None), variables, [], state)
        found = pull([ops.ones_like(total) * scale])
        return ops.stop_gradient(total), dict(zip(map(id, variables), found, strict=False))

    @property
    def follows_updates(self) -> bool:
        """Whether a penalty takes a step of its own."""
        return any(penalty.proximal for penalty in self.penalties)

    def follow_update(self) -> None:
        """The penalties' own steps, after one of the optimizer."""
        if num_replicas() > 1:
            raise ValueError(
                "`proximal` must be False with several replicas of `tf.distribute`. "
                f"Received: proximal=True with {num_replicas()} replicas"
            )
        optimizer = self._model.optimizer
        rate = ops.convert_to_tensor(optimizer.learning_rate)
        rate = rate / (optimizer.gradient_accumulation_steps or 1)
        step = ops.convert_to_tensor(self._step)
        for penalty, seen in zip(self.penalties, self._seen, strict=True):
            for group, factor in seen.values() if penalty.proximal else ():
                _take_step(penalty, group, factor, step, rate)


def _take_step(penalty, group, factor, step, rate):
    weights = _tensors(group)
    move = lambda: penalty.updated(weights, factor, step - 1, penalty.every * rate)  # noqa: E731
    if penalty.every > 1:
        moved = cond(ops.equal(step % penalty.every, 0), move, lambda: weights, [])
    else:
        moved = move()
    for variable, value in zip(group, moved, strict=True):
        variable.assign(value)


def _refreshed(kept, penalty, weights, step):
    weights = tuple(map(ops.stop_gradient, weights))
    older = ops.convert_to_tensor(kept)
    due = ops.equal(step % penalty.every, 0)
    found = cond(due, lambda: penalty.subgradient(weights), lambda: older, [])
    kept.assign(found)
    return found


def _tensors(group):
    return tuple(map(ops.convert_to_tensor, group))


def _stacked_shape(group):
    return (len(group), *group[0].shape)


def _checked_penalties(penalties):
    listed = [penalties] if isinstance(penalties, Sharing) else list(penalties or [])
    if not all(isinstance(penalty, Sharing) for penalty in listed):
        raise ValueError(
            "`sharing` must be a penalty such as mtl_keras.sharing.L2Sharing(), or several. "
            f"Received: sharing={penalties!r}"
        )
    names = [penalty.name for penalty in listed]
    if len(set(names)) < len(names):
        raise ValueError(f"Penalties must have different names. Received: {names}")
    return listed
