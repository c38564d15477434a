"""What a worker of a study needs in whichever process it is: data, loaded once, and the reader's own functions."""

from helpers import data as datasets
from helpers.activations import ACTIVATIONS, registered
from helpers.config import resolve_device
from helpers.initializers import INITIALIZERS, registered_inits
from helpers.training import data_type


class Loading:
    """The Data of several CONFIGs. Sent to another process, it brings the reader's own functions, and loads there."""

    def __init__(self, device=None):
        self.device, self._data = device, {}

    def __getstate__(self):
        inits = {name: INITIALIZERS[name] for name in registered_inits()}
        return {"own_activations": registered(), "own_inits": inits}

    def __setstate__(self, sent):
        ACTIVATIONS.update(sent["own_activations"])
        INITIALIZERS.update(sent["own_inits"])
        self.__init__()

    def data_of(self, config):
        """The Data of a SweepConfig, loaded once."""
        self.device = self.device or resolve_device(config, trains=False)
        # Without data_dir, which a log does not keep: what it names is found where this study has found it.
        key = tuple(getattr(config, name) for name in ("dataset", "normalize", "train_size", "test_size", "precision"))
        if key not in self._data:
            self._data[key] = datasets.load(config, self.device, data_type(config))
        return self._data[key]
