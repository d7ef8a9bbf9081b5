"""Ahead of time: the real train step compiled for TPUs and GPUs that are not there."""
