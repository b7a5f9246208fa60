"""The LSTM and GRU of other libraries on the same windows as ours, in the same run."""
