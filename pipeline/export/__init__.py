"""What stage export makes of a trained cell: a SavedModel, a LiteRT file, and how far they are from each other."""
