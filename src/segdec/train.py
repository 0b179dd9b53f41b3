"""The training loop; read it from top to bottom.

Source: arXiv:2007.07676, Sec. III, and docs/method.md for every departure.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segdec.config import Config
from segdec.data.answers import load_answers
from segdec.errors import DataError, TrainingError
from segdec.files import atomic_write, output_error
from segdec.interruption import interruption
from segdec.new_run import start_run
from segdec.progress import Clock, Meter, Progress, Watch
from segdec.runs import Run, check_unchanged, move_data, open_run, write_run
from segdec.runtime import (
    is_main_process,
    keep_freed_memory,
    require_tensorboard,
    require_torch,
)
from segdec.tiles import choose_tiling
from segdec.types import Dataset, Sample

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from segdec.checkpoint import TrainingState
    from segdec.data.loader import Batch
    from segdec.network import SegDecNet
    from segdec.sampling import EpochSampler
    from segdec.step import Learner


def train(
    data: Path | Dataset | None,
    config: Config,
    out: Path,
    *,
    resume: bool = False,
    settings: tuple[str, ...] = (),
    plan: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> Run:
    """Train a network and write its run folder.

    Parameters
    ----------
    data
        The data set, or where it lies; None with ``resume`` takes the one that the run began with.
    config
        Of a new run; a resumed run has its own.
    out
        The run folder.
    resume
        Go on with the run in ``out`` where it was cut off. On a CPU the result is the same, bit for
        bit, as without the interruption. A run that has ended is left as it is; that its data lie elsewhere
        now is written down.
    settings
        With ``resume``: settings to change, of those that do not change what is computed.
    plan
        How ``config`` was chosen, kept in the run folder; it changes nothing.
    watch
        Called as training proceeds, in the main process only.

    Returns
    -------
    Run
        Its ``model`` folder is written.

    Raises
    ------
    SegdecError
        If the data, the configuration or the machine do not allow it.
    KeyboardInterrupt
        After Ctrl-C, once a checkpoint is written.
    """
    keep_freed_memory()
    require_torch()
    from segdec.scoring import validation_ap, write_trained_model

    tell = watch if watch is not None and is_main_process() else _ignore
    run = _open(data, config, out, resume, settings, tell)
    loop = _set_up(run)
    run = loop.run
    state = _restore(loop, tell) if resume else _beginning(loop, tell)
    if not resume and is_main_process():
        write_run(run, plan)  # only now: all that can be refused was accepted
    if state.epoch == run.config.train.epochs and run.model.exists():
        return run  # it had ended; its model may have been calibrated since

    # several processes cannot stop at the same step: there Ctrl-C ends at once, with the last epoch kept
    with interruption(enabled=loop.accelerator.num_processes == 1) as interrupted:
        for epoch in range(state.epoch, run.config.train.epochs):
            uses = loop.sampler.uses.copy()
            loop.sampler.start_epoch(epoch, skip=state.step)
            whole = _train_epoch(loop, state, epoch, tell, interrupted)
            if not whole:
                loop.sampler.uses = uses  # the epoch is drawn again, and gone on with at state.step
                _save(loop, state)
                raise KeyboardInterrupt
            _check_weights(loop, epoch)
            row = _end_epoch(state, epoch, loop)
            if _is_validated(run, epoch):
                row["val_ap"] = validation_ap(
                    loop.network, run, lambda n, of: tell(Progress("validating", n, of))
                )
                _keep_best(loop, state, epoch, row["val_ap"])
            _log(loop, row)
            _save(loop, state)

    if is_main_process():
        name, chosen = "last", run.config.train.epochs - 1
        if run.config.train.select == "best" and state.best_epoch is not None:
            name, chosen = "best", state.best_epoch
        weights = _checkpoint(run, name)
        write_trained_model(
            run, weights, chosen, lambda n, of: tell(Progress("choosing the threshold", n, of))
        )
    loop.accelerator.wait_for_everyone()
    return run


@dataclass
class _Loop:
    """What a training works with."""

    run: Run
    samples: tuple[Sample, ...]
    """What teaches: the training part, or its tiles."""
    learner: Learner
    sampler: EpochSampler
    loader: DataLoader[Batch]
    meter: Meter

    @property
    def network(self) -> SegDecNet:
        return self.learner.network

    @property
    def accelerator(self) -> Accelerator:
        return self.learner.accelerator


def _train_epoch(
    loop: _Loop, state: TrainingState, epoch: int, tell: Watch, interrupted: threading.Event
) -> bool:
    """Take the steps of an epoch that are left; False if Ctrl-C cut it off. Counts in ``state``."""
    from segdec.losses import balance
    from segdec.step import take_step

    config = loop.run.config
    seg_factor, dec_factor = balance(config.loss.balance, epoch, config.train.epochs)
    dec_factor *= config.loss.delta
    began, clock = time.perf_counter(), Clock()
    for number, batch in enumerate(clock.waiting(loop.loader), start=1):
        loop.meter.add(take_step(loop.learner, batch, seg_factor, dec_factor), batch.place)
        if number % config.train.accumulate:
            continue  # in the middle of an optimiser step
        state.step += 1
        if state.step % loop.meter.every == 0 or state.step == loop.sampler.steps:
            loop.meter.read(epoch, state.sums)
            tell(
                Progress(
                    "training", state.step, loop.sampler.steps, epoch, config.train.epochs, _means(state)
                )
            )
        if interrupted.is_set() and state.step < loop.sampler.steps:
            loop.meter.read(epoch, state.sums)
            break
    state.sums["seconds"] = state.sums.get("seconds", 0.0) + time.perf_counter() - began
    state.sums["data_wait"] = state.sums.get("data_wait", 0.0) + clock.waited
    return state.step == loop.sampler.steps


def _open(
    data: Path | Dataset | None,
    config: Config,
    out: Path,
    resume: bool,
    settings: tuple[str, ...],
    tell: Watch,
) -> Run:
    def reading(done: int, total: int) -> None:
        tell(Progress("reading", done, total))

    if resume:
        run = open_run(out, settings, data.root if isinstance(data, Dataset) else data)
        if run.config.train.teacher is not None:
            run = replace(run, answers=load_answers(out, len(run.split.train)))
        check_unchanged(run, reading)
        return move_data(run, data) if isinstance(data, Path) and is_main_process() else run
    if data is None:
        raise DataError("no data set given; write: segdec train DATA")
    run = start_run(data, config, out, reading)
    if config.train.teacher is None:
        return run
    from segdec.teaching import ask_teacher

    return ask_teacher(run, lambda n, of: tell(Progress("asking the teacher", n, of)))


def _set_up(run: Run) -> _Loop:
    from segdec.data.loader import training_loader
    from segdec.sampling import EpochSampler
    from segdec.step import make_learner

    config = run.config.train
    if config.tensorboard:
        require_tensorboard()
    samples = _teaching(run)
    learner = make_learner(run.config)
    sampler = EpochSampler(
        [sample.label for sample in samples],
        config.batch_size,
        config.seed,
        config.frequency_of_use,
        learner.accelerator.process_index,
        learner.accelerator.num_processes,
        config.accumulate,
    )
    # a form that was measured is the run's from now on: it stands in config.toml, where --resume finds it
    config = config.model_copy(update={"context": learner.context})
    run = replace(run, config=run.config.model_copy(update={"train": config}))
    every = 1 if learner.accelerator.device.type == "cpu" else 20  # reading is free on a CPU
    loader = training_loader(samples, run.config, sampler, run.answers)
    return _Loop(run, samples, learner, sampler, loader, Meter(every, samples, config.learning_rate))


def _teaching(run: Run) -> tuple[Sample, ...]:
    """Return what teaches: the images of the training part (with a teacher also others), or their tiles."""
    from segdec.data.tiles import cut_samples

    data = run.config.data
    if data.tile is None:
        return run.teaching
    return cut_samples(run.split.train, choose_tiling(run.config.network, data.tile), data)


def _beginning(loop: _Loop, tell: Watch) -> TrainingState:
    """Return the state before the first step; the network has its first weights."""
    import torch

    from segdec.checkpoint import TrainingState
    from segdec.starting import starting_weights

    if loop.run.config.train.start_from is not None:
        weights = starting_weights(
            loop.run.config, loop.samples, lambda n, of: tell(Progress("measuring", n, of))
        )
        loop.network.load_state_dict(weights)
    return TrainingState(epoch=0, step=0, uses=torch.from_numpy(loop.sampler.uses.copy()))


def _restore(loop: _Loop, tell: Watch) -> TrainingState:
    """Load the last checkpoint; a run that was cut off before its first one starts anew."""
    from segdec.checkpoint import load_checkpoint

    path = _checkpoint(loop.run, "last")
    if path.exists():
        weights, state = load_checkpoint(path)
        loop.network.load_state_dict(weights)
        loop.sampler.uses = state.uses.numpy().copy()
        if loop.accelerator.scaler is not None and state.scaler:
            loop.accelerator.scaler.load_state_dict(state.scaler)
    else:
        state = _beginning(loop, tell)
    if is_main_process():
        _drop_rows(loop.run.folder / "log.jsonl", state.epoch)
    return state


def _save(loop: _Loop, state: TrainingState) -> None:
    import torch

    from segdec.checkpoint import save_checkpoint

    state.uses = torch.from_numpy(loop.sampler.uses.copy())
    if loop.accelerator.scaler is not None:
        state.scaler = loop.accelerator.scaler.state_dict()
    if is_main_process():
        save_checkpoint(_checkpoint(loop.run, "last"), loop.network.state_dict(), state)


def _keep_best(loop: _Loop, state: TrainingState, epoch: int, ap: float | None) -> None:
    from segdec.checkpoint import save_checkpoint

    if ap is not None and (state.best_ap is None or ap > state.best_ap):
        state.best_ap, state.best_epoch = ap, epoch
        if loop.run.config.train.select == "best":
            save_checkpoint(_checkpoint(loop.run, "best"), loop.network.state_dict(), state)


def _checkpoint(run: Run, name: str) -> Path:
    return run.checkpoints / f"{name}.safetensors"


def _is_validated(run: Run, epoch: int) -> bool:
    due = (epoch + 1) % run.config.train.validate_every == 0 or epoch + 1 == run.config.train.epochs
    return bool(run.split.val) and due and is_main_process()


def _check_weights(loop: _Loop, epoch: int) -> None:
    """Refuse to keep weights that the last step of an epoch ruined: no loss has told of it yet."""
    if not all(bool(weight.isfinite().all()) for weight in loop.network.parameters()):
        raise TrainingError(
            f"the weights are not finite after epoch {epoch + 1}: training cannot go on; try a lower"
            f" train.learning_rate (it is {loop.run.config.train.learning_rate}) or train.precision=fp32"
        )


def _means(state: TrainingState) -> dict[str, float]:
    return {key: state.sums[key] / state.sums["images"] for key in ("loss", "seg_loss", "dec_loss")}


def _end_epoch(state: TrainingState, epoch: int, loop: _Loop) -> dict[str, Any]:
    """Return the epoch's line of the log, and move the state on to the next epoch."""
    import torch

    from segdec.losses import balance

    config = loop.run.config
    counted = ("loss", "seg_loss", "dec_loss", "images")
    sums = torch.tensor([state.sums[key] for key in counted], dtype=torch.float64)
    over_all = loop.accelerator.reduce(sums.to(loop.accelerator.device), "sum")  # over the processes
    state.sums.update(zip(counted, over_all.tolist(), strict=True))
    row = {
        "epoch": epoch,
        "seg_factor": balance(config.loss.balance, epoch, config.train.epochs)[0],
        **_means(state),
        "images": int(state.sums["images"]),
        "steps": state.step,
        "seconds": round(state.sums["seconds"], 3),
        "data_wait": round(state.sums["data_wait"], 3),
    }
    state.epoch, state.step, state.sums = epoch + 1, 0, {}
    return row


def _log(loop: _Loop, row: dict[str, Any]) -> None:
    if not is_main_process():
        return
    path = loop.run.folder / "log.jsonl"
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    except OSError as error:
        raise output_error(path, error) from error
    if loop.run.config.train.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(loop.run.folder / "tensorboard")) as writer:
            for key, value in row.items():
                if isinstance(value, float):
                    writer.add_scalar(key, value, row["epoch"])


def _drop_rows(log: Path, epoch: int) -> None:
    """Remove the lines of epochs that will be trained again: they were logged, but not kept."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines[:epoch] if line.endswith("\n")]  # one line for each epoch
        atomic_write(log, "".join(kept).encode())


def _ignore(_: Progress) -> None:
    pass
