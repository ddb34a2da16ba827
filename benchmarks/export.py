"""What works of formats, runtimes and backends; and what a signature a task saves.

    python benchmarks/export.py formats      # the first table of docs/export.md
    python benchmarks/export.py signatures   # the second

The first writes the models of the tests in every format on every backend that is installed, asks
each runtime in a process without our packages, and prints the largest difference from the model
over all outputs. The second exports a model of 8 tasks with `signatures="both"` and compares the
signature of a task with that of all: operations in the graph, milliseconds a request (median of
`--requests`, one after another, in process), bytes of variables.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from rich.progress import track

TESTS = Path(__file__).parents[1] / "tests" / "mtl_keras" / "export"
FORMATS = {
    "tf_saved_model": ("saved_model", ("tensorflow", "tfsm", "openvino_reader")),
    "onnx": ("model.onnx", ("onnx",)),
    "litert": ("model.tflite", ("litert",)),
    "openvino": ("model.xml", ("openvino",)),
}
RUNTIMES = {
    "tensorflow": "TensorFlow alone",
    "tfsm": "`keras.layers.TFSMLayer`",
    "openvino_reader": "OpenVINO, of the SavedModel",
    "onnx": "ONNX Runtime",
    "litert": "LiteRT interpreter",
    "openvino": "OpenVINO",
}
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}


def formats(options: argparse.Namespace) -> None:
    """Prints the table of formats, runtimes and backends."""
    found = {backend: _of_backend(backend) for backend in BACKENDS if _installed(backend)}
    print(f"| format | runtime | {' | '.join(BACKENDS[backend] for backend in found)} |")
    print("|---|---|" + "---|" * len(found))
    for format, (_, runtimes) in FORMATS.items():
        for runtime in runtimes:
            cells = [cells[format, runtime] for cells in found.values()]
            print(f"| {format} | {RUNTIMES[runtime]} | {' | '.join(cells)} |")


def _installed(backend):
    return importlib.util.find_spec(backend) is not None


def _of_backend(backend):
    with tempfile.TemporaryDirectory() as folder:
        _run([__file__, "write", folder], backend)
        models = sorted(Path(folder).iterdir())
        cells = {}
        asked = [(format, own) for format, (_, runtimes) in FORMATS.items() for own in runtimes]
        for format, runtime in track(asked, f"runtimes, {BACKENDS[backend]}"):
            cells[format, runtime] = _cell(folder, models, format, runtime)
        return cells


def _cell(folder, models, format, runtime):
    refusals = {(own / f"{format}.refused").exists() for own in models}
    if refusals == {True}:
        return "refused"
    process = _run(["-I", str(TESTS / "client.py"), runtime, folder], "tensorflow", check=False)
    if process.returncode:
        return f"fails: {_reason(process.stderr)}"
    apart = [_difference(own, runtime) for own in models]
    return f"{max(apart):.0e}, {len(apart)} models"


def _reason(stderr):
    lines = [line.strip(" -") for line in stderr.strip().splitlines()]
    telling = [line for line in lines if "No conversion rule" in line]
    return telling[0] if telling else lines[-1]


def _difference(model, runtime):
    expected, answers = (dict(np.load(model / f"{own}.npz")) for own in ("expected", runtime))
    return max(
        np.abs(np.asarray(value, "float64") - expected[key.partition("/")[2]]).max()
        for key, value in answers.items()
    )


def _run(arguments, backend, check=True):
    quiet = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=os.environ | quiet
    )
    if check and process.returncode:
        sys.exit(process.stderr)
    return process


def write(options: argparse.Namespace) -> None:
    """Writes the models of the tests, those that this backend can build, in every format."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(TESTS))
    import keras
    from exported_models import CASES

    from mtl_keras.export.part import Part

    for name, case in CASES.items():
        strings = any(values.dtype == object for values in case.x.values())
        if strings and keras.backend.backend() != "tensorflow":
            continue
        model, folder = case.model(), Path(options.folder) / name
        folder.mkdir()
        np.savez(folder / "input.npz", **case.x)
        np.savez(folder / "expected.npz", **model.predict(case.x, verbose=0))
        for format, (file, _) in FORMATS.items():
            several = "both" if format in ("tf_saved_model", "litert") else "joint"
            try:
                model.export(folder / file, format, signatures=several)
            except ValueError:
                (folder / f"{format}.refused").touch()
        _write_numbers(Part.of(model), case.x, folder)


