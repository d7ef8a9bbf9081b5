"""Where workers run: one module a place, each with a `launch` that ends when the sweep is done."""
