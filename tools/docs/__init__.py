"""Pages that are made from the code: `python -m tools.docs` writes them, a test says when they are old."""
