"""Prescriptions on trial: init and learning rate that theory prescribes, against what people do without it."""
