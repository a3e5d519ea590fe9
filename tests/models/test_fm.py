"""Factorization machines: their formulas term by term, what an unknown category does, and what only pairs can teach."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

import mlframework
from mlframework.data.splits import Splits
from mlframework.data.table_encoder import TableEncoder
from mlframework.data.table_schema import TableExamples
from mlframework.experiment import ExperimentConfig, build_learner, export, load_data, start_run, train
from mlframework.models.factorization import FactorizationMachine, FieldAwareFactorizationMachine
from mlframework.models.fm import Ffm, Fm, as_table
from mlframework.runs import RunDir

MakeConfig = Callable[..., ExperimentConfig]
Tree = dict[str, Any]
Machine = FactorizationMachine | FieldAwareFactorizationMachine
Array = NDArray[np.float64]

MACHINES: list[type[Machine]] = [FactorizationMachine, FieldAwareFactorizationMachine]
MODELS: dict[str, type[Fm] | type[Ffm]] = {"fm": Fm, "ffm": Ffm}
# Two numeric columns, one of them with missing values, and two categorical ones with three and two categories.
ENCODER = TableEncoder(
    median=(0.0, 0.0), mean=(0.0, 0.0), std=(1.0, 1.0), flagged=(1,), codes=((1, 2, 3), (1, 2))
)  # fmt: skip


def machine_of(
    cls: type[Machine], p: int, cardinalities: Sequence[int], n_outputs: int, k: int = 3, dropout: float = 0.0
) -> Machine:
    """Return a machine in float64 whose weights are all drawn, bias and linear ones too, but for those of unknown."""
    torch.manual_seed(0)
    machine = cls(p, cardinalities, n_outputs, k, dropout, 0.5).double()
    with torch.no_grad():
        machine.weights.bias.normal_()
        machine.weights.numeric.normal_()
        machine.weights.table.weight[1:] = torch.randn_like(machine.weights.table.weight[1:])
    return machine


def inputs_of(p: int, cardinalities: Sequence[int], n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, c, n) for c in cardinalities], axis=1) if cardinalities else np.zeros((n, 0))
    return torch.from_numpy(rng.normal(size=(n, p))), torch.from_numpy(codes.astype(np.int64))


def values_of(
    machine: Machine, row: Array, codes: Sequence[int], cardinalities: Sequence[int]
) -> list[tuple[int, Any]]:
    """Return (field, value times weights) of each value that a row has: a category that is known, or a number."""
    numeric, table = machine.weights.numeric.detach().numpy(), machine.weights.table.weight.detach().numpy()
    found: list[tuple[int, Any]] = [(i, x * numeric[i]) for i, x in enumerate(row)]
    starts = np.cumsum([0, *(cardinality - 1 for cardinality in cardinalities)])
    return found + [(len(row) + j, table[starts[j] + code]) for j, code in enumerate(codes) if code > 0]


def term_by_term(
    machine: Machine, numeric: Tensor, codes: Tensor, cardinalities: Sequence[int], s: int, k: int
) -> Array:
    """Return the scores (n, s) by the papers' double sums."""
    n_fields = numeric.shape[1] + len(cardinalities)
    scores = []
    for row, code in zip(numeric.numpy(), codes.tolist(), strict=True):
        score = machine.weights.bias.detach().numpy().copy()
        values = values_of(machine, row, code, cardinalities)
        for place, (i, left) in enumerate(values):
            score += left[:s]
            for j, right in values[place + 1 :]:
                if isinstance(machine, FactorizationMachine):
                    of_left, of_right = left[s:].reshape(s, k), right[s:].reshape(s, k)
                else:
                    # A field has no factors for itself: those after it move up by one place.
                    of_left = left[s:].reshape(n_fields - 1, s, k)[j - 1]
                    of_right = right[s:].reshape(n_fields - 1, s, k)[i]
                score += (of_left * of_right).sum(axis=1)
        scores.append(score)
    return np.array(scores)


