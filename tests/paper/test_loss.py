"""Section 2 of docs/method.md: the losses, their balance, weight map, reduction, and the batch's gradient."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from segdec.config import Config, load_config
from segdec.data.loader import Batch, make_targets, training_loader
from segdec.data.synthetic import write_dagm_like
from segdec.imaging import marks as codes
from segdec.losses import balance, decision_loss, segmentation_loss
from segdec.sampling import EpochSampler
from segdec.train import train
from segdec.types import Sample
from segdec.weighting import reduce_to_cells, weight_map

GOOD = Sample("good", Path("good.png"), False)
DEFECT = Sample("defect", Path("defect.png"), True, Path("mask.png"))
WEAK = Sample("weak", Path("weak.png"), True)


def marks(mask: np.ndarray, known: bool = True) -> np.ndarray:
    return np.where(mask, np.uint8(codes.DEFECT), np.uint8(codes.GOOD if known else codes.UNKNOWN))


def config(*settings: str) -> Config:
    return load_config(None, ("data.image_size=[64, 64]", "data.channels=1", *settings))


# -------------------------------------------------------------------------------------------- the balance


def test_lambda_falls_from_one_to_one_nth():
    # lambda = 1 - n / n_ep with n_ep = 5: 1, 0.8, 0.6, 0.4, 0.2
    assert [balance("dynamic", n, 5)[0] for n in range(5)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert [balance("dynamic", n, 5)[1] for n in range(5)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_without_balance_both_count_in_full():
    assert [balance("none", n, 5) for n in (0, 4)] == [(1, 1), (1, 1)]


def test_without_any_mask_only_the_decision_counts():
    assert [balance("decision", n, 5) for n in (0, 4)] == [(0, 1), (0, 1)]


def test_total_loss_by_hand():
    # seg_logits 0 everywhere, so each cell's cross-entropy is ln 2; weights 3, 1, 1, 1:
    #   L_seg = (3 + 1 + 1 + 1) / 4 * ln 2 = 1.5 * 0.693147 = 1.039721
    # dec_logit 1 against 1: L_cls = ln(1 + e^-1) = 0.313262
    # epoch 1 of 4: lambda 0.75; delta 0.1: L = 0.75 * 1.039721 + 0.25 * 0.1 * 0.313262 = 0.787622
    seg = segmentation_loss(
        torch.zeros(1, 1, 2, 2),
        torch.tensor([[[[1.0, 0.0], [0.5, 0.0]]]]),
        torch.tensor([[[[3.0, 1.0], [1.0, 1.0]]]]),
    )
    dec = decision_loss(torch.tensor([[1.0]]), torch.tensor([[1.0]]))
    assert seg.tolist() == pytest.approx([1.039721], abs=1e-6)
    assert dec.tolist() == pytest.approx([0.313262], abs=1e-6)
    seg_factor, dec_factor = balance("dynamic", 1, 4)
    assert float(seg_factor * seg + dec_factor * 0.1 * dec) == pytest.approx(0.787622, abs=1e-6)


def test_each_images_loss_is_a_mean_over_its_own_cells():
    # image 1: logit ln 3 against 0 -> ln(1 + 3) = 2 ln 2 in each cell; image 2: against 1 -> ln(4 / 3)
    logits = torch.full((2, 1, 3, 5), math.log(3))
    target = torch.stack([torch.zeros(1, 3, 5), torch.ones(1, 3, 5)])
    loss = segmentation_loss(logits, target, torch.ones_like(target))
    assert loss.tolist() == pytest.approx([2 * math.log(2), math.log(4 / 3)], abs=1e-6)


# ---------------------------------------------------------------------------- weight map and its reduction


def test_weight_map_by_hand():
    # A 5 x 5 square: D is 1 on its rim (16 pixels), 2 on the ring inside (8), 3 in the middle; D_max = 3.
    # w_pos 9, p 2: 9 * (1/3)^2 = 1, 9 * (2/3)^2 = 4, 9 * 1 = 9; outside 1.
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    weights = weight_map(mask, 9, 2)
    assert weights[4].tolist() == pytest.approx([1, 1, 1, 4, 9, 4, 1, 1, 1])
    assert weights[3].tolist() == pytest.approx([1, 1, 1, 4, 4, 4, 1, 1, 1])
    # p 1: 3, 6, 9
    assert weight_map(mask, 9, 1)[4].tolist() == pytest.approx([1, 1, 3, 6, 9, 6, 3, 1, 1])


def test_the_largest_distance_is_the_images_not_the_defects():
    # two defects in one row, 3 and 1 pixels wide: D = 1, 2, 1 and 1; D_max = 2 for both; p 1, w_pos 4
    mask = np.array([[0, 1, 1, 1, 0, 0, 1, 0]], bool)
    assert weight_map(mask, 4, 1).tolist() == [[1, 2, 4, 2, 1, 1, 2, 1]]


def test_distance_is_euclidean():
    # The good pixel (0, 0) alone: D at (3, 4) is 5, the largest; D at (1, 1) is sqrt(2); w_pos 1, p 1
    mask = np.ones((4, 5), bool)
    mask[0, 0] = False
    weights = weight_map(mask, 1, 1)
    assert weights[3, 4] == pytest.approx(1)
    assert weights[1, 1] == pytest.approx(math.sqrt(2) / 5)


def test_a_small_defect_gives_a_low_value():
    # Cell (2, 3) has its 17 x 17 window centred at pixel (16, 24). A defect of 5 x 5 pixels there: 25 / 289.
    # It covers rows 14..18 and columns 22..26. The window of cell (2, 4), centred at x = 32, begins at 24:
    # columns 24, 25, 26, so 5 * 3 / 289. That of cell (1, 3), centred at y = 8, ends at 16: rows 14, 15,
    # 16, so 3 * 5 / 289.
    mask = np.zeros((64, 64), np.float32)
    mask[14:19, 22:27] = 1
    cells = reduce_to_cells(mask)
    assert cells.shape == (8, 8)
    assert cells[2, 3] == pytest.approx(25 / 289)
    assert cells[2, 4] == pytest.approx(15 / 289)
    assert cells[1, 3] == pytest.approx(15 / 289)
    assert cells[2, 5] == 0


def test_the_border_is_mirrored_without_repeating_the_edge():
    # Cell (0, 0) is centred at pixel (0, 0); the window reaches to -8, which mirrors to 8.
    # A defect at pixel (0, 0) alone is seen once: 1 / 289. At (0, 3): at x = 3 and x = -3: 2 / 289.
    # At (2, 3): four times.
    for where, times in (((0, 0), 1), ((0, 3), 2), ((2, 3), 4)):
        mask = np.zeros((64, 64), np.float32)
        mask[where] = 1
        assert reduce_to_cells(mask)[0, 0] == pytest.approx(times / 289)


def test_the_weight_map_is_reduced_like_the_mask():
    # weights 1 but for a 5 x 5 square of 9 (p 0: every positive pixel w_pos): (289 - 25 + 25 * 9) / 289
    mask = np.zeros((64, 64), bool)
    mask[14:19, 22:27] = True
    settings = config("loss.w_pos=9", "loss.p=0")
    _, weights, _ = make_targets(marks(mask), DEFECT, settings)
    assert weights[2, 3] == pytest.approx((264 + 225) / 289)
    assert weights[7, 7] == pytest.approx(1)
    _, plain, _ = make_targets(marks(mask), DEFECT, config("loss.distance_weights=false"))
    assert (plain == 1).all()


def test_hard_and_soft_targets_of_the_decision():
    # the 5 x 5 defect: hard 1, the reference's soft target 25 / 289 = 0.0865
    mask = np.zeros((64, 64), bool)
    mask[14:19, 22:27] = True
    assert make_targets(marks(mask), DEFECT, config())[2] == 1
    assert make_targets(marks(mask), DEFECT, config("loss.decision_target=soft"))[2] == pytest.approx(
        25 / 289
    )
    empty = np.zeros((64, 64), bool)
    for target in ("hard", "soft"):
        settings = config(f"loss.decision_target={target}")
        assert make_targets(marks(empty), GOOD, settings)[2] == 0
        assert (
            make_targets(marks(empty, known=False), WEAK, settings)[2] == 1
        )  # nothing to make a soft one from


def test_a_weak_image_counts_in_the_decision_loss_only():
    empty = np.zeros((64, 64), bool)
    target, weights, label = make_targets(marks(empty, known=False), WEAK, config())
    assert (label, weights.max()) == (1, 0)
    logits = torch.randn(1, 1, 8, 8, requires_grad=True)
    loss = segmentation_loss(
        logits, torch.from_numpy(target)[None, None], torch.from_numpy(weights)[None, None]
    )
    loss.sum().backward()
    assert float(loss.detach()) == 0
    assert (logits.grad == 0).all()


def test_a_good_image_has_weights_of_one():
    target, weights, label = make_targets(marks(np.zeros((64, 64), bool)), GOOD, config())
    assert (target == 0).all()
    assert (weights == 1).all()
    assert label == 0


# ---------------------------------------------------------------------------------------- a batch's gradient

TINY = (
    "data.image_size=[64, 64]",
    "data.channels=1",
    "data.workers=0",
    "data.val_fraction=0",
    "network.block_channels=[4, 4, 4]",
    "network.context_channels=8",
    "network.context_kernel=3",
    "loss.delta=0.3",
    "train.precision=fp32",
    "train.epochs=1",
    "train.batch_size=3",
)


@pytest.mark.parametrize("kind", ["none", "dynamic"])
def test_a_steps_gradient_is_the_sum_over_its_images(tmp_path, monkeypatch, kind):
    """The real training's step on three images against the single images' gradients, added up by hand."""
    write_dagm_like(tmp_path / "Class1", 0, (64, 64), train=(3, 2), test=(1, 1))
    settings = load_config(None, (*TINY, f"loss.balance={kind}"))
    steps = []

    def remember(self):
        steps.append([parameter.grad.clone() for group in self.param_groups for parameter in group["params"]])

    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *_a, **_k: remember(self))
    run = train(tmp_path / "Class1", settings, tmp_path / "run")
    assert len(steps) == 1  # two positives and two negatives: one batch of three, the last image is dropped

    from segdec.network import build_network

    network = build_network(settings.network, settings.train.seed)
    sampler = EpochSampler([sample.label for sample in run.split.train], 3, settings.train.seed)
    sampler.start_epoch(0)
    (batch,) = training_loader(run.split.train, run.config, sampler)
    seg_factor, dec_factor = {"none": (1.0, 1.0), "dynamic": (1.0, 0.0)}[kind]
    for image in range(3):
        one = Batch(*(tensor[image : image + 1] for tensor in batch))
        seg_logits, dec_logits = network(one.image)
        seg = segmentation_loss(seg_logits, one.seg_target, one.weight_map)
        dec = decision_loss(dec_logits, one.dec_target)
        (seg_factor * seg + dec_factor * 0.3 * dec).sum().backward()  # adds to .grad
    for mine, parameter in zip(steps[0], network.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-6)


def test_the_optimiser_is_plain_sgd_at_a_constant_rate(tmp_path, monkeypatch):
    write_dagm_like(tmp_path / "Class1", 0, (64, 64), train=(3, 2), test=(1, 1))
    seen = []
    real = torch.optim.SGD.step

    def step(self, *args, **options):
        before = [parameter.detach().clone() for parameter in self.param_groups[0]["params"]]
        real(self, *args, **options)
        seen.append(
            [
                (old, parameter.grad.clone(), parameter.detach().clone())
                for old, parameter in zip(before, self.param_groups[0]["params"], strict=True)
            ]
        )

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    settings = load_config(None, (*TINY, "train.learning_rate=0.25", "train.epochs=3", "loss.balance=none"))
    train(tmp_path / "Class1", settings, tmp_path / "run")
    assert len(seen) == 3
    for old, gradient, new in (entry for one in seen for entry in one):
        torch.testing.assert_close(new, old - 0.25 * gradient)
