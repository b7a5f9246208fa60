"""What is commonly said of LSTM and GRU, put to the test: `python -m benchmarks.claims`."""
