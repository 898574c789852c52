"""Real data: texts, ratings, word vectors and pictures, as arrays and strings."""