@pytest.mark.parametrize("cls", MACHINES)
@given(
    p=st.integers(0, 3), cardinalities=st.lists(st.integers(1, 4), max_size=3), n_outputs=st.integers(1, 4),
    k=st.integers(1, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_the_papers_formula(
    cls: type[Machine], p: int, cardinalities: list[int], n_outputs: int, k: int, seed: int
) -> None:
    if p + len(cardinalities) == 0:
        p = 1
    machine = machine_of(cls, p, cardinalities, n_outputs, k)
    numeric, codes = inputs_of(p, cardinalities, 4, seed)
    n_scores = {1: 1, 2: 1}.get(n_outputs, n_outputs)
    expected = term_by_term(machine, numeric, codes, cardinalities, n_scores, k)
    if n_outputs == 2:  # softmax of [0, z] is the sigmoid of z
        expected = np.hstack([np.zeros_like(expected), expected])
    assert machine(numeric, codes).detach().numpy() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("cls", MACHINES)
def test_every_weight_gets_a_gradient_but_those_of_unknown(cls: type[Machine]) -> None:
    machine = machine_of(cls, 2, (3, 4), 3)
    numeric, codes = inputs_of(2, (3, 4), 200)
    machine(numeric, codes).square().sum().backward()
    assert (machine.weights.bias.grad != 0).all() and (machine.weights.numeric.grad != 0).all()
    of_table = machine.weights.table.weight.grad
    assert isinstance(of_table, Tensor)
    assert (of_table[1:] != 0).all() and (of_table[0] == 0).all()
    assert [name for name, _ in machine.named_parameters()] == [
        f"weights.{n}" for n in ("bias", "numeric", "table.weight")
    ]


@pytest.mark.parametrize("cls", MACHINES)
def test_the_first_weights(cls: type[Machine]) -> None:
    weights = cls(40, (60, 70), 3, 8, 0.0, 0.2).weights
    assert (
        (weights.bias == 0).all() and (weights.numeric[:, :3] == 0).all() and (weights.table.weight[:, :3] == 0).all()
    )
    assert (weights.table.weight[0] == 0).all() and len(weights.table.weight) == 1 + 59 + 69
    for factors in (weights.numeric[:, 3:], weights.table.weight[1:, 3:]):
        assert factors.std().item() == pytest.approx(0.2, rel=0.1) and (factors != 0).all()


def test_there_are_no_weights_that_no_row_uses() -> None:
    fields, known, k = 4, 5, 3
    n_weights = {
        cls: sum(t.numel() for t in machine_of(cls, 2, (3, 4), 2, k).parameters()) for cls in MACHINES
    }  # fmt: skip
    # The bias, and for each value, and the unknown, a linear weight and its factors.
    assert n_weights[FactorizationMachine] == 1 + (2 + 1 + known) * (1 + k)
    assert n_weights[FieldAwareFactorizationMachine] == 1 + (2 + 1 + known) * (1 + (fields - 1) * k)


class TestUnknown:
    @pytest.mark.parametrize("cls", MACHINES)
    def test_a_row_of_nothing_known_has_the_bias_as_its_score(self, cls: type[Machine]) -> None:
        machine = machine_of(cls, 2, (3, 4), 3)
        score = machine(torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.int64))
        assert torch.equal(score[0], machine.weights.bias)

    @pytest.mark.parametrize("architecture", MODELS)
    def test_training_on_rows_with_unknown_leaves_its_weights_at_0(
        self, architecture: str, make_config: MakeConfig, pairs: Tree
    ) -> None:
        decay = {"optimizer.weight_decay": 0.1, "model.l1": 0.01, "model.l2": 0.01}
        config = make_config(pairs, **decay, **{"model.architecture": architecture})
        splits = load_data(config)
        with_unknown = splits.train.categorical.copy()
        with_unknown[::3, 0] = -1
        train_part = TableExamples(splits.train.schema, splits.train.numeric, with_unknown, splits.train.targets)
        learner = build_learner(config, Splits(train_part, splits.val, None))
        learner.train_epoch()
        table = learner.state_dict()["module"]["weights.table.weight"]
        assert (table[0] == 0).all() and (table[1:] != 0).all()


@pytest.mark.parametrize("cls", MACHINES)
class TestHalves:
    @given(data=st.data())
    def test_the_product_of_the_halves_is_the_score(self, cls: type[Machine], data: st.DataObject) -> None:
        cardinalities, p = (3, 4, 3), 2
        machine = machine_of(cls, p, cardinalities, data.draw(st.sampled_from([1, 2]))).eval()
        of_user = torch.tensor(data.draw(st.lists(st.booleans(), min_size=5, max_size=5)))
        users, items = inputs_of(p, cardinalities, 4, 1), inputs_of(p, cardinalities, 6, 2)
        found = machine.user_vectors(*users, of_user) @ machine.item_vectors(*items, of_user).T
        numeric = torch.where(of_user[:p], users[0][:, None], items[0][None]).flatten(0, 1)
        codes = torch.where(of_user[p:], users[1][:, None], items[1][None]).flatten(0, 1)
        assert torch.allclose(found.flatten(), machine(numeric, codes)[:, -1], atol=1e-9)

    def test_the_other_sides_columns_are_not_read(self, cls: type[Machine]) -> None:
        machine = machine_of(cls, 2, (3, 4), 1)
        of_user = torch.tensor([True, False, True, False])
        numeric, codes = inputs_of(2, (3, 4), 5)
        nan, last = torch.full((5,), torch.nan, dtype=torch.float64), torch.full((5,), 3)
        others = torch.stack([numeric[:, 0], nan], 1), torch.stack([codes[:, 0], last], 1)
        assert torch.equal(machine.user_vectors(*others, of_user), machine.user_vectors(numeric, codes, of_user))
        others = torch.stack([nan, numeric[:, 1]], 1), torch.stack([last - 1, codes[:, 1]], 1)
        assert torch.equal(machine.item_vectors(*others, of_user), machine.item_vectors(numeric, codes, of_user))

    def test_several_scores_are_no_single_product(self, cls: type[Machine]) -> None:
        machine = machine_of(cls, 1, (3,), 3)
        for side in (machine.user_vectors, machine.item_vectors):
            with pytest.raises(ValueError, match="3 classes have a score each"):
                side(*inputs_of(1, (3,), 2), torch.tensor([True, False]))


class TestDropout:
    def test_fm_drops_factors_and_ffm_pairs(self) -> None:
        """Each of two factors, or each of the three pairs of three fields, is there or not."""
        for cls, n_outcomes in ((FactorizationMachine, 2**2), (FieldAwareFactorizationMachine, 2**3)):
            machine = machine_of(cls, 3, (), 1, k=2, dropout=0.5).train()
            row = torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64).repeat(2000, 1)
            none = torch.zeros(2000, 0, dtype=torch.int64)
            scores = machine(row, none).detach()
            assert len(scores.round(decimals=9).unique()) == n_outcomes
            expected = machine.eval()(row[:1], none[:1]).item()
            assert scores.mean().item() == pytest.approx(expected, abs=0.15 * scores.std().item())

    @pytest.mark.parametrize("cls", MACHINES)
    def test_it_is_off_in_evaluation(self, cls: type[Machine]) -> None:
        numeric, codes = inputs_of(2, (3, 4), 20)
        dropping, plain = machine_of(cls, 2, (3, 4), 3, dropout=0.5), machine_of(cls, 2, (3, 4), 3)
        assert not torch.equal(dropping.train()(numeric, codes), plain(numeric, codes))
        assert torch.equal(dropping.eval()(numeric, codes), plain(numeric, codes))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fm_in_16_bits_is_near_and_finite(dtype: torch.dtype) -> None:
    machine = machine_of(FactorizationMachine, 6, (3, 4), 1).float()
    numeric, codes = inputs_of(6, (3, 4), 50)
    numeric = numeric.float()
    numeric[0, 0] = 300.0  # its square is more than fp16 can hold
    exact = machine(numeric, codes)
    with torch.autocast("cpu", dtype):
        found = machine(numeric, codes)
    assert found.isfinite().all()
    assert ((found - exact)[1:].abs() < 0.05 * exact[1:].std()).all()


