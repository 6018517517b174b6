"""Layers with the same results as the library's, but faster."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# On CPUs with AMX, images up to this width are joined into strips of STRIP images, see `Conv`.
NARROW = 8 if torch.cpu.get_capabilities().get("amx_bf16") else 0
STRIP = 32


class Conv(nn.Conv2d):
    """A 3 x 3 convolution with padding 1 that is fast on narrow images in bf16 on a CPU as well.

    The tiles of AMX process 16 or 32 pixels of a row at once, and are mostly empty where a row has
    4 or 8. So images are joined side by side, with zeros between them that act as the padding, and
    the result is split again: the same sums, for 512 channels on 4 x 4 pixels in a third of the
    time (tests/benchmarks/bench_precision.py measures complete networks).
    """

    def forward(self, images: Tensor) -> Tensor:
        stride, columns = self.stride[1], images.shape[3]
        width, gap = -(-columns // stride), stride - columns % stride
        if images.dtype != torch.bfloat16 or images.device.type != "cpu" or width > NARROW:
            return super().forward(images)
        n = len(images)
        n_strips = -(-n // STRIP)
        per_strip = -(-n // n_strips)
        blank = n_strips * per_strip - n
        if blank:
            images = functional.pad(images, (0, 0, 0, 0, 0, 0, 0, blank))
        # (strip, image, row, column, channel) -> (strip, row, image, column, channel)
        rows = images.permute(0, 2, 3, 1).unflatten(0, (n_strips, per_strip)).transpose(1, 2)
        strips = functional.pad(rows, (0, 0, 0, gap)).flatten(2, 3)
        strips = super().forward(strips.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        rows = strips.unflatten(2, (per_strip, -1))[:, :, :, :width]
        return rows.transpose(1, 2).flatten(0, 1)[:n].contiguous().permute(0, 3, 1, 2)


class NormAct(nn.BatchNorm2d):
    """Batch normalization, then 2 x 2 max pooling if `pool`, then ReLU if `relu`.

    (B, C, H, W) -> the same shape, with `pool` half as high and wide. While it trains on a CPU
    inside `torch.compile`, it computes by formulas that the compiler can fuse into few passes over
    memory, where the layers one by one read and write some fifteen times: the same up to rounding
    (tests/models/test_layers.py). Otherwise it is the library's layers.
    """

    # never None, since running statistics are tracked
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, n_channels: int, *, relu: bool = False, pool: bool = False):
        super().__init__(n_channels)
        self.relu, self.pool = relu, pool
        # pooling first gives the same result, and leaves the ReLU a quarter of the pixels
        self.after = nn.Sequential(
            *[nn.MaxPool2d(2)] * pool,
            *[nn.ReLU(inplace=True)] * relu,
        )

    def forward(self, images: Tensor) -> Tensor:
        fused = torch.compiler.is_dynamo_compiling() and self.training
        halves = not self.pool or images.shape[2] % 2 == images.shape[3] % 2 == 0
        if not fused or not halves or images.device.type != "cpu":
            return self.after(super().forward(images))
        out, mean, variance = _Fused.apply(
            images, self.weight, self.bias, self.running_mean, self.eps, self.relu, self.pool
        )
        n = images.numel() // images.shape[1]
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        return out


class _Fused(torch.autograd.Function):
    """NormAct while it trains, and the mean and variance (C,) of each channel.

    shift (C,): near the means, so that the variance, a difference of two sums, keeps its digits.
    """

    @staticmethod
    def forward(ctx, images, weight, bias, shift, eps, relu, pool):
        wide = torch.promote_types(images.dtype, torch.float32)
        apart = images.to(wide) - _over(shift)
        mean = apart.mean((0, 2, 3))
        variance = ((apart * apart).mean((0, 2, 3)) - mean * mean).clamp_min(0)
        mean = mean + shift
        inverse = torch.rsqrt(variance + eps)
        scale = weight * inverse
        offset = bias - mean * scale
        kept = images  # of every 2 x 2 pixels the one with the largest output
        if pool:
            a, b, c, d = _corners(images)
            largest = torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
            least = torch.minimum(torch.minimum(a, b), torch.minimum(c, d))
            kept = torch.where(_over(scale) >= 0, largest, least)
        out = kept.to(wide) * _over(scale) + _over(offset)
        if relu:
            out = out.relu()
        ctx.save_for_backward(images, kept, mean, inverse, scale, offset)
        ctx.relu, ctx.pool = relu, pool
        ctx.mark_non_differentiable(mean, variance)
        if out.dtype != images.dtype:  # in torch 2.11 a `to` without effect loses the gradient
            out = out.to(images.dtype)
        return out, mean, variance

    @staticmethod
    def backward(ctx, gradient, *_):
        images, kept, mean, inverse, scale, offset = ctx.saved_tensors
        n = images.numel() // images.shape[1]
        gradient, values = gradient.to(mean.dtype), kept.to(mean.dtype)
        if ctx.relu:
            gradient = torch.where(values * _over(scale) + _over(offset) > 0, gradient, 0.0)
        to_bias = gradient.sum((0, 2, 3))
        to_weight = (gradient * (values - _over(mean))).sum((0, 2, 3)) * inverse
        # the gradient through mean and variance is linear in the value of a pixel
        slope = scale * inverse * to_weight / n
        level = scale * to_bias / n - slope * mean
        gradient = gradient * _over(scale)
        if not ctx.pool:
            to_images = gradient - images.to(mean.dtype) * _over(slope) - _over(level)
            return to_images.to(images.dtype), to_weight, to_bias, None, None, None, None
        corners = _corners(images)
        a, b, c, _ = (corner == kept for corner in corners)
        firsts = a, b & ~a, c & ~(a | b), ~(a | b | c)  # of equal ones the first, as in the library
        top_left, top_right, left, right = (
            (
                torch.where(first, gradient, 0.0)
                - corner.to(mean.dtype) * _over(slope)
                - _over(level)
            )
            .to(images.dtype)
            .permute(0, 2, 3, 1)
            for first, corner in zip(firsts, corners, strict=True)
        )
        rows = torch.stack([top_left, top_right], 3), torch.stack([left, right], 3)
        to_images = torch.stack(rows, 2).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
        return to_images, to_weight, to_bias, None, None, None, None


def _over(channels: Tensor) -> Tensor:
    """(C,) -> (C, 1, 1)"""
    return channels[:, None, None]


def _corners(images: Tensor) -> list[Tensor]:
    """The four pixels of each 2 x 2, row by row; (B, C, H / 2, W / 2) each."""
    return [images[:, :, down::2, across::2] for down in (0, 1) for across in (0, 1)]


class Mean(nn.Module):
    """Features (B, C), the mean over the pixels of (B, C, H, W).

    Unlike that of `nn.AdaptiveAvgPool2d`, its gradient has the memory format of the images, so that
    the layers before need not convert it.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1, 2).mean(1)
