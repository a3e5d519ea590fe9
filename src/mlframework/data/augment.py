"""Augmentations of training images: `AUGMENTATIONS` by name, made of torchvision's v2 transforms.

Every image draws its own parameters, from torch's global generator, which a checkpoint restores: a resumed run sees
the same pictures.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlframework.registry import lookup

if TYPE_CHECKING:
    from torch import Tensor

Change = Callable[["Tensor"], "Tensor"]
"""Takes one image or more of the same size, uint8 (..., 3, h, w), and returns it changed, in the same shape and type."""

SHIFT, DEGREES = 0.1, 10.0
CROP_AREA = (0.6, 1.0)
COLOUR_CHANGE = 0.2


def augmentation(name: str, image_size: int) -> Change | None:
    """Return the augmentation of this name, or None for "none".

    It takes uint8 images (b, 3, image_size, image_size) and returns new ones of the same shape, type and device.

    Raises:
        KeyError: there is no augmentation of this name; the message names the known ones.
    """
    build = lookup(AUGMENTATIONS, name, "augmentation")
    return None if build is None else _one_by_one(build(image_size))


def light(image_size: int) -> Change:
    """Shift by up to 10 % of the side and rotate by up to 10 degrees; never flipped: safe for digits and text."""
    from torchvision.transforms import v2

    # The border is repeated outwards first: black corners would be a feature that real pictures do not have.
    margin = image_size // 4
    shift = SHIFT * image_size / (image_size + 2 * margin)
    turn = v2.RandomAffine(DEGREES, translate=(shift, shift), interpolation=v2.InterpolationMode.BILINEAR)
    return v2.Compose([v2.Pad(margin, padding_mode="edge"), turn, v2.CenterCrop(image_size)])  # type: ignore[no-any-return]


def standard(image_size: int) -> Change:
    """Crop 60 to 100 % of the area and scale it up, flip half of the images, change the colours by up to 20 %."""
    from torchvision.transforms import v2

    return v2.Compose(  # type: ignore[no-any-return]
        [
            v2.RandomResizedCrop(image_size, scale=CROP_AREA, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(COLOUR_CHANGE, COLOUR_CHANGE, COLOUR_CHANGE),
        ]
    )


AUGMENTATIONS: dict[str, Callable[[int], Change] | None] = {"none": None, "light": light, "standard": standard}


def _one_by_one(change: Change) -> Change:
    def apply(images: "Tensor") -> "Tensor":
        import torch

        # A v2 transform changes all images of a batch alike, so each is changed by itself.
        return torch.stack([change(image) for image in images])

    return apply
