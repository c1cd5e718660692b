"""What every part of Souk agrees on: feature names, the data schema and how settings are read."""
