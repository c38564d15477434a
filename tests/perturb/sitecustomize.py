"""Python imports this at its start where the folder is on PYTHONPATH, as `perturbed_draws.begin` puts it there."""

import perturbed_draws

perturbed_draws.watch_import()
