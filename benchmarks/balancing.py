"""What a step costs with a balancer, over the same network's plain step.

    python benchmarks/balancing.py [--tasks 2 8 40] [--steps 30] [--peers] [--memory]

Trunk 499-512-256, heads 256-64-1, batch 1024, and batch 64 (from 8 tasks), where the Gramian of
dense layers is read without their gradients; a small ResNet at 32x32, three tasks, batch 64.
All fits of a network take turns step by step in one process, so that whatever else the machine
does meets all alike; the table gives the median and the quartiles of the ratios of neighbouring
steps (for "every 10th" the ratio of the means). `floor` is what the K
gradients cost at the least: one pass forward, all heads back, K times the trunk back. `--peers`
adds TorchJD's `mtl_backward` (`pip install ".[peers]"`) over a plain PyTorch step, in a process
of its own. Before all that each rule alone, compiled, for K x K Gramians; `--tasks --no-resnet`
leaves it at those. `--memory` instead takes ten steps of each way in processes of their own, whose
allocator gives back at once what is freed, and tells what the way adds to the plain step's peak:
the graph's part, known from a network of 4 units and 4 rows, and the tensors' part, in copies of
the shared gradient (medians and ranges of three). `KERAS_BACKEND=jax` measures JAX.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import textwrap
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mtl_keras as mtl
from mtl_keras import balancing
from mtl_keras.balancing.base import GramianBalancer


class Ones(GramianBalancer):
    """The K gradients alone: a rule that costs nothing."""

    def solve(self, gramian, present, losses):
        """One each."""
        return ops.ones_like(gramian[0])


WAYS = {
    "plain": {},
    "uw": {"balancer": "uw"},
    "famo": {"balancer": "famo"},
    "K gradients": {"balancer": Ones, "by_rows": True},
    "upgrad": {"balancer": "upgrad"},
    "mgda": {"balancer": "mgda"},
    "pcgrad": {"balancer": "pcgrad"},
    "cagrad": {"balancer": "cagrad"},
    "nash_mtl": {"balancer": "nash_mtl"},
    "aligned_mtl": {"balancer": "aligned_mtl"},
    "db_mtl": {"balancer": "db_mtl"},
    "upgrad, every 10th": {"balancer": "upgrad", "balancer_every": 10},
    "upgrad, representation": {"balancer": "upgrad", "scope": "representation"},
    "mgda, matrix-free": {"balancer": "mgda", "gramian": "matrix_free"},
    "nash_mtl, matrix-free": {"balancer": "nash_mtl", "gramian": "matrix_free"},
    "cagrad, matrix-free": {"balancer": "cagrad", "gramian": "matrix_free"},
}


# Rows of a batch of the dense network, by what the tables call it.
BATCHES = {"499-512-256": 1024, "499-512-256, batch 64": 64, "graph": 4}


def dense_network(widths):
    """Trunk 499-512-256."""
    x = h = keras.Input((499,))
    for width in widths:
        h = layers.Dense(width, "relu")(h)
    return x, h


def small_resnet():
    """Three residual blocks at 32x32, 16 to 64 channels."""
    x = keras.Input((32, 32, 3))
    h = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        inner = layers.Conv2D(filters, 3, strides, padding="same", activation="relu")(h)
        inner = layers.Conv2D(filters, 3, padding="same")(inner)
        short = layers.Conv2D(filters, 1, strides)(h)
        h = layers.ReLU()(layers.Add()([inner, short]))
    return x, layers.GlobalAveragePooling2D()(h)


def build(network, count, options):
    """A compiled model of `count` regression tasks."""
    keras.utils.set_random_seed(0)
    tasks = [
        mtl.RegressionTask(f"task_{i}", metrics=(), score="loss", direction="min")
        for i in range(count)
    ]
    # "graph": the same one, of hardly any numbers.
    widths = (4, 4) if network == "graph" else (512, 256)
    x, h = small_resnet() if network == "resnet" else dense_network(widths)
    outputs = {task.name: task.build_head([64])(h) for task in tasks}
    model = mtl.MultiTaskModel(x, outputs, tasks=tasks)
    options = dict(options)
    by_rows = options.pop("by_rows", False)
    if isinstance(options.get("balancer"), type):
        options["balancer"] = options["balancer"]()
    # XLA on a CPU compiles for long and gains little; JAX has no other way.
    jit = "auto" if keras.backend.backend() == "jax" else False
    model.compile(keras.optimizers.SGD(1e-3), jit_compile=jit, **options)
    if by_rows:
        # The floor that rules are held against, whatever the batch.
        model._balanced_step._dense = None
    return model


def batch(network, count):
    """One batch of noise."""
    rng = np.random.default_rng(0)
    shape = (64, 32, 32, 3) if network == "resnet" else (BATCHES[network], 499)
    x = rng.normal(size=shape).astype("float32")
    rows = {f"task_{i}": rng.normal(size=(len(x), 1)).astype("float32") for i in range(count)}
    return x, rows


def stepper(model, x, y):
    """A function that takes one compiled step and waits for it."""
    model.train_on_batch(x, y)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        data = tf.data.Dataset.from_tensors((x, y)).repeat()
        iterator = iter(data)
        return lambda: float(model.train_function(iterator)["loss"])
    return lambda: model.train_on_batch(x, y, return_dict=True)


def floor_seconds(model, x, y, times):
    """One forward pass, all heads back, K trunk passes back: nothing else (TensorFlow)."""
    import tensorflow as tf

    from mtl_keras.gradients.task_gradients import TaskGradients

    graph = model._balanced_step.graph
    tensors = tf.constant(x), {key: tf.constant(value) for key, value in y.items()}

    @tf.function
    def passes():
        found = TaskGradients(model, graph, *tensors, None)
        rows = [found._pull(own, graph.shared) for own in found._cotangents.values()]
        # Every gradient is asked for: what is not, TensorFlow does not compute.
        asked = [g for row in [*rows, found._head_gradients.values()] for g in row]
        return tf.add_n([tf.reduce_sum(g) for g in asked if g is not None]) + found.total

    float(passes())
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        float(passes())
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def measure(network, count, steps, ways):
    """Rows of the table for one network."""
    x, y = batch(network, count)
    run = {}
    for name in track(ways, f"compiling {network}, K={count}"):
        run[name] = stepper(build(network, count, WAYS[name]), x, y)
    for step in run.values():
        # The first step of an iterator traces once more.
        step()
    seconds = {name: [] for name in run}
    for _ in track(range(steps), f"measuring {network}, K={count}"):
        for name, step in run.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    plain = np.array(seconds["plain"])
    rows = []
    for name, times in seconds.items():
        low, ratio, high = np.percentile(np.array(times) / plain, [25, 50, 75])
        if "every" in name:
            # Of ten steps one is long: their mean counts.
            rows.append((name, 1000 * np.mean(times), np.mean(times) / np.mean(plain), None, None))
        else:
            rows.append((name, 1000 * np.median(times), ratio, low, high))
    if keras.backend.backend() == "tensorflow":
        model = build(network, count, WAYS["K gradients"])
        floor = floor_seconds(model, x, y, steps)
        rows.append(("floor of K gradients", 1000 * floor, floor / np.median(plain), None, None))
    return rows


def rules_alone(count, times=50):
    """Milliseconds of each Gramian rule on a random Gramian, compiled."""
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(count, 2 * count)) + 0.2
    gramian = (jacobian @ jacobian.T).astype("float32")
    losses = np.ones(count, "float32")
    found = {}
    for info in track(balancing.available(), f"rules alone, K={count}"):
        if info.family != "gramian":
            continue
        rule = balancing.get(info.name)
        call = compiled(rule, count)
        call(gramian, losses)
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            call(gramian, losses)
            seconds.append(time.perf_counter() - start)
        found[info.name] = 1000 * float(np.median(seconds))
    return found


def compiled(rule, count):
    """The rule's `weights` as one compiled function that waits for its result."""
    rule.build(count)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(rule.weights, autograph=False)
    elif keras.backend.backend() == "jax":
        import jax

        values = [variable.value for variable in rule.state.variables]

        def pure(gramian, losses):
            with keras.StatelessScope(zip(rule.state.variables, values, strict=True)):
                return rule.weights(gramian, losses)

        function = jax.jit(pure)
    else:
        function = rule.weights
    return lambda gramian, losses: ops.convert_to_numpy(
        function(ops.convert_to_tensor(gramian), ops.convert_to_tensor(losses))
    )


