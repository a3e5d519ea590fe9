"""torchvision's classifiers: every one builds, the common ones train, and weights come from where they are said to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

import mlframework
from mlframework.errors import TrainingError
from mlframework.experiment import ExperimentConfig, build_learner, export, load_data, start_run, train
from mlframework.models import MODELS
from mlframework.models.image_classifiers import TRAINED_ON_HALF, ImageClassifier
from mlframework.models.torchvision_names import TorchvisionClassifier
from mlframework.runs import RunDir

MakeConfig = Callable[..., ExperimentConfig]

# Name, and a size of image that suits it: few of the 80, one of each kind of head.
BUILT = [
    ("alexnet", 64), ("vgg11_bn", 32), ("densenet121", 32), ("mobilenet_v3_small", 32), ("shufflenet_v2_x0_5", 32),
    ("squeezenet1_0", 32), ("googlenet", 32), ("inception_v3", 75), ("convnext_tiny", 32), ("vit_b_32", 224),
    ("swin_t", 32), ("regnet_x_400mf", 32), ("mnasnet0_5", 32), ("maxvit_t", 224), ("resnext50_32x4d", 32),
    ("efficientnet_b0", 32),
]  # fmt: skip


def built(architecture: str, n_classes: int = 3, **settings: Any) -> nn.Module:
    config = ImageClassifier(architecture=architecture, **settings)
    return config.build(n_classes).eval()


def head(module: nn.Module) -> nn.Module:
    return [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]


def dropouts(module: nn.Module) -> list[float]:
    return [m.p for m in module.modules() if isinstance(m, nn.Dropout)]


@pytest.fixture(scope="module")
def few_digits_tree(few_digits: Path) -> dict[str, Any]:
    return {
        "seed": 1, "device": "cpu", "data": {"type": "image_folder", "path": str(few_digits), "image_size": 32},
        "model": {"architecture": "resnet18"}, "optimizer": {"type": "sgd", "lr": 0.01},
        "training": {"num_epochs": 1, "batch_size": 24, "num_threads": 1}, "tracking": {"tensorboard": False},
    }  # fmt: skip


def test_the_names_are_torchvisions_own() -> None:
    """All that classify; quantised ones have no training."""
    assert set(get_args(TorchvisionClassifier)) == set(models.list_models(module=models))


@pytest.mark.parametrize("architecture", MODELS)
def test_every_name_decodes_to_its_config(architecture: str) -> None:
    config = MODELS[architecture].model_validate({"architecture": architecture})
    assert config.architecture == architecture  # type: ignore[attr-defined]
    assert callable(config.learner) and callable(config.predictor)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("architecture", "size"), BUILT, ids=lambda value: str(value))
def test_it_gives_one_number_a_class_and_its_head_has_the_dropout(architecture: str, size: int) -> None:
    module = built(architecture, dropout=0.125)
    out = module(torch.zeros(2, 3, size, size))
    assert isinstance(out, torch.Tensor) and out.shape == (2, 3)
    # In training too: no auxiliary outputs beside the tensor.
    if architecture in ("googlenet", "inception_v3"):
        assert isinstance(module.train()(torch.rand(2, 3, size, size)), torch.Tensor)
    assert 0.125 in dropouts(module)
    if architecture not in ("vit_b_32", "swin_t", "maxvit_t"):  # these have others, inside their blocks
        assert set(dropouts(module)) == {0.125}


def test_dropout_null_is_as_the_architecture_has_it() -> None:
    assert dropouts(built("resnet18")) == []
    assert dropouts(built("mobilenet_v3_small")) == [0.2]
    assert dropouts(built("mobilenet_v3_small", dropout=0.0)) == [0.0]


def test_the_small_stem_keeps_small_images_large() -> None:
    small, plain = built("resnet18", stem="small"), built("resnet18")
    seen: dict[str, torch.Size] = {}
    for name, module in (("small", small), ("plain", plain)):
        module.layer1.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out.shape))
        module(torch.zeros(2, 3, 32, 32))
    assert seen == {"small": (2, 64, 32, 32), "plain": (2, 64, 8, 8)}
    assert isinstance(small.maxpool, nn.Identity)
    assert (small.conv1.kernel_size, small.conv1.stride, small.conv1.padding) == ((3, 3), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "alexnet", "stem": "small"}, "stem: small is for ResNets, not for alexnet"),
        ({"architecture": "resnet18", "stem": "small", "pretrained": True}, "stem: small has no pretrained weights"),
    ],
)
def test_a_stem_that_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageClassifier(**settings)


def test_the_small_stem_is_for_small_images(make_config: MakeConfig) -> None:
    with pytest.raises(Exception, match=r"small is for images of 64 pixels or less, data.image_size is 96"):
        make_config(
            "image classifier", **{"model": {"architecture": "resnet18", "stem": "small"}, "data.image_size": 96}
        )


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("resnet18", {"model.dropout": 0.3}),
        ("resnet18", {"model.stem": "small", "data.fraction": 0.2}),
        ("resnet34", {}),
        ("resnet50", {}),
        ("efficientnet_b0", {"model.dropout": 0.3}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
)
def test_it_trains_an_epoch_and_serves(
    architecture: str, changes: dict[str, Any], few_digits_tree: dict[str, Any], make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(few_digits_tree, **{"model.architecture": architecture, **changes})
    splits, run = load_data(config), RunDir(tmp_path / "run")
    start_run(run, config.model_dump())
    before = {name: tensor.clone() for name, tensor in build_learner(config, splits).state_dict()["module"].items()}
    result = train(config, splits.without_test(), run)
    assert result.best_epoch == 1 and set(result.best_metrics) >= {"train_loss", "val_loss", "val_acc"}
    export(config, splits, run, "best")
    learner = build_learner(config, splits)
    learner.load_state_dict(learner.codec.load(run.checkpoints / "best.pt")["learner"])
    after = learner.state_dict()["module"]
    trained = [name for name in before if before[name].is_floating_point() and "running" not in name]
    assert all(not torch.equal(before[name], after[name]) for name in trained)
    predictions = mlframework.load(run.path).predict(list(splits.test.paths))
    outputs = learner.outputs("test")
    found = np.array([list(p.probabilities.values()) for p in predictions])
    assert np.allclose(found, outputs.values, atol=1e-5)


@pytest.mark.parametrize(
    ("architecture", "size"), [("alexnet", 32), ("inception_v3", 32), ("vit_b_32", 32), ("maxvit_t", 32)]
)
def test_images_that_do_not_suit_a_model_are_said_in_one_line(
    architecture: str, size: int, few_digits_tree: dict[str, Any], make_config: MakeConfig
) -> None:
    config = make_config(few_digits_tree, **{"model.architecture": architecture, "data.image_size": size})
    with pytest.raises(TrainingError, match=r"cannot take this data: .*; another data.image_size") as raised:
        build_learner(config, load_data(config))
    assert "\n" not in str(raised.value)


def test_a_last_batch_that_batch_norm_cannot_take_is_said_before_any_training(
    few_digits_tree: dict[str, Any], make_config: MakeConfig
) -> None:
    config = make_config(few_digits_tree, **{"training.batch_size": 1})
    with pytest.raises(TrainingError, match=r"Expected more than 1 value per channel.*training.batch_size may help"):
        build_learner(config, load_data(config))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Files of shufflenet weights by their number of classes."""
    folder = tmp_path_factory.mktemp("weights")
    found = {}
    for n_classes in (3, 1000):
        torch.manual_seed(n_classes)
        module = models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=n_classes)
        found[n_classes] = folder / f"{n_classes}.pth"
        torch.save(module.state_dict(), found[n_classes])
    return found


