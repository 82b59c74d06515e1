"""What is run: one module an experiment. Each is a value, and its docstring is its lab record."""
