"""`Signature`: what a SavedModel answers to, in rows and in columns of JSON."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from zoo.serving.refusal import Refusal, shortly
from zoo.serving.tensor_format import TensorFormat


@dataclasses.dataclass(frozen=True)
class Question:
    """The inputs of one request.

    Args:
        arrays: input name to values.
        rows: how many; None where inputs do not have rows in common.
        in_rows: whether the answer shall be a value a row, not a value an output.
    """

    arrays: Mapping[str, np.ndarray]
    rows: int | None
    in_rows: bool


class Signature:
    """A function of a SavedModel, with the names, dtypes and shapes of what it takes and gives.

    Args:
        name: that it is asked by.
        inputs: a format an input.
        outputs: a format an output.
        function: from arrays by name to arrays by name.

    Example:

    >>> x, y = (TensorFormat(name, "float", np.dtype("float32"), (None,)) for name in "xy")
    >>> double = Signature("double", [x], [y], lambda arrays: {"y": 2 * arrays["x"]})
    >>> question = double.question({"instances": [1, 2.5]}, max_rows=10)
    >>> double.answer(double.function(question.arrays), question)
    {'predictions': [2.0, 5.0]}
    """

    def __init__(
        self,
        name: str,
        inputs: list[TensorFormat],
        outputs: list[TensorFormat],
        function: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]],
    ):
        self.name = name
        self.inputs = {own.name: own for own in inputs}
        self.outputs = {own.name: own for own in outputs}
        self.function = function
        self.by_rows = bool(inputs) and all(own.by_rows for own in (*inputs, *outputs))
        """Whether inputs and outputs have any number of rows, so that rows can be run together."""

    def question(self, request: Mapping[str, Any], max_rows: int) -> Question:
        """The inputs of a request.

        Args:
            request: with "instances", rows, or "inputs", columns.
            max_rows: that it may have.

        Raises:
            Refusal: 400 for inputs that are missing, unknown, or not of their dtype or shape;
                413 for too many rows.
        """
        in_rows = "instances" in request
        if in_rows == ("inputs" in request):
            raise Refusal(
                400,
                'A request must have either "instances", rows, or "inputs", columns. '
                f"Received: {shortly(sorted(request))}",
            )
        columns = (self._of_rows if in_rows else self._columns)(
            request["instances" if in_rows else "inputs"], max_rows
        )
        arrays = {name: own.array(columns[name]) for name, own in self.inputs.items()}
        return Question(arrays, self._rows(arrays), in_rows)

    def answer(self, outputs: Mapping[str, np.ndarray], question: Question) -> dict[str, Any]:
        """What JSON holds of the outputs: `{"predictions": ...}`, or `{"outputs": ...}`.

        Raises:
            Refusal: 400 for a value a row, where an output has no rows.
        """
        if question.in_rows:
            self._check_rows(outputs, question)
        values = {name: own.values(outputs[name]) for name, own in self.outputs.items()}
        if len(values) == 1:
            (values,) = values.values()
        elif question.in_rows:
            rows = zip(*values.values(), strict=True)
            values = [dict(zip(values, row, strict=True)) for row in rows]
        return {"predictions" if question.in_rows else "outputs": values}

    # -- a request's columns

    def _of_rows(self, rows, max_rows):
        if type(rows) is not list or not rows:
            raise Refusal(
                400, f"`instances` must be a list of rows, one or more. Received: {shortly(rows)}"
            )
        _check_count(len(rows), max_rows)
        if len(self.inputs) == 1:
            ((name, own),) = self.inputs.items()
            # As TensorFlow Serving: the name of a single input may be left out.
            if type(rows[0]) is not dict or _is_binary(rows[0], own):
                return {name: rows}
        for i, row in enumerate(rows):
            self._check_names(row, f"`instances[{i}]`")
        return {name: [row[name] for row in rows] for name in self.inputs}

    def _columns(self, columns, max_rows):
        if len(self.inputs) == 1:
            ((name, own),) = self.inputs.items()
            if type(columns) is not dict or _is_binary(columns, own):
                columns = {name: columns}
        self._check_names(columns, "`inputs`")
        for own in self.inputs.values():
            if own.shape != () and type(columns[own.name]) is list:
                _check_count(len(columns[own.name]), max_rows)
        return columns

    def _check_names(self, given, where):
        if type(given) is not dict:
            raise Refusal(
                400,
                f"{where} must be an object with the inputs {shortly(sorted(self.inputs))}. "
                f"Received: {shortly(given)}",
            )
        if given.keys() == self.inputs.keys():
            return
        missing, unknown = self.inputs.keys() - given.keys(), given.keys() - self.inputs.keys()
        said = [f"without {shortly(sorted(missing))}"] if missing else []
        said += [f"with {shortly(sorted(unknown))} beside them"] if unknown else []
        raise Refusal(
            400,
            f"{where} must have exactly the {len(self.inputs)} inputs of signature "
            f"'{self.name}'. Received: {', '.join(said)}",
        )

    def _rows(self, arrays):
        if not self.by_rows:
            return None
        counts = {name: len(array) for name, array in arrays.items()}
        rows = next(iter(counts.values()))
        other = next((name for name, count in counts.items() if count != rows), None)
        if other is not None:
            first = next(iter(counts))
            raise Refusal(
                400,
                "All inputs must have as many rows. "
                f"Received: {rows} of '{first}', {counts[other]} of '{other}'",
            )
        if not rows:
            raise Refusal(400, "`inputs` must have one row or more. Received: 0 rows")
        return rows

    def _check_rows(self, outputs, question):
        asked = len(next(iter(question.arrays.values())))
        for name, output in outputs.items():
            if not output.shape or len(output) != asked:
                raise Refusal(
                    400,
                    f"Output '{name}' has no value a row: ask with \"inputs\" in place of "
                    f'"instances". Received: {asked} rows',
                )


def _check_count(rows, most):
    if rows > most:
        raise Refusal(413, f"A request may have {most} rows. Received: {rows}")


def _is_binary(value, own):
    return own.kind == "string" and own.name != "b64" and value.keys() == {"b64"}
