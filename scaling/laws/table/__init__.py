"""A table of anyone's runs: read, checked against its conventions, selected from, its rows named."""
