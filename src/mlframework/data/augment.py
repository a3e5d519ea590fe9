"""Augmentations of image batches: `AUGMENTATIONS` by name.

An augmentation is one affine warp a batch, with parameters drawn for each image, and perhaps a change of colour: a
handful of tensor operations, whatever the batch size, on the device where the batch is. The draws come from torch's
global CPU generator, which a checkpoint restores: a resumed run sees the same pictures.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlframework.registry import lookup

if TYPE_CHECKING:
    from torch import Tensor

LIGHT_SHIFT = 0.1
LIGHT_DEGREES = 10.0
CROP_AREA = (0.6, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
COLOUR_CHANGE = 0.2


def augmentation(name: str) -> "Callable[[Tensor], Tensor] | None":
    """Return the augmentation of this name, or None for "none".

    It takes uint8 images (b, 3, h, w) and returns new ones of the same shape, type and device.

    Raises:
        KeyError: there is no augmentation of this name; the message names the known ones.
    """
    return lookup(AUGMENTATIONS, name, "augmentation")


def light(images: "Tensor") -> "Tensor":
    """Shift by up to 10 % of the side and rotate by up to 10 degrees; never flipped: safe for digits and text."""
    import torch

    shift_x, shift_y, angle = _uniform(len(images), 3, -1.0, 1.0)
    angle = angle * math.radians(LIGHT_DEGREES)
    height, width = images.shape[-2:]
    cos, sin = torch.cos(angle), torch.sin(angle)
    # The warp works in coordinates from -1 to 1: a shift of a tenth of the side is 0.2, and a turn of a picture that is
    # not square has to be stretched with it.
    rows = (
        (cos, -sin * height / width, shift_x * 2 * LIGHT_SHIFT),
        (sin * width / height, cos, shift_y * 2 * LIGHT_SHIFT),
    )
    return _as_bytes(_warp(images, rows))


def standard(images: "Tensor") -> "Tensor":
    """Crop 60 to 100 % of the area and scale it up, flip half of the images, change the colours by up to 20 %."""
    import torch

    draw_area, draw_ratio, draw_x, draw_y, draw_flip = _uniform(len(images), 5, 0.0, 1.0)
    area = CROP_AREA[0] + draw_area * (CROP_AREA[1] - CROP_AREA[0])
    low, high = math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1])
    ratio = torch.exp(low + draw_ratio * (high - low))
    crop_width = torch.sqrt(area * ratio).clamp(max=1.0)
    crop_height = torch.sqrt(area / ratio).clamp(max=1.0)
    mirror = torch.where(draw_flip < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(area)
    rows = (
        (crop_width * mirror, zero, (2 * draw_x - 1) * (1 - crop_width)),
        (zero, crop_height, (2 * draw_y - 1) * (1 - crop_height)),
    )
    return _as_bytes(_change_colours(_warp(images, rows)))


AUGMENTATIONS: "dict[str, Callable[[Tensor], Tensor] | None]" = {"none": None, "light": light, "standard": standard}


def _uniform(n: int, k: int, low: float, high: float) -> "tuple[Tensor, ...]":
    """Draw k columns of n numbers; always on the CPU, so that the device does not change what is drawn."""
    import torch

    return (low + (high - low) * torch.rand(n, k)).unbind(1)


def _warp(images: "Tensor", rows: "tuple[tuple[Tensor, ...], tuple[Tensor, ...]]") -> "Tensor":
    """Warp each image by its own 2x3 matrix (output to input, -1 to 1); returns float32 from 0 to 255."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    matrices = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1).to(images.device)
    grid = affine_grid(matrices, list(images.shape), align_corners=False)
    # What comes in from outside repeats the border: black corners would be a feature that real pictures do not have.
    return grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def _change_colours(images: "Tensor") -> "Tensor":
    """Change brightness, contrast and saturation of each image by its own factors."""
    import torch

    factors = _uniform(len(images), 3, 1 - COLOUR_CHANGE, 1 + COLOUR_CHANGE)
    brightness, contrast, saturation = (factor.to(images.device).view(-1, 1, 1, 1) for factor in factors)
    images = images * brightness
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device).view(1, 3, 1, 1)
    grey = (images * weights).sum(dim=1, keepdim=True)
    images = torch.lerp(grey, images, saturation)
    return torch.lerp(grey.mean(dim=(2, 3), keepdim=True), images, contrast)


def _as_bytes(images: "Tensor") -> "Tensor":
    import torch

    return images.round().clamp(0, 255).to(torch.uint8)
