"""`python -m bench`: every measurement, one after another, on an otherwise quiet machine."""

from bench import engine, numbers, pages, pipeline, store, tuning, writing

for part in (engine, writing, tuning, pipeline, store, numbers, pages):
    print(f"\n# {part.__name__}\n", flush=True)
    part.main([])
