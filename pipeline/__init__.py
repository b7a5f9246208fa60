"""Gatecast: LSTM and GRU forecasters, tuned, compared and served, as a DVC pipeline."""