def peak_memory(network, count, way):
    """MiB at the peak of a process that takes ten steps of one way."""
    x, y = batch(network, count)
    step = stepper(build(network, count, WAYS[way]), x, y)
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# Freed memory goes back to the system at once: the peak is of tensors, and of no pool.
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "131072", "TF_ENABLE_ONEDNN_OPTS": "0"}


def memory_rows(count, ways):
    """What each way adds to the plain step's peak: MiB of graph and of tensors, and copies."""
    shared = build("499-512-256", count, WAYS["K gradients"])._balanced_step.graph.shared
    copy = sum(int(np.prod(v.shape)) for v in shared) * 4 / 2**20
    peaks = {}
    for way in track(ways, f"memory, K={count}"):
        for network, times in (("graph", 1), ("499-512-256", 3)):
            peaks[way, network] = [_peak_apart(way, network, count) for _ in range(times)]
    (graph,), plain = peaks["plain", "graph"], np.median(peaks["plain", "499-512-256"])
    for way in ways:
        of_graph = peaks[way, "graph"][0] - graph
        tensors = np.sort(peaks[way, "499-512-256"]) - plain - of_graph
        yield way, plain + of_graph + tensors[1], of_graph, tensors[1], *tensors / copy


def _peak_apart(way, network, count):
    command = [sys.executable, __file__, "--peak", way, network, "--tasks", str(count)]
    environment = os.environ | RETURNING
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        sys.exit(f"{way} failed:\n{process.stderr[-2000:]}")
    return float(process.stdout.splitlines()[-1])


