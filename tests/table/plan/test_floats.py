"""Numbers in expressions that are taken apart and put together again keep their last bit."""

from __future__ import annotations

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from deeprc.table.plan.expressions import from_tree, tree


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.10696137854395661)
@example(-0.9248283521787769)
@example(6.15956094678188e-10)
@example(5e-324)
@example(1.7976931348623157e308)
def test_a_literal_is_the_same_after_a_round_trip(number: float) -> None:
    """To the last bit, alone and beside a column, whose type does not change by it."""
    assert pl.select(from_tree(tree(pl.lit(number)))).item() == number
    compared = from_tree(tree(pl.col("x") >= number))
    assert pl.DataFrame({"x": [number]}).select(compared).item()


def test_text_that_looks_like_a_number_is_left_alone() -> None:
    """Spellings change outside of strings only; a column of single floats stays one."""
    text = pl.lit("0.10696137854395661") + pl.col("g") + pl.lit(0.10696137854395661).cast(pl.String)
    after = pl.DataFrame({"g": ["-"]}).select(from_tree(tree(text))).item()
    assert after == "0.10696137854395661-0.10696137854395661"
    single = pl.LazyFrame(schema={"x": pl.Float32}).select(from_tree(tree(pl.col("x") - 0.9248283521787769)))
    assert single.collect_schema() == {"x": pl.Float32}
