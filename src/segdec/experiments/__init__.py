"""The paper's tables: plan, run, resume and tabulate them."""

from segdec.experiments.reproduce import reproduce
from segdec.experiments.tables import TABLES, find_table

__all__ = ["TABLES", "find_table", "reproduce"]
