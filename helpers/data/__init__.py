"""The data sets, each loaded once into tensors on the device."""

from helpers.data.images import DATASETS, PROBE_SIZE, Data, DataError, load
from helpers.data.tables import TABLES, Table, load_table

__all__ = ["DATASETS", "PROBE_SIZE", "TABLES", "Data", "DataError", "Table", "load", "load_table"]
