"""Real data: texts, ratings, word vectors and images, as arrays and strings."""
