"""A trained model in use: scores, baseline, features, word weights, prediction, export."""
