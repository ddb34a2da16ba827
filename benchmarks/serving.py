"""`mtl-zoo serve` under load: answers, throughput and how long they take.

    python benchmarks/serving.py     # the table of docs/serving.md

It exports an entry of the package, starts the real server, and lets many clients, in processes of
their own, ask it over the loopback, each its next question once its last is answered. EVERY answer
is held against that of an in-process call for the same rows, and every request must have one.
Beside it are such calls, `tf.saved_model` signatures in plain TensorFlow, one after another. The
exit code is 1 when an answer was wrong or lost.
"""

import argparse
import asyncio
import json
import os
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.progress import Progress

# What float32 adds up to in another order, as it does in a larger batch.
TOLERANCE = 1e-5
TIMEOUT = 60  # Seconds, after which an answer counts as lost.


def load(options: argparse.Namespace) -> int:
    """Measures every way, and prints the table."""
    ways = [
        ("HTTP, a call a request", count, ["--max-batch-rows", "1"]) for count in options.clients
    ]
    ways += [("HTTP, batches", count, []) for count in options.clients]
    with tempfile.TemporaryDirectory() as place, _progress() as progress:
        bar = progress.add_task("export", total=len(options.rows) * (len(ways) + 1) + 1)
        served = _exported(options.entry, place)
        progress.advance(bar)
        lines = []
        for rows in options.rows:
            questions = _questions(options.entry, options.questions, rows)
            progress.update(bar, description=f"in process, {rows} rows")
            line, expected = _in_process(served, questions, options.seconds)
            lines.append((line[0], "1", str(rows), *line[1:]))
            progress.advance(bar)
            path = Path(place, "questions.pickle")
            path.write_bytes(pickle.dumps([json.dumps({"inputs": own}) for own in questions]))
            for title, count, flags in ways:
                progress.update(bar, description=f"{title}, {count} clients, {rows} rows")
                answers = _over_http(served, path, count, flags, options)
                line = _judged(title, answers, expected, rows)
                lines.append((line[0], str(count), str(rows), *line[1:]))
                progress.advance(bar)
    return _print(options, lines)


def _progress():
    # The table alone is what a file is made of.
    return Progress(console=Console(stderr=True))


