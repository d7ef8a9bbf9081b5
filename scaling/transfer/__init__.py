"""Hyperparameters found on small models, carried to large ones, with the error that this may make."""
