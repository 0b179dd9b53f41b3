"""The command line: parse, call one function, print. The only place that prints."""

from segdec.cli import training, judging, prediction, exporting, datasets, models, measuring  # isort: skip  # noqa: F401 (registers the commands, in the order of --help)
from segdec.cli.app import app, main

__all__ = ["app", "main"]