class TestLocalWeights:
    """`pretrained: path/to/weights.pth`."""

    @pytest.mark.parametrize("n_classes", [3, 1000])
    def test_all_but_a_head_of_other_classes_is_taken(self, weights: dict[int, Path], n_classes: int) -> None:
        stored = torch.load(weights[n_classes], weights_only=True)
        module = built("shufflenet_v2_x0_5", 3, pretrained=str(weights[n_classes]))
        taken = module.state_dict()
        assert taken["fc.weight"].shape == (3, 1024)
        body = [name for name in stored if not name.startswith("fc.")]
        assert body and all(torch.equal(taken[name], stored[name]) for name in body)
        assert (taken["fc.weight"].shape == stored["fc.weight"].shape) == (n_classes == 3)
        if n_classes == 3:
            assert torch.equal(taken["fc.weight"], stored["fc.weight"])

    def test_a_run_that_starts_from_a_file_serves_without_it(
        self, weights: dict[int, Path], few_digits_tree: dict[str, Any], make_config: MakeConfig, tmp_path: Path
    ) -> None:
        copied = tmp_path / "weights.pth"
        copied.write_bytes(weights[1000].read_bytes())
        config = make_config(
            few_digits_tree, model={"architecture": "shufflenet_v2_x0_5", "pretrained": str(copied), "dropout": 0.1}
        )
        splits, run = load_data(config), RunDir(tmp_path / "run")
        start_run(run, config.model_dump())
        train(config, splits.without_test(), run)
        export(config, splits, run, "last")
        copied.unlink()
        predictions = mlframework.load(run.path).predict(list(splits.test.paths[:3]))
        assert {len(p.probabilities) for p in predictions} == {10}

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(TrainingError, match=r"none\.pth: there is no such file of weights"):
            built("resnet18", pretrained=str(tmp_path / "none.pth"))

    @pytest.mark.parametrize("content", [b"", b"runs/", b"\x80\x02garbage", b"PK\x03\x04" + b"\0" * 50])
    def test_a_file_of_something_else(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        with pytest.raises(TrainingError, match=r"weights\.pth: is not a file of weights"):
            built("resnet18", pretrained=str(path))

    @pytest.mark.parametrize(
        ("content", "message"),
        [([1, 2], "should hold a state_dict"), ({"epoch": 3}, "should hold a state_dict"), ({}, "no weights in it")],
    )
    def test_a_torch_file_of_something_else(self, tmp_path: Path, content: Any, message: str) -> None:
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(TrainingError, match=message):
            built("resnet18", pretrained=str(tmp_path / "weights.pth"))

    def test_weights_of_another_architecture(self, weights: dict[int, Path]) -> None:
        with pytest.raises(TrainingError, match=r"1000\.pth: weights of another architecture") as raised:
            built("resnet18", pretrained=str(weights[1000]))
        assert "\n" not in str(raised.value)

    def test_auxiliary_heads_in_the_file_are_left_out(self, tmp_path: Path) -> None:
        whole = models.get_model("googlenet", weights=None, num_classes=5, aux_logits=True, init_weights=False)
        torch.save(whole.state_dict(), tmp_path / "weights.pth")
        module = built("googlenet", 3, pretrained=str(tmp_path / "weights.pth"))
        assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
        assert torch.equal(module.state_dict()["conv1.conv.weight"], whole.state_dict()["conv1.conv.weight"])


class TestDownloadedWeights:
    """`pretrained: true`."""

    def test_what_cannot_be_downloaded_is_said_with_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
        # A proxy that nobody answers at: the same with and without a network.
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        with pytest.raises(TrainingError, match="weights of resnet18 cannot be downloaded") as raised:
            built("resnet18", pretrained=True)
        assert str(tmp_path / "checkpoints") in str(raised.value) and "pretrained: false" in str(raised.value)

    @pytest.mark.parametrize("architecture", ["resnet18", "googlenet", "inception_v3", "maxvit_t"])
    def test_they_get_a_new_head_and_what_is_saved_fits_the_served_model(
        self, architecture: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file that would be downloaded is made here, as torchvision publishes it: auxiliary heads and all."""
        options = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
        published = models.get_model(architecture, weights=None, **options).state_dict()
        monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda *_args, **_options: published)
        module = built(architecture, 3, pretrained=True)
        served = built(architecture, 3)
        served.load_state_dict(module.state_dict())
        # Served without `pretrained`, it must say the same: no layer that only pretrained models have.
        size = 224 if architecture == "maxvit_t" else 96
        images = torch.rand(2, 3, size, size)
        with torch.inference_mode():
            assert torch.equal(module(images), served(images))
            assert isinstance(module.train()(images), torch.Tensor)
        body = next(name for name in published if name.endswith("weight"))
        assert torch.equal(module.state_dict()[body], published[body])

    def test_images_are_normalised_as_the_weights_were_trained(
        self, few_digits_tree: dict[str, Any], make_config: MakeConfig, tmp_path: Path
    ) -> None:
        """torchvision's own transforms say how; googlenet and inception re-scale to -1..1 inside the model."""
        for architecture in get_args(TorchvisionClassifier):
            transforms = models.get_model_weights(architecture).DEFAULT.transforms()
            rescaled = architecture in ("googlenet", "inception_v3")
            half = tuple(transforms.mean) == (0.5, 0.5, 0.5) or rescaled
            assert half == (architecture in TRAINED_ON_HALF), architecture
            if not half:
                assert tuple(transforms.mean) == (0.485, 0.456, 0.406), architecture
                assert tuple(transforms.std) == (0.229, 0.224, 0.225), architecture

    @pytest.mark.network
    def test_they_are_downloaded(self) -> None:
        assert built("shufflenet_v2_x0_5", 3, pretrained=True)(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_images_from_scratch_are_normalised_by_their_own_mean_and_deviation(
    few_digits_tree: dict[str, Any], make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(few_digits_tree, **{"model.architecture": "shufflenet_v2_x0_5"})
    splits = load_data(config)
    learner = build_learner(config, splits)
    learner.export(tmp_path)
    meta = mlframework.runs.read_json(tmp_path / "model_meta.json")  # type: ignore[attr-defined]
    pixels = splits.train.pixels.astype(np.float64) / 255
    assert meta["mean"] == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-6)
    assert meta["std"] == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-6)
    assert meta["class_names"] == [str(digit) for digit in range(10)] and meta["format"] == 1


def test_predicting_takes_a_file_a_folder_or_a_list(
    few_digits: Path, few_digits_tree: dict[str, Any], make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(few_digits_tree, **{"model.architecture": "shufflenet_v2_x0_5"})
    run = RunDir(tmp_path / "run")
    start_run(run, config.model_dump())
    build_learner(config, load_data(config)).export(run.artifacts)
    predictor = mlframework.load(run.path)
    folder = few_digits / "3"
    paths = sorted(folder.iterdir())
    every = predictor.predict(folder)
    assert len(every) == 12 and predictor.predict(paths[0]) == predictor.predict([paths[0]])
    assert predictor.predict(str(paths[0]))[0].value == every[0].value
    assert predictor.predict([]) == []
    (tmp_path / "nothing").mkdir()
    with pytest.raises(mlframework.errors.DataError, match="there is no image in it"):  # type: ignore[attr-defined]
        predictor.predict(tmp_path / "nothing")
    with pytest.raises(mlframework.errors.DataError, match=r"gone\.png"):  # type: ignore[attr-defined]
        predictor.predict(tmp_path / "gone.png")
