"""`python -m ulmfit_exp.predict RUN texts.csv`, as model cards name it; the code is `inference.predict`."""

from .inference.predict import command

if __name__ == "__main__":
    command()
