"""What the paper describes, on fastai."""
