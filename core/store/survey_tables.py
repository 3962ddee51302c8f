"""A stored survey as the table it could be imported from."""

from __future__ import annotations

import pandas as pd

from core.store.store import Store


def table_of(
    store: Store, survey_id: str, version: str, name: str, **only: str
) -> pd.DataFrame | None:
    """A further table of an imported survey ("groups", "effective", …), None where there is none.

    An importer's read() says which tables there are and their columns. only: values of columns
    whose rows are wanted.
    """
    path = store.survey_folder(survey_id, version) / f"{name}.parquet"
    if not name.isidentifier() or not path.is_file():
        return None
    wanted = [(column, "==", value) for column, value in only.items()]
    return pd.read_parquet(path, filters=wanted or None)
