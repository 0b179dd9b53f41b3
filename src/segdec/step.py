"""One optimiser step: what training takes again and again, and what is timed to say how long training takes.

Source: arXiv:2007.07676, Sec. III.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from segdec.context import measure_context
from segdec.losses import decision_loss, segmentation_loss
from segdec.network import SegDecNet, build_network, to_channels_last
from segdec.runtime import Precision, choose_context, choose_precision, make_accelerator

if TYPE_CHECKING:
    from accelerate import Accelerator

    from segdec.config import Config
    from segdec.data.loader import Batch


@dataclass(frozen=True)
class Learner:
    """A network with what it takes to learn.

    Attributes
    ----------
    accelerator
        The device, the precision and the processes.
    network
        Whose weights change.
    model
        The network as accelerate wraps it.
    optimizer
        Plain stochastic gradient descent.
    precision, context
        As they were chosen.
    """

    accelerator: Accelerator
    network: SegDecNet
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    context: str


class Losses(NamedTuple):
    """The losses of a batch, (N,) each: as they are weighed together, and either by itself."""

    loss: Tensor
    seg_loss: Tensor
    dec_loss: Tensor


def make_learner(config: Config) -> Learner:
    """Build the network with its first weights, on the device that this process computes on.

    Parameters
    ----------
    config
        Its ``network`` and ``train`` decide, and ``data.image_size`` where ``train.context`` is "auto": then
        both forms of the context convolution are timed first.

    Returns
    -------
    Learner

    Raises
    ------
    ConfigError
        If this machine cannot compute as it is wished.
    """
    train = config.train
    precision = choose_precision(train.precision)
    accelerator = make_accelerator(precision, train.accumulate)
    if train.context == "auto" and accelerator.num_processes == 1:
        context = measure_context(config, accelerator)
    else:  # several processes take one form by a rule: each would measure while the others keep it waiting
        context = choose_context(train.context, config.network, precision)
    network = build_network(
        config.network,
        train.seed,
        gradient_scale=0.0 if train.gradient_adjustment else 1.0,
        context=context,
    )
    to_channels_last(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=train.learning_rate)
    model, optimizer = accelerator.prepare(network, optimizer)
    if train.compile:
        # every network that was compiled in this process counts towards a limit, past which none is any more
        torch.compiler.reset()
        model.compile()
    return Learner(accelerator, network, model, optimizer, precision, context)


def take_step(
    learner: Learner,
    batch: Batch,
    seg_factor: float,
    dec_factor: float,
    halfway: Callable[[], None] | None = None,
) -> Losses:
    """Learn from a batch; where batches are accumulated, the weights change with the last part of one.

    Parameters
    ----------
    learner
        What learns.
    batch
        On any device.
    seg_factor, dec_factor
        Weights of the two losses.
    halfway
        Called between the losses and the backward pass.

    Returns
    -------
    Losses
        Of the batch, before the step.
    """
    accelerator = learner.accelerator
    batch = _to_device(batch, accelerator.device)
    # accelerate takes the mean over processes and parts of a batch; the method's gradient is the sum
    parts = accelerator.num_processes * accelerator.gradient_accumulation_steps
    with accelerator.accumulate(learner.model):
        seg_logits, dec_logits = learner.model(batch.image)  # (N, 1, H/8, W/8), (N, 1)
        seg_loss = segmentation_loss(seg_logits, batch.seg_target, batch.weight_map)  # (N,)
        dec_loss = decision_loss(dec_logits, batch.dec_target)  # (N,)
        loss = seg_factor * seg_loss + dec_factor * dec_loss  # (N,)
        if halfway is not None:
            halfway()
        # a stage that learns nothing needs no backward pass; several processes wait for every gradient
        idle = seg_factor == 0 and accelerator.num_processes == 1
        accelerator.backward((dec_factor * dec_loss if idle else loss).sum() * parts)
        learner.optimizer.step()
        learner.optimizer.zero_grad()
    return Losses(loss, seg_loss, dec_loss)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    moved = [tensor.to(device, non_blocking=True) for tensor in batch]
    moved[0] = moved[0].to(memory_format=torch.channels_last)
    return type(batch)(*moved)
