"""The gradients of K tasks on one batch, from one pass through every head."""

import contextlib
import itertools
import math
from typing import Any

from keras import ops

from mtl_keras.gradients.autodiff import (
    dense,
    num_replicas,
    row_products,
    sum_over_replicas,
    vjp,
)
from mtl_keras.gradients.dense_layers import DenseLayers
from mtl_keras.gradients.graph import CallContext, SharedGraph
from mtl_keras.row_tasks import RowTasks


class TaskGradients:
    """What a batch says: predictions, losses, and each task's gradient.

    Every head gets its own copy of the forks. One backward pass of the summed loss through the
    heads then yields each task's gradient at the forks and the gradients of all heads; the
    passes through the trunk are left to `rows` (one a task) or `weighted` (one for all).

    Args:
        model: a compiled `MultiTaskModel`.
        graph: what its tasks share.
        x, y, sample_weight: the batch.
        row_tasks: how to tell the tasks of an output apart by their rows, if it has several.
            Then K is the number of outputs times theirs.
        dense: layers of the trunk to probe, for `gramian`.

    Attributes:
        losses: the tasks' losses over all replicas, (K,).
        total: what is minimised, on this replica, with regularisers and added losses.
        y_pred: dict of outputs.
        forks: the tensors at which trunk and heads meet.
        scale: what mixed precision multiplied the gradients by.
        num_rows: the size of the batch.
    """

    def __init__(
        self,
        model: Any,
        graph: SharedGraph,
        x: Any,
        y: Any,
        sample_weight: Any,
        row_tasks: RowTasks | None = None,
        dense: DenseLayers | None = None,
    ):
        self._model, self._graph, self.dense = model, graph, dense
        x = model._standardize_inputs(x)
        self.num_rows = ops.shape(x[0])[0]
        self._probes = dense.probes(self.num_rows) if dense else []
        self._members = row_tasks and row_tasks.members(x)
        self._batch = (y, sample_weight)
        self._state = model.variables + model.metrics_variables + model.optimizer.variables
        self.scale = model.optimizer.scale_loss(1.0)
        CallContext(self._run)(x, training=True)

    def _run(self, inputs):
        graph, model = self._graph, self._model
        self._trained = [*graph.shared, *itertools.chain(*graph.private.values())]
        model._clear_losses()
        trunk = lambda probes: self._run_trunk(inputs, probes)  # noqa: E731
        outputs, cut, self._pull_trunk = vjp(trunk, self._trained, self._probes, self._state)
        *cut, self._probed_inputs = cut
        self.forks = outputs[: len(outputs) - self._has_added]
        model._clear_losses()
        reads = {
            task: [*indices, *(self._logits[i] for i in indices if i in self._logits)]
            for task, indices in graph.reads.items()
        }
        copies = [self.forks[i] for indices in reads.values() for i in indices]
        heads = lambda copies: self._run_heads(copies, reads, *cut)  # noqa: E731
        sources = graph.heads + self._trained[len(graph.shared) :]
        totals, (self.y_pred, self.losses), pull = vjp(heads, sources, copies, self._state)
        one = ops.ones_like(totals[0]) * self.scale
        found = pull([one, *[None] * len(totals[1:])])
        self._head_gradients = dict(zip(map(id, sources), found, strict=False))
        self._cotangents = self._by_task(found[len(sources) :], reads)
        if self._members is not None:
            self._cotangents = self._by_group(self._cotangents)
        self._cotangents_of_added = [None] * len(self.forks)
        if totals[1:]:
            found = pull([None, one])
            _add(self._head_gradients, sources, found[: len(sources)])
            by_fork = zip(*self._by_task(found[len(sources) :], reads).values(), strict=True)
            self._cotangents_of_added = [_sum(cotangents) for cotangents in by_fork]
        self.total = ops.stop_gradient(sum([*outputs[len(self.forks) :], *totals]))

    def _run_trunk(self, inputs, probes):
        probing = self.dense.probed(probes) if probes else contextlib.nullcontext([])
        with probing as probed_inputs:
            forks, passed = self._graph.run_trunk(inputs)
        masks = [getattr(tensor, "_keras_mask", None) for tensor in [*forks, *passed]]
        # Kept by Keras beside a sigmoid's output, for a loss that is exact where it saturates:
        # of an output that is a fork itself, the logits are one too.
        beside = [i for i, fork in enumerate(forks) if hasattr(fork, "_keras_logits")]
        self._logits = {i: len(forks) + position for position, i in enumerate(beside)}
        added = self._added_losses(self._trained, self._losses_of_layers())
        self._has_added = bool(added)
        logits = [forks[i]._keras_logits for i in beside]
        return [*forks, *logits, *added], (passed, masks, probed_inputs)

    def _run_heads(self, copies, reads, passed, masks):
        graph, model = self._graph, self._model
        for tensor, mask in zip(passed, masks[len(graph.forks) :], strict=True):
            _set_mask(tensor, mask)
        y_pred, position = {}, 0
        for task, indices in reads.items():
            own = dict(zip(indices, copies[position:], strict=False))
            position += len(indices)
            forks = [own[i] for i in graph.reads[task]]
            for i, copy in zip(graph.reads[task], forks, strict=True):
                _set_mask(copy, masks[i])
                if i in self._logits:
                    copy._keras_logits = own[self._logits[i]]
            y_pred[task] = graph.run_head(task, forks, passed)
        # Before replicas wait for each other: the next one clears what layers added.
        of_layers = self._losses_of_layers()
        added = self._added_losses(graph.heads)
        y, sample_weight = self._batch
        losses = model.update_task_losses(y, y_pred, sample_weight, self._members)
        reported = ops.stack(sum_over_replicas([ops.stop_gradient(x) for x in losses.values()]))
        total = sum([*losses.values(), *added])
        if self._members is not None:
            reported, total = ops.reshape(reported, (-1,)), ops.sum(total)
        # Apart: what a head adds may reach the forks, and there would pass for its task's.
        return [total, *([sum(of_layers) / num_replicas()] if of_layers else [])], (
            y_pred,
            reported,
        )

    def _added_losses(self, variables, of_layers=()):
        # Regularisers and losses that layers add are no tasks: nobody balances them.
        added = [
            v.regularizer(ops.convert_to_tensor(v)) for v in variables if v.regularizer is not None
        ]
        added = [*of_layers, *added]
        return [sum(added) / num_replicas()] if added else []

    def _losses_of_layers(self):
        regularised = sum(v.regularizer is not None for v in self._model.trainable_weights)
        losses = list(self._model.losses)
        return losses[: len(losses) - regularised]

    def _by_task(self, cotangents, reads):
        # By task, one cotangent a fork; None where the head does not read it.
        found, position = {}, 0
        for task, indices in reads.items():
            own = dict(zip(indices, cotangents[position:], strict=False))
            position += len(indices)
            found[task] = [own.get(i) for i in range(len(self.forks))]
        return found

    def _by_group(self, found):
        return {
            (task, group): [c if c is None else _of_rows(c, self._members[:, group]) for c in own]
            for task, own in found.items()
            for group in range(self._members.shape[1])
        }

    def rows(self, half: int | None = None) -> list:
        """For each shared variable the tasks' gradients over all replicas, (K, size).

        Args:
            half: 0 or 1: only what the even or the odd rows of the batch contribute.
        """
        graph = self._graph
        found = [self._pull(_of_half(own, half), graph.shared) for own in self._cotangents.values()]
        blocks = [
            ops.stack([_flat(row[i], variable) for row in found])
            for i, variable in enumerate(graph.shared)
        ]
        return sum_over_replicas(blocks)

    def gramian(self) -> Any:
        """G of the shared variables, (K, K), without the tasks' gradients of dense layers."""
        rest = [v for v in self._graph.shared if id(v) not in self.dense.covered]
        found = [self._pull(own, rest, probes=True) for own in self._cotangents.values()]
        blocks = [
            ops.stack([_flat(row[i], variable) for row in found]) for i, variable in enumerate(rest)
        ]
        of_dense = self.dense.gramian(self._probed_inputs, [row[len(rest) :] for row in found])
        return gramian_of(blocks, blocks) + of_dense

    def representations(self) -> list:
        """For each fork the tasks' gradients at it, (K, entries), on this replica, in float32."""
        return [
            ops.stack([self._flat_cotangent(own[i], fork) for own in self._cotangents.values()])
            for i, fork in enumerate(self.forks)
        ]

    def _flat_cotangent(self, cotangent, fork):
        flat = ops.reshape(_float32(fork if cotangent is None else cotangent), (-1,))
        return ops.zeros_like(flat) if cotangent is None else flat

    def weighted(self, weights: Any, representations: list | None = None) -> list:
        """The shared variables' gradient of sum_k w_k L_k, in one pass through the trunk.

        Args:
            weights: w, (K,).
            representations: what `representations` gave, if it was called: one product then
                takes the place of K sums.
        """
        if representations is not None:
            return self.pulled(self._mixed(weights, representations))
        return self.pulled(
            [_weighted_sum(own, weights) for own in zip(*self._cotangents.values(), strict=True)]
        )

    def product(self, weights: Any, representations: list) -> Any:
        """G w = J (J^T w), (K,), over all replicas: two passes, whatever K is.

        The pass back through the trunk is linear in the cotangents; its own transpose takes
        a change of the shared variables to the change of the forks, where each task's gradient
        is known. Nothing runs forward again, so dropout and batch statistics stay as they are.
        """
        mixed = self._mixed(weights, representations)
        local, _, push = vjp(lambda given: (self.pulled(given), None), [], mixed, self._state)
        changes = push(sum_over_replicas(local))
        products = [
            (block @ ops.reshape(_float32(change), (-1, 1)))[:, 0]
            for block, change in zip(representations, changes, strict=True)
            if change is not None
        ]
        return sum_over_replicas([sum(products)])[0]

    def _mixed(self, weights, representations):
        # The cotangents of the forks for a weighted loss.
        weights = _float32(weights)[None]
        return [
            ops.cast(ops.reshape(weights @ block, ops.shape(fork)), fork.dtype)
            for block, fork in zip(representations, self.forks, strict=True)
        ]

    def pulled(self, cotangents: list) -> list:
        """The shared variables' gradient for given cotangents of the forks."""
        found = self._pull(cotangents, self._graph.shared)
        return [
            ops.zeros(v.shape, v.dtype) if g is None else dense(g)
            for v, g in zip(self._graph.shared, found, strict=True)
        ]

    def gradients(self, shared: list) -> list:
        """Gradients of all trainable variables of the model, in order; heads get their own.

        Args:
            shared: the balanced gradient of each shared variable.
        """
        graph = self._graph
        found = dict(self._head_gradients)
        for task, variables in graph.private.items():
            if variables:
                own = self._pull(self._cotangents[task], variables)
                _add(found, variables, own)
        for variable, gradient in zip(graph.shared, shared, strict=True):
            found[id(variable)] = gradient
        cotangents = list(self._cotangents_of_added)
        if self._has_added:
            cotangents.append(ops.ones_like(self.total) * self.scale)
        if any(cotangent is not None for cotangent in cotangents):
            _add(found, self._trained, self._pull(cotangents, self._trained))
        return [found.get(id(v)) for v in self._model.trainable_variables]

    def _pull(self, cotangents, variables, probes=False):
        if self._has_added and len(cotangents) == len(self.forks):
            cotangents = [*cotangents, None]
        wanted = {id(v) for v in variables}
        wanted = [id(v) in wanted for v in self._trained] + [probes] * len(self._probes)
        found = self._pull_trunk(cotangents, wanted)
        by_id = dict(zip(map(id, self._trained), found, strict=False))
        return [by_id[id(v)] for v in variables] + probes * found[len(self._trained) :]