def _write_numbers(part, x, folder):
    """The inputs of formats without strings, and the SavedModel that OpenVINO reads."""
    import keras

    from mtl_keras.export.saved_model import tasks_by_signature, write_saved_model

    numbers = dict(x)
    if part.takes_strings:
        before, part = part.without_strings()
        made = before({name: keras.ops.convert_to_tensor(x[name]) for name in before.inputs})
        numbers |= {name: keras.ops.convert_to_numpy(value) for name, value in made.items()}
    typed = {name: numbers[name].astype(own.dtype) for name, own in part.inputs.items()}
    np.savez(folder / "numbers.npz", **typed)
    if keras.backend.backend() != "torch":
        write_saved_model(part, folder / "numbers", tasks_by_signature(part, "joint"))


def signatures(options: argparse.Namespace) -> None:
    """Prints what a signature of one of 8 tasks has less than that of all."""
    import tensorflow as tf

    import mtl_keras as mtl
    import zoo

    tasks = [mtl.BinaryTask(f"task_{i}") for i in range(8)]
    experts = {"experts": 4, "expert_units": [128], "towers": [64]}
    models = {
        "shared_trunk": zoo.shared_trunk(tasks, 256, trunk=[512, 256], head=[64]),
        "multi_gate_mixture_of_experts": zoo.multi_gate_mixture_of_experts(tasks, 256, **experts),
        "progressive_layered_extraction": zoo.progressive_layered_extraction(
            tasks, 256, num_shared=4, **experts
        ),
    }
    print("| builder, 8 tasks | signature | operations | ms, 1 row | ms, 256 rows | MB stored |")
    print("|---|---|---:|---:|---:|---:|")
    for name, model in models.items():
        with tempfile.TemporaryDirectory() as folder:
            stored = {}
            for kind in ("joint", "both"):
                model.export(f"{folder}/{kind}", signatures=kind)
                files = Path(f"{folder}/{kind}/variables").iterdir()
                stored[kind] = sum(file.stat().st_size for file in files) / 1e6
            loaded = tf.saved_model.load(f"{folder}/both").signatures
            for own, kind in (("serve", "joint"), ("task_0", "both")):
                signature = loaded[own]
                times = [_milliseconds(signature, rows, options.requests) for rows in (1, 256)]
                said = "all tasks" if own == "serve" else "one task; all and each stored"
                cells = [f"{_operations(signature):,}", *(f"{ms:.2f}" for ms in times)]
                print(f"| `{name}` | {said} | {' | '.join(cells)} | {stored[kind]:.2f} |")


def _operations(signature):
    graph = signature.graph.as_graph_def()
    functions = {function.signature.name: function for function in graph.library.function}
    count, waiting = 0, list(graph.node)
    while waiting:
        node = waiting.pop()
        count += 1
        called = node.attr["f"].func.name if "f" in node.attr else ""
        waiting.extend(functions[called].node_def if called in functions else ())
    return count


def _milliseconds(signature, rows, requests):
    import tensorflow as tf

    x = tf.random.normal((rows, 256))
    times = []
    for _ in range(requests):
        begin = time.perf_counter()
        signature(features=x)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    commands.add_parser("formats").set_defaults(run=formats)
    command = commands.add_parser("signatures")
    command.add_argument("--requests", type=int, default=300)
    command.set_defaults(run=signatures)
    command = commands.add_parser("write", help="what `formats` runs on each backend")
    command.add_argument("folder")
    command.set_defaults(run=write)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
