"""What of a model is exported: which tasks, from which inputs on."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import keras

from mtl_keras.checks import checked_count
from mtl_keras.export.stored_weights import StoredWeights
from mtl_keras.gradients.graph import CallContext, between
from mtl_keras.tasks import checked_task_names


class Part:
    """A function from named inputs to some tasks' outputs, cut from a Functional model.

    Args:
        inputs: tensors of the graph, in any structure; each has a name.
        outputs: task name to tensor of the graph.
        names: names of the inputs, as `keras.tree.flatten` orders them; default their own.
        stored: weights that it reads in place of the layers'; default none.

    Attributes:
        structure: the inputs as they were given.
        inputs: input name to tensor.
        outputs: task name to tensor.
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Mapping[str, Any],
        names: Sequence[str] = (),
        stored: StoredWeights | None = None,
    ):
        flat = keras.tree.flatten(inputs)
        self.structure, self.outputs, self.stored = inputs, dict(outputs), stored
        self.inputs = dict(zip(names or [x.name for x in flat], flat, strict=True))
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
        names = list(outputs) if tasks is None else checked_task_names(tasks, list(outputs))
        # What a client of Keras gives the model, a tensor, a list or a dict, it gives the export.
        return cls(model._inputs_struct, {name: outputs[name] for name in names})

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs for values of all inputs, as in inference."""
        with self.stored.scope() if self.stored else nullcontext():
            return self._run([values[name] for name in self.inputs], training=False)

    def flat(self, x: Any) -> dict[str, Any]:
        """Values of the inputs by name, from values in their structure."""
        return dict(zip(self.inputs, keras.tree.flatten(x), strict=True))

    def packed(self, values: Mapping[str, Any]) -> Any:
        """Values in the structure of the inputs, from values by name."""
        return keras.tree.pack_sequence_as(self.structure, [values[name] for name in self.inputs])

    def only(self, tasks: Sequence[str]) -> "Part":
        """The same inputs, some of the tasks."""
        outputs = {task: self.outputs[task] for task in tasks}
        return Part(self.structure, outputs, list(self.inputs), self.stored)

    def with_weights(self, kind: str) -> "Part":
        """The same, of weights stored as "int8" or "float16", see `StoredWeights`."""
        stored = StoredWeights([v for layer in self.layers for v in layer.weights], kind)
        return Part(self.structure, self.outputs, list(self.inputs), stored)

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
        return self._named(raw, made), self._named(cut, self.outputs)

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

    def _named(self, inputs, outputs):
        # Tensors in between have names that several may share: a dict, in the order of its names.
        inputs = {name: inputs[name] for name in sorted(inputs)}
        return Part(inputs, outputs, list(inputs), self.stored)
