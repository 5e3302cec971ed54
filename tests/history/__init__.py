"""The judge of history: the product after a first sync, beside the ideal reader and the truth of simulated lives."""
