"""Augmentations: same shape and type, drawn for each image, from torch's global generator."""

import pytest
import torch
from torchvision.transforms import v2

from mlframework.data import augment
from mlframework.data.augment import AUGMENTATIONS, augmentation

NAMES = [name for name, function in AUGMENTATIONS.items() if function is not None]


def pictures(n: int = 8, height: int = 24, width: int = 24) -> torch.Tensor:
    """The same picture n times."""
    one = torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return one.repeat(n, 1, 1, 1)


def augmented(name: str, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    function = augmentation(name, images.shape[-1])
    assert function is not None
    torch.manual_seed(seed)
    return function(images)


def test_none_is_none_and_an_unknown_name_is_refused() -> None:
    assert augmentation("none", 32) is None
    with pytest.raises(KeyError, match="unknown augmentation 'ligt'; did you mean 'light'"):
        augmentation("ligt", 32)


@pytest.mark.parametrize("name", NAMES)
def test_shape_and_type_stay_and_the_input_is_left_alone(name: str) -> None:
    images = pictures(5, 24, 24)
    before = images.clone()
    result = augmented(name, images)
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    assert torch.equal(images, before)
    assert not torch.equal(result, images)


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_its_own_draw_and_the_global_seed_decides_it(name: str) -> None:
    result = augmented(name, pictures())
    assert len({tuple(image.flatten().tolist()) for image in result}) == len(result)
    assert torch.equal(augmented(name, pictures()), result)
    assert not torch.equal(augmented(name, pictures(), seed=1), result)


@pytest.mark.parametrize("name", NAMES)
def test_a_white_picture_grows_no_black_corners(name: str) -> None:
    white = torch.full((16, 3, 24, 24), 200, dtype=torch.uint8)
    result = augmented(name, white).float()
    spread = result.amax(dim=(2, 3)) - result.amin(dim=(2, 3))
    assert spread.max() <= 1


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centre of brightness of each image, (b, 2) as x and y, 0 to 1."""
    weight = images.float().sum(dim=1)
    side = (torch.arange(images.shape[-1]) + 0.5) / images.shape[-1]
    total = weight.sum(dim=(1, 2))
    return torch.stack([(weight.sum(1) * side).sum(1) / total, (weight.sum(2) * side).sum(1) / total], dim=1)


def test_light_shifts_by_at_most_a_tenth_and_reaches_it() -> None:
    dot = torch.zeros((400, 3, 40, 40), dtype=torch.uint8)
    dot[:, :, 18:22, 18:22] = 255
    shift = (centres(augmented("light", dot)) - 0.5).abs()
    assert 0.09 < shift.max() < 0.105


def test_light_turns_by_at_most_ten_degrees_and_never_flips() -> None:
    bar = torch.zeros((400, 3, 60, 60), dtype=torch.uint8)
    bar[:, :, 29:31, 15:45] = 128
    bar[:, :, 29:31, 41:45] = 255
    result = augmented("light", bar).float().mean(dim=1)
    ends = []
    for image in result:
        y, x = torch.nonzero(image > 60, as_tuple=True)
        left, right = x.argmin(), x.argmax()
        assert image[:, x[right] - 3 : x[right]].max() > image[:, x[left] : x[left] + 3].max()
        ends.append(torch.atan2((y[right] - y[left]).float(), (x[right] - x[left]).float()))
    degrees = torch.rad2deg(torch.stack(ends)).abs()
    assert 7 < degrees.max() < 13


def test_standard_flips_about_half_and_keeps_the_crop_inside() -> None:
    halves = torch.zeros((400, 3, 32, 32), dtype=torch.uint8)
    halves[..., 16:] = 250
    result = augmented("standard", halves).float().mean(dim=1)
    flipped = result[:, :, :4].mean(dim=(1, 2)) > result[:, :, -4:].mean(dim=(1, 2))
    assert 160 < flipped.sum() < 240
    assert (result.amax(dim=(1, 2)) - result.amin(dim=(1, 2))).min() > 50


def test_standard_changes_brightness_by_at_most_a_fifth() -> None:
    grey = torch.full((400, 3, 16, 16), 100, dtype=torch.uint8)
    means = augmented("standard", grey).float().mean(dim=(1, 2, 3))
    assert 77 <= means.min() < 85
    assert 115 < means.max() <= 121  # contrast and saturation leave a grey picture as it is


@pytest.mark.parametrize("size", [8, 9, 32, 65])
def test_light_is_to_the_bit_what_torchvision_makes_of_one_image_after_the_other(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pictures, and the same random numbers afterwards: a training with it stays what it was."""
    margin = size // 4
    shift = 0.1 * size / (size + 2 * margin)
    affine = v2.RandomAffine(10, translate=(shift, shift), interpolation=v2.InterpolationMode.BILINEAR)
    one = v2.Compose([v2.Pad(margin, padding_mode="edge"), affine, v2.CenterCrop(size)])
    images = torch.randint(0, 256, (70, 3, size, size), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    torch.manual_seed(0)
    expected, state = torch.stack([one(image) for image in images]), torch.get_rng_state()
    for at_once in (2**23, 30 * 4 * (size + 2 * margin) ** 2, 1):
        monkeypatch.setattr(augment, "_AT_ONCE", at_once)
        assert torch.equal(augmented("light", images), expected)
        assert torch.equal(torch.get_rng_state(), state)
