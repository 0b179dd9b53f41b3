"""The command line itself: how it starts, and how errors end it."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from segdec import __version__
from segdec.cli.screen import err, out
from segdec.errors import SegdecError

app = typer.Typer(
    help="Find surface defects with few labelled parts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. train.epochs=5; may be repeated."),
]


_LISTS = ("--folds", "--rows", "--seeds")
"""Options that take several values."""


def main() -> NoReturn:
    """Run the command line; errors that segdec raises on purpose become one line and an exit code."""
    debug = "--debug" in sys.argv
    _leave_words_to_errors()
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    arguments = _repeat((*_LISTS, "--to") if arguments[:1] == ["export"] else _LISTS, arguments)
    try:
        app(arguments, prog_name="segdec", standalone_mode=True)
    except SegdecError as error:
        if debug:
            raise
        err.print(f"Error: {error}", style="red", markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if debug:
            raise
        err.print("Stopped.")
        sys.exit(130)
    sys.exit(0)


def _leave_words_to_errors() -> None:
    """Silence what readers of image files say besides raising: an error's one line says it."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    logging.getLogger("tifffile").disabled = True


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"segdec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def _repeat(options: tuple[str, ...], arguments: list[str]) -> list[str]:
    """Let options take several values: ``--folds a b`` becomes ``--folds a --folds b``."""
    repeated: list[str] = []
    taking = ""
    for argument in arguments:
        if argument.startswith("-"):
            taking = argument if argument in options else ""
            if taking:
                continue
        repeated += [taking, argument] if taking else [argument]
    return repeated
