"""Work through trainings: claim one, train it, judge it, write down what came of it; then the next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segdec.config import Config, load_config
from segdec.data.splits import published_fold
from segdec.errors import ImageError, ModelError, OutputError, TrainingError
from segdec.evaluate import evaluate_predictions, write_evaluation
from segdec.experiments.chosen import choose_masks
from segdec.experiments.claims import STALE_S, Claim, claim, host
from segdec.experiments.jobs import DONE, FAILED, MACHINE_SETTINGS, Job
from segdec.files import atomic_write
from segdec.predict import Predictor, predict_files
from segdec.progress import Progress, Watch
from segdec.runs import open_run
from segdec.runtime import choose_precision, commit, machine
from segdec.train import train
from segdec.types import Prediction, Sample

SESSIONS = "sessions.jsonl"
"""One line for each time that somebody took up a run: where, when, with which code and precision."""

CLAIMS = "claims"
"""Folder of a run's claims."""

POLL_S = 5.0
"""Seconds between two looks for a run whose worker has died, while others still work."""


class TakenOverError(TrainingError):
    """Another process took the run over, because this one had not been heard of for too long."""


def work(
    jobs: Sequence[Job],
    settled: Callable[[Job], None],
    watch: Callable[[Job, Progress], None] | None = None,
    keep_going: Callable[[], bool] | None = None,
    stale_s: float = STALE_S,
    poll_s: float = POLL_S,
) -> None:
    """Do every job that nobody else does, and return when all of them are settled.

    Any number of processes may do this with the same jobs at once. A run whose worker died is gone on with.

    Parameters
    ----------
    jobs
        In this order.
    settled
        Called after each job that this process has settled.
    watch
        Called as a training proceeds.
    keep_going
        Asked between two jobs and as a training proceeds; False stops, as Ctrl-C does.
    stale_s, poll_s
        When the claim of a silent worker is over, and how often to look.

    Raises
    ------
    SegdecError
        If a job cannot be done for a reason that others would share. A training whose loss is no longer
        finite is a result: it is written down as failed.
    KeyboardInterrupt
        After Ctrl-C, or when ``keep_going`` said so.
    """
    going = keep_going or _always
    while left := [job for job in jobs if not job.settled]:
        idle = True
        for job in left:
            _stop_unless(going)
            if not job.ready:
                continue  # the run that chooses its masks comes first, here or elsewhere
            held = claim(job.folder / CLAIMS, stale_s)
            if held is None:
                continue
            with held:
                if job.settled:
                    continue  # somebody settled it since we looked
                try:
                    _do(job, held, watch, going)
                except TakenOverError:
                    continue  # it is in other hands
                settled(job)
                idle = False
        if idle:
            _stop_unless(going)
            time.sleep(poll_s)


def _do(
    job: Job, held: Claim, watch: Callable[[Job, Progress], None] | None, keep_going: Callable[[], bool]
) -> None:
    def tell(progress: Progress) -> None:
        _stop_unless(keep_going)
        if not held.held:
            raise TakenOverError(f"{job.folder} was taken over by another process")
        if watch is not None:
            watch(job, progress)

    began = time.perf_counter()
    _note_session(job)
    try:
        _train(job, tell)
    except TakenOverError:
        raise
    except TrainingError as error:
        _write(job.folder / FAILED, _record(job) | {"error": str(error)})
        return
    _judge(job, tell)
    _write(job.folder / DONE, _record(job) | {"session_s": round(time.perf_counter() - began, 1)})


def _train(job: Job, tell: Watch) -> None:
    resume = (job.folder / "config.toml").exists()
    if resume:
        check_same(job.folder, job.config)
    if resume or job.after is None:
        settings = _how(job) if resume else ()
        train(job.data, job.config, job.folder, resume=resume, settings=settings, watch=tell)
        return
    if not (job.after / DONE).exists():
        raise TrainingError(f"the run that was to choose its masks failed: {job.after}")
    # from here on, which masks there are stands in the run's split
    train(choose_masks(job.data, job.config, job.after, job.folder), job.config, job.folder, watch=tell)


