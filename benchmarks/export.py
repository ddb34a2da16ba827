"""What works of formats, runtimes and backends; what a signature a task saves; what weights cost.

    python benchmarks/export.py formats
    python benchmarks/export.py signatures
    python benchmarks/export.py weights

The first writes the models of the tests in every format on every backend that is installed, asks
each runtime in a process without our packages, and prints the largest difference from the model
over all outputs. The second exports a model of 8 tasks with `signatures="both"` and compares the
signature of a task with that of all: operations in the graph, milliseconds a request (median of
`--requests`, one after another, in process), bytes of variables. The third exports the census
entries with their weights in float32, in float16 and in int8, and compares bytes of variables, the
AUC of each task on the test split of the sample in the package, and milliseconds.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from rich.console import Console
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
ENTRIES = ("shared_trunk_census", "mmoe_census", "ple_census", "soft_sharing_census")
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
                x = {rows: {"features": tf.random.normal((rows, 256))} for rows in (1, 256)}
                times = [_milliseconds(signature, own, options.requests) for own in x.values()]
                said = "all tasks" if own == "serve" else "one task; all and each stored"
                cells = [f"{len(operations(signature)):,}", *(f"{ms:.2f}" for ms in times)]
                print(f"| `{name}` | {said} | {' | '.join(cells)} | {stored[kind]:.2f} |")


def weights(options: argparse.Namespace) -> None:
    """Prints what weights in fewer bytes cost."""
    import tensorflow as tf

    import zoo
    from mtl_keras.export.part import Part
    from zoo.recipes.evaluation import evaluated, inputs_of

    data = zoo.datasets.load("census_income", variant="three_tasks", batch_size=1024)
    x = inputs_of(zoo.load(ENTRIES[0]), next(iter(data.test.unbatch().batch(256)))[0])
    print("| entry | weights | MB | test AUC: income | never married | college | ms, 256 rows |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name in track(ENTRIES, "entries", console=Console(stderr=True)):
        model = zoo.load(name)
        for kind in (None, "float16", "int8"):
            stored = Part.of(model).with_weights(kind).stored if kind else None
            with stored.in_place() if stored else nullcontext():
                found = evaluated(model, data)
            with tempfile.TemporaryDirectory() as folder:
                how = {"int8": {"quantize": "int8"}, "float16": {"dtype": "float16"}}.get(kind, {})
                model.export(f"{folder}/served", **how)
                size = sum(f.stat().st_size for f in Path(f"{folder}/served/variables").iterdir())
                loaded = tf.saved_model.load(f"{folder}/served")
                ms = _milliseconds(loaded.signatures["serve"], x, options.requests)
            scores = [f"{found[t]['auc']:.5f}" for t in ("income", "never_married", "college")]
            cells = [f"{size / 1e6:.2f}", *scores, f"{ms:.1f}"]
            print(f"| `{name}` | {kind or 'float32'} | {' | '.join(cells)} |", flush=True)


def _milliseconds(signature, inputs, requests):
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    inputs = {name: tf.cast(inputs[name], own.dtype) for name, own in specs.items()}
    times = []
    for _ in range(requests):
        begin = time.perf_counter()
        signature(**inputs)
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
    command = commands.add_parser("weights")
    command.add_argument("--requests", type=int, default=50)
    command.set_defaults(run=weights)
    command = commands.add_parser("write", help="what `formats` runs on each backend")
    command.add_argument("folder")
    command.set_defaults(run=write)
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    options.run(options)


if __name__ == "__main__":
    main()
