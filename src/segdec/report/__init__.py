"""Evaluation -> one HTML file that a person reads, without network and without anything beside it."""

from segdec.report.page import to_html, write_report

__all__ = ["to_html", "write_report"]
