"""What of a model is exported: which tasks, from which inputs on."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mtl_keras.checks import checked_count
from mtl_keras.gradients.graph import CallContext, between


class Part:
    """A function from named inputs to some tasks' outputs, cut from a Functional model.

    Args:
        inputs: input name to tensor of the graph.
        outputs: task name to tensor of the graph.

    Attributes:
        inputs: see there.
        outputs: see there.
    """

    def __init__(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]):
        self.inputs, self.outputs = dict(inputs), dict(outputs)
        run, self._nodes = between(list(self.inputs.values()), self.outputs)
        # Layers shall know that they do not train.
        self._run = CallContext(run)

    @classmethod
    def of(cls, model: keras.Model, tasks: Sequence[str] | None = None) -> "Part":
        """All of a model, or what some of its tasks need, from the raw inputs on.

        Raises:
            ValueError: for no task, or one that the model does not have.
        """
        outputs = model.output
        names = list(outputs) if tasks is None else list(tasks)
        if isinstance(tasks, str) or not names or not set(names) <= set(outputs):
            raise ValueError(
                f"`tasks` must be a list of the model's tasks, {list(outputs)}. "
                f"Received: tasks={tasks!r}"
            )
        inputs = {tensor.name: tensor for tensor in keras.tree.flatten(model.inputs)}
        return cls(inputs, {name: outputs[name] for name in names})

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs for values of all inputs, as in inference."""
        return self._run([values[name] for name in self.inputs], training=False)

    def only(self, task: str) -> "Part":
        """The same inputs, one task."""
        return Part(self.inputs, {task: self.outputs[task]})

    @property
    def layers(self) -> list[Any]:
        """The layers that it runs."""
        found = {id(node.operation): node.operation for node in self._nodes}
        return [own for own in found.values() if isinstance(own, keras.layers.Layer)]

    @property
    def takes_strings(self) -> bool:
        """Whether an input is of strings, which most formats cannot hold."""
        return any(tensor.dtype == "string" for tensor in self.inputs.values())

    def without_strings(self) -> tuple["Part", "Part"]:
        """The part in two: the preprocessing that reads strings, and the rest.

        The first gives, by name, what the second takes in place of the strings.
        """
        texts = {id(x) for x in self.inputs.values() if x.dtype == "string"}
        numbers = {}
        for node in self._nodes:
            if any(id(x) in texts for x in node.arguments.keras_tensors):
                texts |= {id(x) for x in node.outputs if x.dtype == "string"}
                made = [x for x in node.outputs if x.dtype != "string"]
                for i, tensor in enumerate(made):
                    number = f"_{i}" if len(made) > 1 else ""
                    numbers[f"{node.operation.name}{number}"] = tensor
        rest = {name: x for name, x in self.inputs.items() if id(x) not in texts}
        _, needed = between([*rest.values(), *numbers.values()], self.outputs)
        read = {id(x) for node in needed for x in node.arguments.keras_tensors}
        read |= {id(x) for x in self.outputs.values()}
        cut = {name: x for name, x in (numbers | rest).items() if id(x) in read}
        made = {name: x for name, x in numbers.items() if id(x) in read}
        _, before = between(list(self.inputs.values()), made)
        raw = {id(x) for node in before for x in node.arguments.keras_tensors}
        raw = {name: x for name, x in self.inputs.items() if id(x) in raw}
        return Part(raw, made), Part(cut, self.outputs)

    def specs(self, batch_size: int | None = None) -> dict[str, keras.InputSpec]:
        """Shape and type of each input, with the batch.

        Args:
            batch_size: rows that the exported function takes; `None` for any number.
        """
        if batch_size is not None:
            checked_count(batch_size, "batch_size")
        return {
            name: keras.InputSpec(dtype=x.dtype, shape=(batch_size, *x.shape[1:]), name=name)
            for name, x in self.inputs.items()
        }
