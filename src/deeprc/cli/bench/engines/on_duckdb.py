"""DuckDB: SQL over tables of its own in memory; answers as Arrow tables, which for it is the faster way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc


def load(files: Mapping[str, str], cores: int) -> Any:
    """A database in memory with one table for each file."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET threads = {cores}; SET preserve_insertion_order = false; SET enable_progress_bar = false")
    for name, file in files.items():
        with pa.memory_map(file) as source:
            arrow = pa.ipc.open_file(source).read_all()
            connection.register("arrow", arrow)
            connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM arrow')
            connection.unregister("arrow")
    return connection


_SQL = {
    "join": 'SELECT "left".key, "left".value, "right".value AS value_right FROM "left" JOIN "right" USING (key)',
    "sort": 'SELECT * FROM "left" ORDER BY key',
    "group_by": 'SELECT key, sum(value)::BIGINT AS value FROM "left" GROUP BY key',
    "g1": "SELECT id1, sum(v1) AS v1 FROM g GROUP BY id1",
    "g2": "SELECT id1, id2, sum(v1) AS v1 FROM g GROUP BY id1, id2",
    "g3": "SELECT id3, sum(v1) AS v1, avg(v3) AS v3 FROM g GROUP BY id3",
    "g4": "SELECT id4, avg(v1) AS v1, avg(v2) AS v2, avg(v3) AS v3 FROM g GROUP BY id4",
    "g5": "SELECT id6, sum(v1) AS v1, sum(v2) AS v2, sum(v3) AS v3 FROM g GROUP BY id6",
    "g6": "SELECT id4, id5, quantile_cont(v3, 0.5) AS median, stddev(v3) AS std FROM g GROUP BY id4, id5",
    "g7": "SELECT id3, max(v1) - min(v2) AS range FROM g GROUP BY id3",
    "g8": "SELECT id6, unnest(max(v3, 2)) AS v3 FROM g GROUP BY id6",
    "g9": "SELECT id2, id4, pow(corr(v1, v2), 2) AS r2 FROM g GROUP BY id2, id4",
    "g10": "SELECT id1, id2, id3, id4, id5, id6, sum(v3) AS v3, count(*) AS count FROM g "
    "GROUP BY id1, id2, id3, id4, id5, id6",
    "j1": "SELECT x.*, small.id4 AS id4_right, small.v2 FROM x JOIN small USING (id1)",
    "j2": "SELECT x.*, medium.id1 AS id1_right, medium.id4 AS id4_right, medium.id5 AS id5_right, medium.v2 "
    "FROM x JOIN medium USING (id2)",
    "j3": "SELECT x.*, medium.id1 AS id1_right, medium.id4 AS id4_right, medium.id5 AS id5_right, medium.v2 "
    "FROM x LEFT JOIN medium USING (id2)",
    "j4": "SELECT x.*, medium.id1 AS id1_right, medium.id2 AS id2_right, medium.id4 AS id4_right, medium.v2 "
    "FROM x JOIN medium USING (id5)",
    "j5": "SELECT x.*, big.id1 AS id1_right, big.id2 AS id2_right, big.id4 AS id4_right, big.id5 AS id5_right, "
    "big.id6 AS id6_right, big.v2 FROM x JOIN big USING (id3)",
}


def _asked(sql: str) -> Callable[[Any], Any]:
    return lambda connection: connection.execute(sql).to_arrow_table()


QUESTIONS = {name: _asked(sql) for name, sql in _SQL.items()}


def describe(table: Any) -> tuple[int, dict[str, float]]:
    """The number of rows, and the sum of each column of numbers."""
    sums = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            sums[name] = float(pc.sum(column.cast(pa.float64(), safe=False)).as_py() or 0)
    return table.num_rows, sums