def gramian_of(first: list, second: list) -> Any:
    """The products of the rows of two lists of blocks (K, size), (K, K), in float32."""
    return sum(_product(a, b) for a, b in zip(first, second, strict=True))


def _product(a, b):
    # In float32: of half precision, as at the representation, squares underflow.
    return row_products(_float32(a), _float32(b))


def _flat(gradient, variable):
    size = math.prod(variable.shape)
    if gradient is None:
        return ops.zeros((size,), variable.dtype)
    return ops.reshape(dense(gradient), (size,))


def _of_half(cotangents, half):
    if half is None:
        return cotangents
    return [
        c if c is None else _of_rows(c, ops.arange(ops.shape(c)[0]) % 2 == half) for c in cotangents
    ]


def _of_rows(cotangent, rows):
    shape = (-1,) + (1,) * (len(cotangent.shape) - 1)
    return cotangent * ops.cast(ops.reshape(rows, shape), cotangent.dtype)


def _add(found, variables, gradients):
    for variable, gradient in zip(variables, gradients, strict=True):
        if gradient is not None:
            present = found.get(id(variable))
            found[id(variable)] = gradient if present is None else present + gradient


def _sum(cotangents):
    present = [cotangent for cotangent in cotangents if cotangent is not None]
    return sum(present[1:], present[0]) if present else None


def _weighted_sum(cotangents, weights):
    terms = [
        cotangent * ops.cast(weights[k], cotangent.dtype)
        for k, cotangent in enumerate(cotangents)
        if cotangent is not None
    ]
    return sum(terms[1:], terms[0]) if terms else None


def _float32(tensor):
    return ops.cast(tensor, "float32")


def _set_mask(tensor, mask):
    if mask is not None:
        tensor._keras_mask = mask
