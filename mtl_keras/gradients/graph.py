"""What the tasks of a model share, read from its Functional graph."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras


class SharedGraph:
    """A model cut in two: the trunk that several tasks read, and one head a task.

    A variable is shared when two or more outputs depend on it; a layer with several outputs may
    say in `output_variables()` which of them depend on what. The trunk is every node that two
    tasks depend on or that uses a shared variable, and what those nodes depend on; the rest of
    the nodes are the heads. A fork is a tensor of the trunk that a head reads.

    Args:
        inputs: the model's input tensors.
        outputs: dict from task to output tensor.
        variables: the model's trainable variables.
        by_rows: whether each output belongs to several tasks, told apart by their rows. Then
            they share everything: the trunk is the whole model, the forks are its outputs.

    Attributes:
        shared: variables that several tasks train, in the order of `variables`.
        private: by task, the variables of the trunk that no other task trains.
        heads: the variables outside the trunk.
        forks: tensors that heads read and that a trainable variable of the trunk reaches.
        reads: by task, the positions in `forks` that it reads.
        trunk_operations: the layers and operations of the trunk.
    """

    def __init__(
        self, inputs: list, outputs: Mapping[str, Any], variables: Iterable, by_rows: bool = False
    ):
        self.outputs = dict(outputs)
        self._inputs = list(inputs)
        order, users, tensor_users = _ancestry(self.outputs, {id(x) for x in inputs})
        readers = _readers(order, tensor_users)
        least = 1 if by_rows else 2
        trunk = _trunk(order, users, readers, least)
        self._trunk = [node for node in order if id(node) in trunk]
        self.trunk_operations = [node.operation for node in self._trunk]
        self._heads = {
            task: [n for n in order if id(n) not in trunk and task in users[id(n)]]
            for task in self.outputs
        }
        inside = {id(v) for node in self._trunk for v in _variables(node)}
        variables = list(variables)
        self.shared = [v for v in variables if len(readers.get(id(v), ())) >= least]
        own = inside - {id(v) for v in self.shared}
        self.private = {
            task: [v for v in variables if id(v) in own and task in readers.get(id(v), ())]
            for task in self.outputs
        }
        self.heads = [v for v in variables if id(v) not in inside]
        self._passed, self.forks = self._cut({id(v) for v in variables})
        positions = {id(fork): i for i, fork in enumerate(self.forks)}
        self.reads = {
            task: [positions[id(x)] for x in self._read_by(task) if id(x) in positions]
            for task in self.outputs
        }

    def run_trunk(self, inputs: list) -> tuple[list, list]:
        """The forks, and the other tensors that heads read, for values of the inputs."""
        values = dict(zip(map(id, self._inputs), inputs, strict=True))
        _run(self._trunk, values)
        return [values[id(x)] for x in self.forks], [values[id(x)] for x in self._passed]

    def run_head(self, task: str, forks: list, passed: list) -> Any:
        """A task's output, from its own copies of the forks that it reads."""
        values = dict(zip(map(id, self._passed), passed, strict=True))
        values |= {id(self.forks[i]): copy for i, copy in zip(self.reads[task], forks, strict=True)}
        _run(self._heads[task], values)
        return values[id(self.outputs[task])]

    def _read_by(self, task):
        made = {id(x) for node in self._heads[task] for x in node.outputs}
        read = [x for node in self._heads[task] for x in node.arguments.keras_tensors]
        return [x for x in _unique([*read, self.outputs[task]]) if id(x) not in made]

    def _cut(self, trainable):
        reached = set()
        for node in self._trunk:
            upstream = any(id(x) in reached for x in node.arguments.keras_tensors)
            if upstream or any(id(v) in trainable for v in _variables(node)):
                reached |= {id(x) for x in node.outputs if _is_float(x)}
        read = _unique(x for task in self.outputs for x in self._read_by(task))
        return (
            [x for x in read if id(x) not in reached],
            [x for x in read if id(x) in reached],
        )


