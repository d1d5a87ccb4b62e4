"""Trainers of other libraries, ``fit(x, y, *, seed) -> predict``: PyTorch, Keras, Hugging Face.

Each is imported when it trains, and named in one line where it is not installed. What has scikit-learn's interface, as
XGBoost's and LightGBM's classifiers have, needs none of these: ``shadows=XGBClassifier()`` is enough.
"""