def _print(options, lines):
    import tensorflow as tf

    names = ("way", "clients", "rows", "requests/s", "rows/s", "p50, ms", "p99, ms")
    names += ("answers", "wrong", "lost", "difference")
    print(f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")
    versions = f"TensorFlow {tf.__version__}, Python {platform.python_version()}"
    print(f"\n{options.entry}; {versions}; {os.cpu_count()} cores for server and clients together")
    return int(any(line[-3:-1] != ("0", "0") for line in lines))


def _exported(entry, place):
    served = f"{place}/{entry}/1"
    command = [sys.executable, "-m", "zoo", "export", entry, served, "--signatures", "both"]
    os.makedirs(os.path.dirname(served))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return served


def _questions(entry, count, rows):
    """Rows of the entry's own data, raw, as columns of JSON."""
    import zoo
    from zoo.registry import manifest_of

    manifest = manifest_of(entry)
    data = zoo.datasets.load(manifest["dataset"]["name"], batch_size=rows).test
    names = [own["name"] for own in manifest["inputs"]]
    return [
        {name: _plain(x[name]) for name in names} for x, _ in data.take(count).as_numpy_iterator()
    ]


def _plain(values):
    return [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]


def _in_process(served, questions, seconds):
    """How long calls take one after another, and what they answer."""
    import tensorflow as tf

    loaded = tf.saved_model.load(served)
    signature = loaded.signatures["serving_default"]
    specs = signature.structured_input_signature[1]
    arrays = [
        {
            name: np.array(
                own[name], object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
            )
            for name, spec in specs.items()
        }
        for own in questions
    ]

    def ask(inputs):
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        return {name: value.numpy() for name, value in signature(**tensors).items()}

    expected = [ask(own) for own in arrays]
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        ask(arrays[len(times) % len(arrays)])
        times.append(time.perf_counter() - begin)
    took = time.perf_counter() - start
    rows = len(next(iter(questions[0].values())))
    return _line("in process, `tf.saved_model`", times, took, rows, 0, 0, 0.0), expected


def _over_http(served, questions, clients, flags, options):
    """What all clients were answered, and when."""
    command = [sys.executable, "-m", "zoo", "serve", served, "--port", "0", "--json", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = json.loads(server.stdout.readline())["url"]
            split = np.array_split(range(clients), min(options.processes, clients))
            client = [sys.executable, __file__, "client", f"{url}:predict", str(questions)]
            processes = [
                subprocess.Popen(
                    [*client, str(part[0]), str(len(part)), str(options.seconds)],
                    stdout=subprocess.PIPE,
                )
                for part in split
            ]
            return [own for process in processes for own in pickle.loads(process.communicate()[0])]
        finally:
            server.send_signal(signal.SIGTERM)


def _judged(title, answers, expected, rows):
    wrong, lost, apart = 0, 0, 0.0
    for question, _, _, status, body in answers:
        if status is None:
            lost += 1
            continue
        found = json.loads(body).get("outputs") if status == 200 else None
        difference = _difference(found, expected[question]) if found else np.inf
        wrong += not difference <= TOLERANCE
        apart = max(apart, difference)
    took = max(own[2] for own in answers) - min(own[1] for own in answers)
    times = [end - begin for _, begin, end, status, _ in answers if status is not None]
    return _line(title, times, took, rows, wrong, lost, apart)


def _difference(found, expected):
    return max(np.abs(np.array(found[name]) - own).max() for name, own in expected.items())


def _line(title, times, took, rows, wrong, lost, apart):
    middle, last = np.percentile(times, [50, 99]) * 1000
    speed = len(times) / took
    numbers = (f"{speed:.0f}", f"{speed * rows:.0f}", f"{middle:.1f}", f"{last:.1f}")
    return (title, *numbers, f"{len(times)}", f"{wrong}", f"{lost}", f"{apart:.0e}")


# -- a process of clients, which loads nothing that would take the server's time


def client(options: argparse.Namespace) -> int:
    """Asks for some seconds; writes (question, begin, end, status, body) of each to its output."""
    bodies = [body.encode() for body in pickle.loads(Path(options.path).read_bytes())]
    answers = asyncio.run(_clients(options, bodies))
    sys.stdout.buffer.write(pickle.dumps(answers))
    return 0


async def _clients(options, bodies):
    found = [
        _client(options.url, bodies, options.first + own, options.seconds)
        for own in range(options.count)
    ]
    return [answer for answers in await asyncio.gather(*found) for answer in answers]


async def _client(url, bodies, seed, seconds):
    address, draw = urlsplit(url), np.random.default_rng(seed)
    head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: "
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answers, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        question = int(draw.integers(len(bodies)))
        body, begin = bodies[question], time.monotonic()
        try:
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            status, answer = await asyncio.wait_for(_answer(reader), TIMEOUT)
        except (OSError, EOFError, TimeoutError):
            answers.append((question, begin, time.monotonic(), None, b""))
            break
        answers.append((question, begin, time.monotonic(), status, answer))
    writer.close()
    return answers


async def _answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    length = next(line for line in head if line.startswith("content-length:"))
    return int(head[0].split()[1]), await reader.readexactly(int(length.partition(":")[2]))


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.set_defaults(run=load)
    parser.add_argument("--entry", default="mmoe_census", help="(%(default)s)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 32, 64])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="of a request")
    parser.add_argument("--seconds", type=float, default=10, help="a way (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="of clients (%(default)s)")
    parser.add_argument("--questions", type=int, default=256, help="different (%(default)s)")
    if sys.argv[1:2] == ["client"]:
        parser = argparse.ArgumentParser()
        parser.set_defaults(run=client)
        for name, kind in (("role", str), ("url", str), ("path", str), ("first", int)):
            parser.add_argument(name, type=kind)
        parser.add_argument("count", type=int)
        parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
