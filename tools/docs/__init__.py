"""Pages that are generated from the code. `python -m tools.docs` writes them; a test fails when they are out of date."""