def memory_table(count, ways):
    """How much memory each way adds to the plain step."""
    columns = "peak, MiB", "graph over plain", "tensors over plain", "copies of J's row (range)"
    memory = Table(f"way, K={count}", *columns)
    for way, peak, graph, tensors, low, middle, high in memory_rows(count, ways):
        copies = f"{middle:+.0f} ({low:+.0f} to {high:+.0f})"
        memory.add_row(way, f"{peak:.0f}", f"{graph:+.0f}", f"{tensors:+.0f}", copies)
    return memory


PEERS = textwrap.dedent(
    """
    import json, sys, time
    import numpy as np, torch
    from torchjd.aggregation import MGDA, UPGrad, PCGrad, CAGrad, NashMTL, AlignedMTL
    from torchjd.autojac import mtl_backward

    count, steps = int(sys.argv[1]), int(sys.argv[2])
    torch.manual_seed(0)
    torch.set_num_threads(int(sys.argv[3]))
    layers = torch.nn
    trunk = layers.Sequential(layers.Linear(499, 512), layers.ReLU(), layers.Linear(512, 256),
                              layers.ReLU())
    heads = [layers.Sequential(layers.Linear(256, 64), layers.ReLU(), layers.Linear(64, 1))
             for _ in range(count)]
    parameters = [*trunk.parameters(), *(p for h in heads for p in h.parameters())]
    optimizer = torch.optim.SGD(parameters, 1e-3)
    x, y = torch.randn(1024, 499), torch.randn(count, 1024, 1)
    rules = {"plain": None, "upgrad": UPGrad(), "mgda": MGDA(), "pcgrad": PCGrad(),
             "cagrad": CAGrad(c=0.5), "nash_mtl": NashMTL(n_tasks=count),
             "aligned_mtl": AlignedMTL()}
    try:
        from torchjd.autojac import jac_to_grad
    except ImportError:
        jac_to_grad = None

    def step(rule):
        optimizer.zero_grad()
        features = trunk(x)
        losses = [((head(features) - target) ** 2).mean() for head, target in zip(heads, y)]
        if rule is None:
            sum(losses).backward()
        elif jac_to_grad is None:
            mtl_backward(losses=losses, features=features, aggregator=rule)
        else:
            mtl_backward(losses, features=features)
            jac_to_grad(trunk.parameters(), rule)
        optimizer.step()

    seconds = {name: [] for name in rules}
    for turn in range(steps + 2):
        for name, rule in rules.items():
            start = time.perf_counter()
            step(rule)
            seconds[name].append(time.perf_counter() - start)
    plain = np.array(seconds["plain"][2:])
    out = []
    for name, times in seconds.items():
        times = np.array(times[2:])
        low, ratio, high = np.percentile(times / plain, [25, 50, 75])
        out.append((f"TorchJD {name}", 1000 * np.median(times), ratio, low, high))
    json.dump(out, sys.stdout)
    """
)


def peers(count, steps):
    """Rows of TorchJD, measured in a process without TensorFlow."""
    command = [sys.executable, "-c", PEERS, str(count), str(steps), str(os.cpu_count())]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        sys.exit(f"TorchJD failed:\n{process.stderr[-2000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="*", default=[2, 8, 40])
    parser.add_argument("--steps", type=int, default=30, help="steps of each way")
    parser.add_argument("--no-resnet", action="store_true")
    parser.add_argument("--ways", nargs="*", choices=WAYS, help="these alone; no rules alone")
    parser.add_argument("--memory", action="store_true", help="peak memory instead")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--peers", action="store_true", help="also measure TorchJD")
    options = parser.parse_args()
    if options.peak:
        way, network = options.peak
        print(peak_memory(network, options.tasks[0], way))
        return
    console = Console(width=110)
    ways = list(dict.fromkeys(["plain", *(options.ways or WAYS)]))
    if options.memory:
        console.print(memory_table(options.tasks[-1], ways))
        return
    # First: in a process that large networks have gone through they take half as long again.
    if not options.ways:
        alone = Table("rule alone", "K=8, ms", "K=40, ms", "K=100, ms")
        found = [rules_alone(count) for count in (8, 40, 100)]
        for name in found[0]:
            alone.add_row(name, *(f"{times[name]:.2f}" for times in found))
        console.print(alone)
    table = Table("network", "way", "ms", "over plain (quartiles)")
    cases = [("499-512-256", count) for count in options.tasks]
    cases += [("499-512-256, batch 64", count) for count in options.tasks if count >= 8]
    cases += [] if options.no_resnet else [("resnet", 3)]
    for network, count in cases:
        rows = measure(network, count, options.steps, ways)
        if options.peers and network == "499-512-256":
            rows += peers(count, options.steps)
        for name, ms, ratio, low, high in rows:
            spread = "" if low is None else f" ({low:.2f} to {high:.2f})"
            table.add_row(f"{network}, K={count}", name, f"{ms:.1f}", f"{ratio:.2f}{spread}")
    if cases:
        console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    versions = f"Keras {keras.__version__}, {keras.backend.backend()}"
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()}"
    console.print(f"{versions}, {machine}; {options.steps} steps each; peak memory {peak:.1f} GiB")


if __name__ == "__main__":
    main()
