"""Each module measures one capability and its peer on the same work in the same run. `python -m benchmarks --help`."""
