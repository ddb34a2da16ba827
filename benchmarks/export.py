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
from pathlib import Path

import numpy as np
from rich.progress import track

TESTS = Path(__file__).parents[1] / "tests"
FORMATS = {
    "tf_saved_model": ("tensorflow", "tfsm", "openvino_reader"),
    "onnx": ("onnx",),
    "litert": ("litert",),
    "openvino": ("openvino",),
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
    for format, runtimes in FORMATS.items():
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
        asked = [(format, own) for format, runtimes in FORMATS.items() for own in runtimes]
        for format, runtime in track(asked, f"runtimes, {BACKENDS[backend]}"):
            cells[format, runtime] = _cell(folder, models, format, runtime)
        return cells


def _cell(folder, models, format, runtime):
    refusals = {(own / f"{format}.refused").exists() for own in models}
    if refusals == {True}:
        return "refused"
    process = _run(
        ["-I", str(TESTS / "conformance" / "export_client.py"), runtime, folder],
        "tensorflow",
        check=False,
    )
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
    import keras

    from conformance.exported_models import CASES, write_case

    for name, case in CASES.items():
        strings = any(values.dtype == object for values in case.x.values())
        if strings and keras.backend.backend() != "tensorflow":
            continue
        folder = Path(options.folder) / name
        for format in write_case(case, folder):
            (folder / f"{format}.refused").touch()


def signatures(options: argparse.Namespace) -> None:
    """Prints what a signature of one of 8 tasks has less than that of all."""
    import tensorflow as tf

    import mtl_keras as mtl
    import zoo
    from conformance.exported_models import operations

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
                cells = [f"{len(operations(signature)):,}", *(f"{ms:.2f}" for ms in times)]
                print(f"| `{name}` | {said} | {' | '.join(cells)} | {stored[kind]:.2f} |")


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
    sys.path.insert(0, str(TESTS))
    options.run(options)


if __name__ == "__main__":
    main()
