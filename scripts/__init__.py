"""Commands on finished runs and on records. `python scripts/NAME.py` in a checkout is `ulmfit-exp NAME`."""
