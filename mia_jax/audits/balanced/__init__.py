"""The balanced audit: models in complementary pairs, some of which are in turn the target."""