class TestPenalty:
    @pytest.mark.parametrize("cls", MACHINES)
    def test_it_is_the_norms_of_all_weights_but_the_bias(self, cls: type[Machine]) -> None:
        machine = machine_of(cls, 2, (3, 4), 3)
        weights = torch.cat([machine.weights.numeric.flatten(), machine.weights.table.weight.flatten()])
        expected = 0.3 * weights.abs().sum() + 0.7 * (weights**2).sum()
        assert machine.weights.penalty(0.3, 0.7).item() == pytest.approx(expected.item())
        assert machine.weights.penalty(0.3, 0.0).item() == pytest.approx(0.3 * weights.abs().sum().item())
        assert machine.weights.penalty(0.0, 0.7).item() == pytest.approx(0.7 * (weights**2).sum().item())
        machine.weights.penalty(0.3, 0.7).backward()
        assert machine.weights.bias.grad is None or (machine.weights.bias.grad == 0).all()

    @pytest.mark.parametrize("architecture", MODELS)
    def test_weights_shrink(self, architecture: str, make_config: MakeConfig, pairs: Tree) -> None:
        def size(**penalty: float) -> float:
            changes = {f"model.{name}": value for name, value in penalty.items()}
            config = make_config(pairs, **{"model.architecture": architecture, **changes})
            learner = build_learner(config, load_data(config))
            for _ in range(3):
                learner.train_epoch()
            return float(learner.state_dict()["module"]["weights.table.weight"].abs().mean())

        free = size()
        for name in ("l1", "l2"):
            assert size(**{name: 0.1}) < size(**{name: 0.01}) < free


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A config tree; what is planted lies in pairs of `a` and `b` alone: `sign` is that of a product, `value` has rank 2."""
    rng = np.random.default_rng(0)
    n, levels = 3000, 15
    a, b = rng.integers(0, levels, n), rng.integers(0, levels, n)
    left, right = rng.normal(size=(levels, 2)), rng.normal(size=(levels, 2))
    signs = np.where(np.arange(levels) < levels // 2, -1, 1)
    value = 50 + 10 * (left[a] * right[b]).sum(axis=1) + 0.3 * rng.normal(size=n)
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    lines = [
        f"a{i},b{j},{x:.4f},{'plus' if signs[i] * signs[j] > 0 else 'minus'},{'lmh'[(i + j) % 3]},{v:.4f}"
        for i, j, x, v in zip(a, b, rng.normal(size=n), value, strict=True)
    ]
    path.write_text("\n".join(["a,b,noise,sign,third,value", *lines]) + "\n", encoding="utf-8")
    data = {"type": "table", "path": str(path), "target": "sign", "drop": ["value", "third"]}
    return {
        "seed": 3, "device": "cpu", "data": data, "model": {"architecture": "fm", "embedding_dim": 4, "init_std": 0.1},
        "optimizer": {"type": "adam", "lr": 0.02}, "metrics": ["val_auc"],
        "training": {"num_epochs": 8, "batch_size": 128, "num_threads": 1},
    }  # fmt: skip


REGRESSION = {"data.target": "value", "data.drop": ["sign", "third"], "metrics": ["val_rmse"]}


class TestTraining:
    @pytest.mark.parametrize("architecture", MODELS)
    def test_it_learns_classes_that_no_linear_model_can(
        self, architecture: str, make_config: MakeConfig, pairs: Tree, tmp_path: Path
    ) -> None:
        config = make_config(pairs, **{"model.architecture": architecture})
        result = train(config, load_data(config).without_test(), RunDir(tmp_path / architecture))
        assert result.best_metrics["val_auc"] > 0.95
        linear = make_config({**pairs, "model": {"architecture": "mlp", "hidden_layers": 0}})
        result = train(linear, load_data(linear).without_test(), RunDir(tmp_path / "linear"))
        assert result.best_metrics["val_auc"] < 0.6

    @pytest.mark.parametrize("architecture", MODELS)
    def test_it_finds_a_planted_matrix_of_rank_2(
        self, architecture: str, make_config: MakeConfig, pairs: Tree, tmp_path: Path
    ) -> None:
        config = make_config(pairs, **REGRESSION, **{"model.architecture": architecture, "training.num_epochs": 12})
        splits = load_data(config)
        result = train(config, splits.without_test(), RunDir(tmp_path / "run"))
        assert result.best_metrics["val_rmse"] < 0.1 * splits.val.targets.std()

    @pytest.mark.parametrize("task", ["two classes", "three classes", "regression"])
    @pytest.mark.parametrize("architecture", MODELS)
    def test_what_is_exported_predicts_what_the_learner_says(
        self, architecture: str, task: str, make_config: MakeConfig, pairs: Tree, tmp_path: Path
    ) -> None:
        third = {"data.target": "third", "data.drop": ["sign", "value"]}
        changes = {"two classes": {}, "three classes": third, "regression": REGRESSION}[task]
        short = {"training.num_epochs": 2, "model.architecture": architecture, "model.dropout": 0.1}
        config, run = make_config(pairs, **changes, **short), RunDir(tmp_path / "run")
        splits = load_data(config)
        start_run(run, config.model_dump())
        train(config, splits.without_test(), run)
        export(config, splits, run, "last")
        assert mlframework.runs.read_json(run.artifacts / "model_meta.json")["family"] == architecture  # type: ignore[attr-defined]
        learner = build_learner(config, splits)
        learner.load_state_dict(learner.codec.load(run.checkpoints / "last.pt")["learner"])
        outputs = learner.outputs("test")
        names = splits.test.schema
        columns: dict[str, Any] = {name: splits.test.numeric[:, i] for i, name in enumerate(names.numeric)}
        for i, name in enumerate(names.categorical):
            columns[name] = [names.vocabulary[name][code] for code in splits.test.categorical[:, i]]
        predictions = mlframework.load(run.path).predict(columns)
        assert outputs is not None
        if outputs.class_names is None:
            assert np.allclose([p.value for p in predictions], outputs.values, rtol=1e-5)
        else:
            found = np.array([list(p.probabilities.values()) for p in predictions])
            assert np.allclose(found, outputs.values, atol=1e-5)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A config tree of ratings by 12 users of 8 items; of both something is known, and some of that is missing."""
    folder, rng = tmp_path_factory.mktemp("log"), np.random.default_rng(1)
    rows = [f"u{n // 8:02},i{n % 8},{rng.integers(1, 6)}" for n in range(12 * 8) if n % 7]
    users = [f"u{n:02},{'' if n % 5 == 0 else n * n},{rng.random():.3f},{'FM'[n % 2]}" for n in range(12)]
    items = [f"i{n},{'' if n % 3 == 0 else n * n},{'abc'[n % 3]}" for n in range(8)]
    heads = {"ratings": "user,item,rating", "users": "user,age,weight,sex", "items": "item,price,kind"}
    for (name, head), lines in zip(heads.items(), (rows, users, items), strict=True):
        (folder / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    data = {
        "type": "interactions", "path": str(folder / "ratings.csv"), "task": "regression",
        "user_column": "user", "item_column": "item", "rating_column": "rating",
        "user_features": {"path": str(folder / "users.csv"), "numeric": ["age", "weight"], "categorical": ["sex"]},
        "item_features": {"path": str(folder / "items.csv"), "numeric": ["price"], "categorical": ["kind"]},
    }  # fmt: skip
    training = {"num_epochs": 3, "batch_size": 16, "num_threads": 1}
    model = {"architecture": "fm", "init_std": 0.3}
    return {
        "device": "cpu",
        "data": data,
        "model": model,
        "training": training,
        "optimizer": {"type": "sgd", "lr": 0.01},
    }


class TestInteractions:
    def test_they_are_taken_by_their_rows(self, make_config: MakeConfig, log: Tree) -> None:
        config = make_config(log)
        splits = load_data(config)
        rows: Splits[Any] = Splits(splits.train.as_table(), splits.val.as_table(), splits.test.as_table())
        assert as_table(rows.train) is rows.train
        assert np.array_equal(as_table(splits.train).categorical, rows.train.categorical)
        learner, other = build_learner(config, splits), build_learner(config, rows)
        assert learner.train_epoch() == other.train_epoch()
        assert learner.evaluate("test") == other.evaluate("test")

    @pytest.mark.parametrize("features", [True, False], ids=["features", "ids alone"])
    @pytest.mark.parametrize("task", ["classification", "regression"])
    @pytest.mark.parametrize("architecture", MODELS)
    def test_what_is_exported_predicts_what_the_learner_says(
        self, architecture: str, task: str, features: bool, make_config: MakeConfig, log: Tree, tmp_path: Path
    ) -> None:
        changes = {"data.task": "classification", "data.min_rating": 3.0} if task == "classification" else {}
        if not features:
            changes |= {"data.user_features": None, "data.item_features": None}
        config = make_config(log, **changes, **{"model.architecture": architecture, "model.dropout": 0.3})
        splits, run = load_data(config), RunDir(tmp_path / "run")
        start_run(run, config.model_dump())
        learner = build_learner(config, splits)
        learner.train_epoch()
        learner.export(run.artifacts)
        outputs, known = learner.outputs("test"), splits.test.catalogue
        columns = {
            "user": [known.users[code] for code in splits.test.users],
            "item": [known.items[code] for code in splits.test.items],
        }
        predictions = mlframework.load(run.path).predict(columns)
        assert outputs is not None
        if outputs.class_names is None:
            assert np.allclose([p.value for p in predictions], outputs.values, rtol=1e-4)
        else:
            found = np.array([list(p.probabilities.values()) for p in predictions])
            assert np.allclose(found, outputs.values, atol=1e-4)


class TestConfig:
    @pytest.mark.parametrize("architecture", MODELS)
    def test_settings_reach_the_module(self, architecture: str) -> None:
        made = MODELS[architecture](architecture=architecture, embedding_dim=5, dropout=0.25, init_std=3.0)  # type: ignore[arg-type]
        module = made.build(ENCODER, 3)
        assert module(torch.zeros(6, 3), torch.zeros(6, 2, dtype=torch.int64)).shape == (6, 3)
        fields_met = 1 if architecture == "fm" else 4
        assert module.weights.numeric.shape == (3, 3 + fields_met * 3 * 5)
        assert module.weights.table.weight.shape == (1 + 3 + 2, 3 + fields_met * 3 * 5)
        assert module.dropout.p == 0.25
        assert module.weights.table.weight[1:, 3:].std().item() > 2

    @pytest.mark.parametrize("name", ["embedding_dim", "dropout", "l1", "l2", "init_std"])
    def test_settings_that_make_no_machine_are_refused(self, name: str) -> None:
        wrong = {"embedding_dim": 0, "dropout": 1.0, "init_std": 0.0}.get(name, -0.1)
        for architecture, cls in MODELS.items():
            with pytest.raises(ValueError, match=name):
                cls(architecture=architecture, **{name: wrong})  # type: ignore[arg-type]

    def test_defaults(self) -> None:
        assert (Fm(architecture="fm").embedding_dim, Ffm(architecture="ffm").embedding_dim) == (16, 4)
