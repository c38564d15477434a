"""The data sets, each loaded once into tensors on the device."""

from helpers.data.images import DATASETS, PROBE_SIZE, Data, DataError, load

__all__ = ["DATASETS", "PROBE_SIZE", "Data", "DataError", "load"]
