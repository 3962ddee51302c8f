"""`python -m bench`: every measurement, one after another, on an otherwise quiet machine."""

from bench import engine, pages, store

for part in (engine, store, pages):
    print(f"\n# {part.__name__}\n", flush=True)
    part.main([])
