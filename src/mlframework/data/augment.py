"""Augmentations of training images: `AUGMENTATIONS` by name.

Every image draws its own parameters, from torch's global generator, which a checkpoint restores: a resumed run sees
the same pictures.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlframework.registry import lookup

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[["Tensor"], "Tensor"]
"""Takes images uint8 (b, 3, h, w), and returns them changed, each in its own way, in the same shape and type."""

SHIFT, DEGREES = 0.1, 10.0
CROP_AREA = (0.6, 1.0)
COLOUR_CHANGE = 0.2
_AT_ONCE = 2**23  # floats: a batch of photos would take gigabytes


def augmentation(name: str, image_size: int) -> Change | None:
    """Return the augmentation of this name, or None for "none".

    It takes uint8 images (b, 3, image_size, image_size) and returns new ones of the same shape, type and device.

    Raises:
        KeyError: there is no augmentation of this name; the message names the known ones.
    """
    build = lookup(AUGMENTATIONS, name, "augmentation")
    return None if build is None else build(image_size)


def light(image_size: int) -> Change:
    """Shift by up to 10 % of the side and rotate by up to 10 degrees; never flipped: safe for digits and text.

    The whole batch at once, and to the bit what torchvision's RandomAffine makes of one image after the other.
    """
    import torch
    from torch.nn import functional

    # The border is repeated outwards first: black corners would be a feature that real pictures do not have.
    margin = image_size // 4
    side = image_size + 2 * margin

    def change(images: "Tensor") -> "Tensor":
        few = max(1, _AT_ONCE // (4 * side**2))
        drawn = _light_draws(len(images), image_size)
        starts = range(0, len(images), few)
        return torch.cat([turned(*(each[start : start + few] for each in (images, *drawn))) for start in starts])

    def turned(images: "Tensor", angles: "Tensor", shifts: "Tensor") -> "Tensor":
        wide = functional.pad(images.float(), [margin] * 4, mode="replicate")
        # A channel of ones: how much of a pixel came from within, which is 1 but for the last digit.
        wide = torch.cat([wide, wide.new_ones(len(wide), 1, side, side)], dim=1)
        inner = slice(margin, margin + image_size)
        grid = _affine_grids(angles, shifts, side)[:, inner, inner].to(images.device)
        found = functional.grid_sample(wide, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        return (found[:, :3] * found[:, 3:]).round_().to(images.dtype)

    return change


def _light_draws(n: int, image_size: int) -> tuple["Tensor", "Tensor"]:
    """Draw for each image an angle in degrees (n,) and a shift in whole pixels (n, 2), all float64."""
    import torch

    largest = torch.tensor([DEGREES, SHIFT * image_size, SHIFT * image_size]).double()
    # As torch draws a number from -largest to largest: with one rounding to float32 in the end.
    draws = (torch.empty(n, 3).uniform_().double() * (2 * largest) - largest).float().double()
    return draws[:, 0], draws[:, 1:].round()


def _affine_grids(angles: "Tensor", shifts: "Tensor", side: int) -> "Tensor":
    """Return where in its image each pixel of a turned and shifted square comes from, -1 to 1, as (n, side, side, 2)."""
    import torch

    turn = angles * (math.pi / 180)
    cos, sin = torch.cos(turn), torch.sin(turn)
    x, y = shifts.unbind(1)
    rows = [cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y]
    inverse = torch.stack(rows, dim=1).float().view(-1, 2, 3).transpose(1, 2) / (0.5 * side)
    line = torch.linspace((1.0 - side) * 0.5, (side - 1.0) * 0.5, steps=side)
    places = torch.stack([line.repeat(side), line.repeat_interleave(side), torch.ones(side * side)], dim=1)
    return places.expand(len(angles), -1, -1).bmm(inverse).view(-1, side, side, 2)


def standard(image_size: int) -> Change:
    """Crop 60 to 100 % of the area and scale it up, flip half of the images, change the colours by up to 20 %."""
    from torchvision.transforms import v2

    return _one_by_one(
        v2.Compose(
            [
                v2.RandomResizedCrop(image_size, scale=CROP_AREA, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(COLOUR_CHANGE, COLOUR_CHANGE, COLOUR_CHANGE),
            ]
        )
    )


AUGMENTATIONS: dict[str, Callable[[int], Change] | None] = {"none": None, "light": light, "standard": standard}


def _one_by_one(change: Change) -> Change:
    def apply(images: "Tensor") -> "Tensor":
        import torch

        # A v2 transform changes all images of a batch alike, and crops of different sizes are no batch: each by itself.
        return torch.stack([change(image) for image in images])

    return apply
