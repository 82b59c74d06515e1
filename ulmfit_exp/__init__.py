"""ULMFiT (Howard & Ruder 2018) on today's fastai: how experiments are run. What is run lives in `experiments/`."""
