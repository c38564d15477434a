"""The data sets, each loaded once into tensors on the device."""

from helpers.data.errors import DataError
from helpers.data.folders import path_of
from helpers.data.images import DATASETS, FROM_PATHS, PROBE_SIZE, Data, load, source_of
from helpers.data.tables import TABLES, Table, load_table

__all__ = [
    "DATASETS",
    "FROM_PATHS",
    "PROBE_SIZE",
    "TABLES",
    "Data",
    "DataError",
    "Table",
    "load",
    "load_table",
    "path_of",
    "source_of",
]
