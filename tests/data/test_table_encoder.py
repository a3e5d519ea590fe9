"""The encoder: standardised inputs, learnt from the training split and nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlframework.data.table_encoder import TableEncoder
from mlframework.data.table_schema import TableExamples, TableSchema

VOCABULARY = ("a", "b", "c", "d")
nan = float("nan")


def examples(numeric: list[list[float]], codes: list[list[int]] | None = None) -> TableExamples:
    values = np.array(numeric, dtype=np.float32)
    categories = np.array(codes if codes is not None else [[]] * len(numeric), dtype=np.int32)
    schema = TableSchema(
        numeric=tuple(f"n{i}" for i in range(values.shape[1])),
        categorical=tuple(f"c{i}" for i in range(categories.shape[1])),
        vocabulary={f"c{i}": VOCABULARY for i in range(categories.shape[1])},
        target="y",
        task="regression",
        class_names=None,
    )
    return TableExamples(schema, values, categories, np.zeros(len(numeric), dtype=np.float32))


def test_known_numbers_become_known_inputs() -> None:
    train = examples([[1, 7], [3, 7], [nan, 7], [5, 7]], [[3], [1], [3], [-1]])
    encoder = TableEncoder.fit(train)
    assert encoder.median == (3.0, 7.0)
    assert encoder.flagged == (0,)
    numeric, categorical = encoder.transform(train)
    spread = 2**0.5
    np.testing.assert_allclose(numeric, [[-2 / spread, 0, 0], [0, 0, 0], [0, 0, 1], [2 / spread, 0, 0]], rtol=1e-6)
    assert numeric.dtype == np.float32
    assert numeric.shape[1] == encoder.numeric_width == 3
    assert categorical.tolist() == [[2], [1], [2], [0]]
    assert categorical.dtype == np.int64
    assert encoder.cardinalities == (3,)


def test_what_training_has_not_seen_is_0_and_the_median() -> None:
    encoder = TableEncoder.fit(examples([[1.0], [3.0]], [[1], [2]]))
    numeric, categorical = encoder.transform(examples([[nan], [5.0]], [[0], [3]]))
    assert numeric.tolist() == [[0.0], [3.0]]
    assert categorical.tolist() == [[0], [0]]


def test_a_column_without_any_value_in_training_is_0_and_flagged() -> None:
    encoder = TableEncoder.fit(examples([[nan], [nan]]))
    numeric, _ = encoder.transform(examples([[nan], [4.0]]))
    assert numeric.tolist() == [[0.0, 1.0], [4.0, 0.0]]


tables = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 30), st.integers(1, 4)),
    elements=st.one_of(st.integers(-1000, 1000).map(float), st.just(nan)),
)


@given(values=tables)
def test_the_training_split_comes_out_with_mean_0_and_deviation_1(values: np.ndarray) -> None:
    train = examples(values.tolist())
    encoder = TableEncoder.fit(train)
    numeric, _ = encoder.transform(train)
    p = values.shape[1]
    assert np.isfinite(numeric).all()
    np.testing.assert_allclose(numeric[:, :p].mean(axis=0), 0, atol=1e-5)
    deviation = numeric[:, :p].std(axis=0)
    assert np.all(np.isclose(deviation, 1, atol=1e-4) | (deviation == 0))
    with_missing = np.flatnonzero(np.isnan(values).any(axis=0))
    assert encoder.flagged == tuple(with_missing)
    np.testing.assert_array_equal(numeric[:, p:], np.isnan(values[:, with_missing]))


@given(values=tables, codes=st.data())
def test_it_survives_json_and_encodes_the_same(values: np.ndarray, codes: st.DataObject) -> None:
    categories = codes.draw(hnp.arrays(np.int32, (len(values), 2), elements=st.integers(-1, 3)))
    train = examples(values.tolist(), categories.tolist())
    encoder = TableEncoder.fit(train)
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    for first, second in zip(encoder.transform(train), again.transform(train), strict=True):
        np.testing.assert_array_equal(first, second)
    _, inputs = encoder.transform(train)
    assert np.array_equal(inputs == 0, categories == -1)
    assert tuple(inputs.max(axis=0)) == tuple(n - 1 for n in encoder.cardinalities)


def test_validation_rows_do_not_change_how_training_rows_are_encoded() -> None:
    whole = examples([[1.0], [2.0], [3.0], [1e6], [nan]], [[0], [1], [0], [2], [3]])
    train = whole.take(np.array([0, 1, 2]))
    encoder = TableEncoder.fit(train)
    assert encoder == TableEncoder.fit(examples([[1.0], [2.0], [3.0]], [[0], [1], [0]]))
    assert encoder != TableEncoder.fit(whole)
    numeric, categorical = encoder.transform(whole)
    np.testing.assert_array_equal(numeric[:3], encoder.transform(train)[0])
    assert categorical[3:].tolist() == [[0], [0]]


def test_a_constant_column_stays_harmless() -> None:
    value = float(np.float32(0.1))
    encoder = TableEncoder.fit(examples([[value]] * 7))
    assert encoder.std == (1.0,)
    assert encoder.transform(examples([[value], [value + 1]]))[0].tolist() == pytest.approx(np.array([[0.0], [1.0]]))


def test_rows_of_another_table_are_refused() -> None:
    encoder = TableEncoder.fit(examples([[1.0], [2.0]]))
    with pytest.raises(ValueError, match="learnt from 1 numeric and 0 categorical columns, but got 2 and 0"):
        encoder.transform(examples([[1.0, 2.0]]))
