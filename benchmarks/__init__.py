"""What the README states in figures, from the committed results."""
