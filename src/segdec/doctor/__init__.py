"""Examine a data set before it costs a day of training, and plan the training from what was measured."""

from segdec.doctor.examine import examine
from segdec.doctor.findings import Finding, Findings, Measured, write_findings
from segdec.doctor.measure import measure_training_part
from segdec.doctor.plan import Choice, Plan, make_plan, read_plan, write_plan

__all__ = [
    "Choice",
    "Finding",
    "Findings",
    "Measured",
    "Plan",
    "examine",
    "make_plan",
    "measure_training_part",
    "read_plan",
    "write_findings",
    "write_plan",
]
