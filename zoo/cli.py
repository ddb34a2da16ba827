"""The command line, `mtl-zoo` or `python -m zoo`."""

import argparse
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0, 1 for an error, 2 for wrong usage.

    A user's mistake is one line on standard error. `--debug` shows the traceback.
    """
    options = _parser().parse_args(arguments)
    # A polite kill unwinds like an interrupt, and so leaves nothing half-written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _quiet_start():
            import keras

            # The first tensor makes the backend look for accelerators, and complain.
            keras.ops.zeros(())
        return options.command(options) or 0
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if options.debug:
            raise
        print(f"mtl-zoo: error: {error}", file=sys.stderr)
        return 1


def _parser():
    parser = argparse.ArgumentParser(
        prog="mtl-zoo", description="Multi-task models for Keras: train, compare, export."
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    quickstart = commands.add_parser(
        "quickstart", help="train two tasks with a shared trunk and alone, compare, export"
    )
    quickstart.add_argument(
        "--output", default="mtl-quickstart", help="new folder for the results (%(default)s)"
    )
    quickstart.add_argument("--seed", type=_not_negative, default=0, help="(%(default)s)")
    quickstart.add_argument(
        "--epochs", type=_positive, default=8, help="epochs at most (%(default)s)"
    )
    quickstart.set_defaults(command=_quickstart)

    listing = commands.add_parser("list", help="what the zoo has: builders and data sets")
    listing.set_defaults(command=_list)
    return parser


def _quickstart(options):
    from zoo.quickstart import run

    try:
        run(options.output, options.seed, options.epochs)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (choose another folder with --output)") from error


def _list(options):
    from rich.console import Console
    from rich.table import Table

    from zoo import builders, datasets

    table = Table("kind", "name", "what")
    for name in filter(str.islower, builders.__all__):
        table.add_row("builder", name, _first_line(getattr(builders, name).__doc__))
    for name in datasets.list():
        package = importlib.import_module(f"zoo.datasets.{name}")
        table.add_row("data set", name, _first_line(package.__doc__))
    Console().print(table)


def _first_line(text):
    return text.strip().splitlines()[0]


def _positive(text):
    return _integer(text, 1)


def _not_negative(text):
    return _integer(text, 0)


def _integer(text, least):
    # Not `int`: argparse would name our function in its message.
    if not text.lstrip("+-").isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be an integer, {least} or more. Received: {text}")
    return int(text)


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keeps TensorFlow's start-up messages off the terminal, unless starting fails.

    They come from C++, before any setting of TensorFlow's has effect.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(terminal, messages.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


if __name__ == "__main__":
    sys.exit(main())
