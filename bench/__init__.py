"""What is fast on purpose, measured beside what one would run instead. `make bench`"""
