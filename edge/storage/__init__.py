"""The tables, their numbered changes, and the questions asked of them."""