def _judge(job: Job, tell: Watch) -> None:
    """Judge the test part of the run's own split, wherever the data lie on this machine."""
    predictor = Predictor(job.folder / "model")
    samples = open_run(job.folder, data=job.data).split.test
    found = predict_files(predictor, [sample.image for sample in samples])

    def pairs() -> Iterator[tuple[Sample, Prediction | ImageError]]:
        for done, (sample, result) in enumerate(zip(samples, found, strict=True), start=1):
            yield sample, result if isinstance(result, Prediction) else ImageError(result.reason)
            tell(Progress("evaluating", done, len(samples)))

    evaluation = evaluate_predictions(pairs(), predictor.threshold, predictor.pixel_threshold)
    write_evaluation(evaluation, job.folder)


def check_same(folder: Path, wanted: Config) -> None:
    """Refuse a run of another configuration or of other published folds: its folder's name would lie.

    Parameters
    ----------
    folder
        Of a run that has begun, by whatever version: a setting that it did not know has its default.
    wanted
        What the run is taken for. Its splits file may lie elsewhere, but must judge the same items.

    Raises
    ------
    OutputError
        If something else is computed.
    ModelError
        If the run is damaged.
    """
    stored, asked = (_what(config) for config in (load_config(folder / "config.toml"), wanted))
    for key, value in asked.items():
        if stored[key] != value:
            raise OutputError(
                f"{folder} holds a run with {key} {stored[key]!r}, where {value!r} is asked for; it may"
                " come from another version: move it away, or choose another folder by --out"
            )
    if wanted.data.splits is not None:
        items = set(published_fold(wanted.data).test)
        names = [{name, name.partition("/")[0]} for name in judged(folder)]  # an image, and its item
        if not (all(each & items for each in names) and items <= set().union(*names)):
            raise OutputError(
                f"{folder} holds a run that judges other items than {wanted.data.splits} says; give the"
                " --splits that it was made with, or choose another folder by --out"
            )


def judged(folder: Path) -> frozenset[str]:
    """Return the names of the images that judge a run.

    Parameters
    ----------
    folder
        Of a run that has begun.

    Returns
    -------
    frozenset of str

    Raises
    ------
    ModelError
        If the run is damaged.
    """
    try:
        return frozenset(json.loads((folder / "split.json").read_text(encoding="utf-8"))["test"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> ModelError:
    """Return what is to be said of a run that cannot be read.

    Parameters
    ----------
    folder
        Of the run.
    error
        That came of it.
    """
    return ModelError(
        f"the run {folder} is damaged ({error}); delete its folder to have it made again, or restore it"
    )


def _what(config: Config) -> dict[str, Any]:
    """Return the settings that say what is computed; a splits file may lie elsewhere."""
    tree = config.model_dump(mode="json")
    flat = {f"{section}.{key}": value for section, keys in tree.items() for key, value in keys.items()}
    return {key: value for key, value in flat.items() if key not in (*MACHINE_SETTINGS, "data.splits")}


def _how(job: Job) -> tuple[str, ...]:
    """Return the settings that a resumed run takes from this machine rather than from its beginning."""
    tree = job.config.model_dump(mode="json")
    pairs = [(key, tree[key.partition(".")[0]][key.partition(".")[2]]) for key in MACHINE_SETTINGS]
    if _began_here(job.folder):  # where what "auto" chose was measured, it stays
        pairs = [pair for pair in pairs if pair != ("train.context", "auto")]
    return tuple(f"{key}={json.dumps(value)}" for key, value in pairs)


def _began_here(folder: Path) -> bool:
    try:
        first, *_ = (folder / SESSIONS).read_text(encoding="utf-8").splitlines()
        return bool(json.loads(first)["machine"] == machine())
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error


def _note_session(job: Job) -> None:
    line = {
        "host": host(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "precision": choose_precision(job.config.train.precision),
        "machine": machine(),
    }
    path = job.folder / SESSIONS
    lines = path.read_text(encoding="utf-8") if path.exists() else ""
    atomic_write(path, (lines + json.dumps(line) + "\n").encode())


def _record(job: Job) -> dict[str, Any]:
    return {
        "row": job.row.name,
        "variant": job.variant,
        "settings": job.settings,
        "fold": job.fold,
        "seed": job.seed,
        "command": job.command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(path: Path, tree: dict[str, Any]) -> None:
    atomic_write(path, (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode())


def _stop_unless(keep_going: Callable[[], bool]) -> None:
    if not keep_going():
        raise KeyboardInterrupt


def _always() -> bool:
    return True
