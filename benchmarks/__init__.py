"""Benchmarks: barback and its peers, measured in turn, in the same run."""
