"""The command line, `mtl-zoo` or `python -m zoo`: what may be typed. `zoo/commands/` does it."""

import argparse
import importlib
import logging
import math
import signal
import sys
import warnings
from collections.abc import Sequence

from zoo.commands.quiet_start import quiet_start
from zoo.serving.limits import Limits

_WITHOUT_KERAS = ("list", "prefetch", "serve")
_NAME = "name of an entry (see `mtl-zoo list`), its folder (./mine) or its address (https://...)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0, 1 for an error, 2 for wrong usage.

    A user's mistake is one line on standard error. `--debug` shows the traceback.
    """
    options = _parser().parse_args(arguments)
    # A polite kill unwinds like an interrupt, and so leaves nothing half-written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"mtl-zoo: error: {error}", file=sys.stderr)
        return 1


def _run(options):
    with warnings.catch_warnings():
        if not options.debug:
            # Of libraries to us, not to who typed the command.
            warnings.simplefilter("ignore")
            logging.getLogger("tensorflow").setLevel(logging.ERROR)
        if options.command not in _WITHOUT_KERAS:
            with quiet_start():
                import keras

                # The first tensor makes the backend look for accelerators, and complain.
                keras.ops.zeros(())
        return importlib.import_module(f"zoo.commands.{options.command}").run(options) or 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="mtl-zoo",
        description="Multi-task models for Keras: find, ask, train, compare, export.",
        epilog="`mtl-zoo COMMAND --help` tells what a command takes.",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for add in (_list, _info, _predict, _evaluate, _train, _reproduce, _export, _serve):
        add(commands)
    _verify(commands)
    _prefetch(commands)
    _quickstart(commands)
    return parser


def _command(commands, name, text):
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("--json", action="store_true", help="one line of JSON, for machines")
    return command


def _list(commands):
    command = _command(commands, "list", "what the zoo has: entries, builders and data sets")
    command.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="PATTERN",
        help="those with this in their names; or with wildcards, '*_census'",
    )
    kinds = command.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--pretrained", True, "entries that have weights"),
        ("--recipes", False, "entries that are a recipe only, to be trained"),
    ):
        kinds.add_argument(flag, action="store_const", const=value, dest="pretrained", help=text)
    command.add_argument("--task", metavar="T", help="entries that predict a task of this name")
    command.add_argument("--dataset", metavar="D", help="entries trained on this data set")


def _info(commands):
    command = _command(commands, "info", "the card of an entry; as JSON, its manifest")
    command.add_argument("name", metavar="NAME", help=_NAME)


def _predict(commands):
    command = _command(commands, "predict", "what an entry answers; as JSON, all its outputs")
    command.add_argument("name", metavar="NAME", help=_NAME)
    command.add_argument(
        "input",
        metavar="INPUT",
        nargs="?",
        help="JSON: one row, '{\"age\": 38, ...}', a list of rows, or columns; a .json file; - for "
        "standard input; a text, where that is all the model reads (default: the entry's example)",
    )


def _evaluate(commands):
    command = _command(commands, "evaluate", "the metrics of an entry on a split of its data")
    command.add_argument("name", metavar="NAME", help=_NAME)
    command.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="(%(default)s)"
    )
    _data_options(command)


def _train(commands):
    command = _command(commands, "train", "train an entry's recipe once, as an entry of your own")
    command.add_argument("name", metavar="NAME", help=f"{_NAME}; it needs no weights")
    command.add_argument("--seed", type=_not_negative, default=0, help="(%(default)s)")
    command.add_argument("--epochs", type=_positive, help="at most (default: the recipe's)")
    command.add_argument("--output", metavar="DIR", help="new folder (default: ./NAME)")
    _data_options(command)


def _reproduce(commands):
    command = _command(
        commands,
        "reproduce",
        "train an entry anew; exit code 1 if its scores are not as its card's",
    )
    command.add_argument("name", metavar="NAME", help=_NAME)
    command.add_argument(
        "--seed", type=_not_negative, help="(default: the first that the card does not have)"
    )
    command.add_argument("--epochs", type=_positive, help="at most (default: the recipe's)")
    _data_options(command, sample=False)


def _data_options(command, sample=True):
    command.add_argument(
        "--data-dir",
        metavar="DIR",
        help="directory of TensorFlow Datasets (default: its own); data that are not there are "
        "downloaded and prepared",
    )
    if sample:
        command.add_argument(
            "--sample",
            action="store_true",
            help="the sample in the package in place of the full data, where there is one",
        )


def _export(commands):
    command = _command(commands, "export", "write an entry for serving: SavedModel, ONNX, ...")
    command.add_argument("name", metavar="NAME", help=_NAME)
    command.add_argument("path", metavar="PATH", help="new folder, or file where it is one")
    command.add_argument(
        "--format",
        choices=("tf_saved_model", "onnx", "litert", "openvino"),
        default="tf_saved_model",
        help="(%(default)s)",
    )
    command.add_argument("--tasks", nargs="+", metavar="TASK", help="these alone (default: all)")
    command.add_argument(
        "--signatures",
        choices=("joint", "per_task", "both"),
        default="joint",
        help="one of all tasks, one a task, or both (%(default)s)",
    )
    small = command.add_mutually_exclusive_group()
    small.add_argument("--quantize", choices=("int8",), help="store weights in a quarter")
    small.add_argument("--dtype", choices=("float16",), help="store weights in a half")
    _data_options(command)


def _serve(commands):
    command = _command(
        commands, "serve", "answer requests over HTTP as TensorFlow Serving's REST API does"
    )
    command.add_argument(
        "name",
        metavar="NAME",
        help=f"{_NAME}; or the folder of a SavedModel, or of numbered versions of one",
    )
    command.add_argument("--host", default="127.0.0.1", metavar="H", help="(%(default)s)")
    command.add_argument(
        "--port", type=_port, default=8501, metavar="P", help="0 takes a free one (%(default)s)"
    )
    for limit, kind, text in (
        ("max_bytes", _positive, "of a request"),
        ("max_rows", _positive, "of a request"),
        ("timeout", _seconds, "seconds to read a request in, and to answer it in"),
        ("max_batch_rows", _positive, "rows that are run together; 1 for no batches"),
        ("batch_wait_ms", _milliseconds, "a request waits for others while nothing runs"),
        ("max_waiting", _positive, "rows that may wait; more are refused for now"),
        ("max_connections", _positive, "at a time"),
    ):
        command.add_argument(
            f"--{limit.replace('_', '-')}",
            type=kind,
            default=getattr(Limits, limit),
            metavar="N",
            help=f"{text} (%(default)s)",
        )


def _verify(commands):
    command = _command(commands, "verify", "hold an entry against its digests and golden output")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("name", metavar="NAME", nargs="?", help=_NAME)
    which.add_argument("--all", action="store_true", help="all entries of the package")


def _prefetch(commands):
    command = _command(commands, "prefetch", "fetch an entry, to be used without a network")
    command.add_argument("address", metavar="ADDRESS", help="https://..., a folder with an entry")
    command.add_argument(
        "--revision", metavar="SHA256", help="of the manifest (default: what is there now)"
    )


def _quickstart(commands):
    command = _command(
        commands, "quickstart", "train two tasks with a shared trunk and alone, compare, export"
    )
    command.add_argument(
        "--output", default="mtl-quickstart", help="new folder for the results (%(default)s)"
    )
    command.add_argument("--seed", type=_not_negative, default=0, help="(%(default)s)")
    command.add_argument("--epochs", type=_positive, default=8, help="epochs at most (%(default)s)")


def _positive(text):
    return _integer(text, 1)


def _not_negative(text):
    return _integer(text, 0)


def _port(text):
    return _integer(text, 0, 65535)


def _seconds(text):
    return _number(text, "above 0", lambda value: value > 0)


def _milliseconds(text):
    return _number(text, "0 or more", lambda value: value >= 0)


def _number(text, expected, fits):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not fits(value):
        raise argparse.ArgumentTypeError(f"must be a number, {expected}. Received: {text}")
    return value


def _integer(text, least, most=None):
    # Not `int`: argparse would name our function in its message.
    fits = text.lstrip("+-").isdecimal() and least <= int(text)
    if not fits or (most is not None and int(text) > most):
        span = f"{least} or more" if most is None else f"{least} to {most}"
        raise argparse.ArgumentTypeError(f"must be an integer, {span}. Received: {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
