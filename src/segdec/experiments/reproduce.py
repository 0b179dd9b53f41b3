"""Run a table: in this process, or in several that share its runs."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from segdec.errors import ConfigError, ModelError, SegdecError, TrainingError
from segdec.experiments.jobs import Job
from segdec.experiments.report import write_report
from segdec.experiments.tables import Table
from segdec.experiments.work import check_same, work
from segdec.interruption import terminable
from segdec.progress import Progress
from segdec.runtime import device_type, require_torch

_LOOK_S = 0.5
"""Seconds between two looks at the workers."""


def reproduce(
    table: Table,
    jobs: Sequence[Job],
    out: Path,
    processes: int = 1,
    settled: Callable[[int, int], None] | None = None,
    watch: Callable[[Job, Progress], None] | None = None,
) -> tuple[list[Path], list[SegdecError]]:
    """Do all trainings of a table that are not settled yet, and write the table.

    The table is written anew after each training. Other processes, also of other machines that share the
    folder, may do the same at the same time: each training is done once, and this returns when all of them
    are settled.

    Parameters
    ----------
    table
        Which.
    jobs
        Its trainings, from `segdec.experiments.jobs.plan`.
    out
        Folder of all results.
    processes
        So many trainings at once on this machine.
    settled
        Called with (trainings settled, trainings in all).
    watch
        Called as a training proceeds; with one process only.

    Returns
    -------
    list of Path
        The files of the table.
    list of SegdecError
        What is wrong with runs that cannot be used, as `segdec.experiments.report.write_report` has it.

    Raises
    ------
    OutputError
        If a run that is there, settled or not, has another configuration than the one asked for,
        or judges other items than the published folds say.
    SegdecError
        If a training cannot be done.
    KeyboardInterrupt
        After Ctrl-C, with everything kept: the same call goes on.
    """
    require_torch()

    def count(_: Job | None = None) -> None:
        if settled is not None:
            settled(sum(job.settled for job in jobs), len(jobs))

    def after(_: Job) -> None:
        write_report(table, out)
        count()

    for job in jobs:
        # a settled run that is damaged is listed with the table; the others go on
        with suppress(ConfigError, ModelError) if job.settled else nullcontext():
            if (job.folder / "config.toml").exists():
                check_same(job.folder, job.config)
    count()
    if processes == 1:
        work(jobs, after, watch)
    else:
        _run_workers(jobs, partial(_report, table, out), processes, count)
    return write_report(table, out)


def _report(table: Table, out: Path, _: Job) -> None:
    write_report(table, out)


def _run_workers(
    jobs: Sequence[Job], after: Callable[[Job], None], processes: int, count: Callable[[], None]
) -> None:
    context = multiprocessing.get_context("spawn")
    problems: SimpleQueue[SegdecError] = context.SimpleQueue()
    threads = max(1, (os.cpu_count() or 1) // processes) if device_type() == "cpu" else None
    workers = [
        context.Process(target=_worker, args=(jobs, after, threads, problems), name=f"worker {number}")
        for number in range(processes)
    ]
    with _ended_with_us(workers):
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            time.sleep(_LOOK_S)
            count()
            if not problems.empty():
                raise problems.get()
    if not problems.empty():
        raise problems.get()
    left = sum(not job.settled for job in jobs)
    if left:
        raise TrainingError(
            f"all {processes} workers ended early, with {left} of {len(jobs)} trainings left, perhaps"
            " for lack of memory; start the same command again, with fewer --jobs, to go on"
        )


def _worker(
    jobs: Sequence[Job],
    after: Callable[[Job], None],
    threads: int | None,
    problems: SimpleQueue[SegdecError],
) -> None:
    """Work until all is settled; ends when the process that started it does."""
    import torch

    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C is for the parent, which then stops its workers, once each
    if threads is not None:
        torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    try:
        work(jobs, after, keep_going=parent.is_alive if parent is not None else None)
    except SegdecError as error:
        problems.put(error)
    except KeyboardInterrupt:
        return


@contextmanager
def _ended_with_us(workers: Sequence[SpawnProcess]) -> Generator[None, None, None]:
    """Stop the workers when the block ends, however it ends; they keep what they have done."""
    with terminable():
        try:
            yield
        finally:
            for worker in workers:
                if worker.pid is not None and worker.is_alive():
                    worker.terminate()  # in a training: writes a checkpoint first
            for worker in workers:
                if worker.pid is not None:
                    worker.join()