def between(
    inputs: list, outputs: Mapping[str, Any]
) -> tuple[Callable[[list], dict[str, Any]], list]:
    """The part of a Functional graph from some of its tensors to others.

    Args:
        inputs: tensors of the graph; together they must be enough for the outputs.
        outputs: dict from any key to a tensor of the graph.

    Returns:
        A function from values of the inputs to a dict of values of the outputs, which runs no
        more than these need; and the nodes that it runs, in their order.
    """
    order, _, _ = _ancestry(dict(outputs), {id(x) for x in inputs})

    def run(given: list) -> dict[str, Any]:
        values = dict(zip(map(id, inputs), given, strict=True))
        _run(order, values)
        return {key: values[id(x)] for key, x in outputs.items()}

    return run, order


def _ancestry(outputs, inputs):
    # The nodes in an order in which they can run, and the tasks that depend on each, and on
    # each tensor.
    order, users, tensor_users = {}, {}, {}
    for task, output in outputs.items():
        stack = [(output, False)]
        while stack:
            tensor, expanded = stack.pop()
            if id(tensor) in inputs:
                continue
            tensor_users.setdefault(id(tensor), set()).add(task)
            node = _node(tensor)
            tasks = users.setdefault(id(node), set())
            if expanded:
                order.setdefault(id(node), node)
            elif task not in tasks:
                tasks.add(task)
                stack.append((tensor, True))
                stack.extend((x, False) for x in node.arguments.keras_tensors)
    return list(order.values()), users, tensor_users


def _node(tensor):
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _readers(order, tensor_users):
    readers = {}
    for node in order:
        for output, variables in zip(node.outputs, _by_output(node.operation), strict=False):
            for variable in variables:
                readers.setdefault(id(variable), set()).update(tensor_users.get(id(output), ()))
    return readers


def _by_output(operation):
    """For each output of a layer or operation, the trainable variables that it depends on."""
    if hasattr(operation, "output_variables"):
        return operation.output_variables()
    if not is_functional(operation):
        return itertools.repeat(getattr(operation, "trainable_variables", []))
    outputs = dict(enumerate(operation.outputs))
    order, _, users = _ancestry(outputs, {id(x) for x in operation.inputs})
    readers = _readers(order, users)
    return [
        [v for v in operation.trainable_variables if i in readers.get(id(v), ())] for i in outputs
    ]


def is_functional(operation: Any) -> bool:
    """Whether it is a Functional model, of which the graph says all: no subclass."""
    return isinstance(operation, keras.Model) and type(operation).__name__ == "Functional"


def _trunk(order, users, readers, least):
    trunk = set()
    for node in reversed(order):
        shares = any(len(readers.get(id(v), ())) >= least for v in _variables(node))
        if shares or len(users[id(node)]) >= least or id(node) in trunk:
            trunk.add(id(node))
            parents = [x for x in node.arguments.keras_tensors if x._keras_history.operation]
            trunk |= {id(_node(x)) for x in parents}
    return trunk


def _variables(node):
    # Operations such as an addition have none.
    return getattr(node.operation, "trainable_variables", [])


def _run(nodes, values):
    for node in nodes:
        args, kwargs = node.arguments.fill_in(values)
        if isinstance(node.operation, keras.layers.Layer):
            # Recorded when the graph was drawn: there a layer such as dropout does not train. As in
            # Keras, the call says it.
            kwargs.pop("training", None)
        outputs = node.operation(*args, **kwargs)
        values |= zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True)


def _unique(tensors):
    return list({id(x): x for x in tensors}.values())


def _is_float(tensor):
    return keras.backend.is_float_dtype(tensor.dtype)


class CallContext(keras.layers.Layer):
    """Runs a function as if a model called it: layers inside know whether they train."""

    def __init__(self, function: Callable):
        super().__init__(autocast=False, dtype="float32", name="call_context")
        self.supports_masking = True
        self.function = function

    def call(self, inputs, training: bool = True):
        """The result of `function(inputs)`."""
        return self.function(inputs)
