"""The papers' experiments: plan, run, resume and tabulate them."""

from segdec.experiments.jobs import Job, choose_rows, plan
from segdec.experiments.report import write_report
from segdec.experiments.reproduce import reproduce
from segdec.experiments.steps import efforts, measure
from segdec.experiments.tables import DATA_SETS, TABLES, Table, find_table

__all__ = [
    "DATA_SETS",
    "TABLES",
    "Job",
    "Table",
    "choose_rows",
    "efforts",
    "find_table",
    "measure",
    "plan",
    "reproduce",
    "write_report",
]
