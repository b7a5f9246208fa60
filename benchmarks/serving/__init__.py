"""What `benchmarks.serve` is made of: the contenders, their environments, the load, the figures and the page."""
