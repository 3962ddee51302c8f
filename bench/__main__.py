"""`python -m bench`: every measurement, one after another, on an otherwise quiet machine."""

from bench import engine, numbers, pages, store, tuning

for part in (engine, tuning, store, numbers, pages):
    print(f"\n# {part.__name__}\n", flush=True)
    part.main([])
