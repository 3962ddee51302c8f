"""The tables of the store, and every step from an older store to today's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def m001_initial(sql: Callable[[str], Any]) -> None:
    sql("""create table surveys (
        id text, version text, name text, citation text, core_ids text[], source text,
        added timestamp, deleted timestamp, primary key (id, version))""")
    sql("""create table items (
        survey text, version text, item text, position integer, topic text, label text,
        question text, scale text, low text, high text, note text,
        codes integer[], options text[], off_scale integer[])""")
    sql("""create table cultures (
        survey text, version text, iso3 text, name text, demonym text, article text,
        continent text, region text, year integer, n integer, in_culturespa boolean,
        languages text[])""")
    sql("""create table shares (
        survey text, version text, iso3 text, item text, shares double[], n_valid integer,
        basis text)""")
    sql("""create table prompt_sets (
        sha256 text primary key, id text, name text, language text, texts json)""")
    sql("create sequence run_numbers")
    sql("""create table runs (
        no integer primary key, id text unique, grp text, kind text, name text, method text,
        model text, settings json, facts json, state text, planned integer,
        answered integer, created timestamp, finished timestamp, deleted timestamp)""")
    # Why: docs/decisions.md, "No index on answers."
    sql("""create table answers (
        run_no integer, iso3 text, item text, number smallint, probs float[], mass float,
        chosen smallint, state text, rule text, text text, seconds float, answered_at timestamp)""")
    sql("""create table scores (
        run_no integer, metric text, topic text, answered integer, version text, iso3 text,
        value double, low double, high double, floor double, ceiling double, others double,
        items integer)""")
    sql("""create table changes (
        a integer, b integer, metric text, topic text, answered integer, version text, iso3 text,
        value double, low double, high double, p double, clear boolean)""")
    sql("""create table jobs (
        id text primary key, kind text, title text, settings json, runs text[], state text,
        position double, phase text, done integer, total integer, rate double,
        error text, details text, created timestamp, started timestamp, finished timestamp)""")


def m002_tuning(sql: Callable[[str], Any]) -> None:
    sql("""create table tunings (
        id text primary key, name text, settings json, counts json, created timestamp,
        deleted timestamp)""")
    sql("""create table questions (
        tuning text, seed integer, no integer, round integer, topic text, question text,
        options text[], raw text, state text, reason text, near text, similarity double)""")
    sql("""create table pairs (
        tuning text, seed integer, teacher text, answers text, iso3 text, item text,
        plain integer, aware integer, plain_probs float[], aware_probs float[],
        distance double, noise double, differs boolean, reason text)""")
    sql("""create table arms (
        tuning text, arm text, seed integer, state text, examples integer, counts json,
        runs text[], facts json, started timestamp, finished timestamp)""")
    sql("""create table training (
        tuning text, arm text, seed integer, iso3 text, step integer, steps integer,
        loss double, rate double, tokens_per_second double, memory_bytes bigint)""")
    sql("""create table adapters (
        id text primary key, tuning text, arm text, seed integer, iso3 text, name text,
        base json, base_revision text, path text, sha256 text, facts json, created timestamp,
        deleted timestamp)""")
    sql("""create table abilities (
        tuning text, arm text, seed integer, record json, measured timestamp)""")


def m003_translations(sql: Callable[[str], Any]) -> None:
    sql("create table translations (sha256 text primary key, language text, texts json)")


def m004_results(sql: Callable[[str], Any]) -> None:
    sql("create table results (subject text primary key, key text, record json)")


def m005_time_worked(sql: Callable[[str], Any]) -> None:
    sql("alter table jobs add column worked double default 0")  # seconds, pauses left out
    sql("""update jobs set worked = epoch(finished - started)
           where state = 'done' and finished > started""")


# Why: docs/decisions.md, "What belongs to what stands in columns."
def m006_origins(sql: Callable[[str], Any]) -> None:
    """What used to be read out of names and paths: what a run was made for, and with which adapter.

    runs.tuning, arm, seed: of a run that a tuning had asked ("base" before it, "written" its own
    questions). adapter, merged: which adapter (adapters.id) lay on the model or was merged into
    its weights; null where none did or it is not known here. An adapter of each country stands for
    all of its arm.
    """
    for column in ("tuning text", "arm text", "seed integer", "survey text", "survey_version text",
                   "adapter text", "merged text"):  # fmt: skip
        sql(f"alter table runs add column {column}")
    for table, column in (
        ("tunings", "survey text"),
        ("tunings", "survey_version text"),
        ("surveys", "tuning text"),
        ("results", "tuning text"),
        ("arms", "folder text"),
    ):
        sql(f"alter table {table} add column {column}")
    for table in ("runs", "tunings"):
        sql(f"""update {table} set survey = settings->>'survey',
                survey_version = settings->>'survey_version'""")
    # A group was named TUNING-base, TUNING-ARM-SEED or TUNING-written-SEED.
    sql(
        """update runs set tuning = t.id, arm = 'base' from tunings t where grp = t.id || '-base'"""
    )
    sql(r"""update runs set tuning = t.id,
              arm = regexp_extract(substr(grp, length(t.id) + 2), '^(.*)-(-?\d+)$', 1),
              seed = regexp_extract(grp, '-(-?\d+)$', 1)::integer
            from tunings t where starts_with(grp, t.id || '-') and grp <> t.id || '-base'""")
    sql("""update surveys set tuning = t.id from tunings t
           where source = 'written' and starts_with(surveys.id, 'written-' || t.id || '-')""")
    sql("""update results set tuning = split_part(subject, '/', 2)
           where starts_with(subject, 'arms/')""")
    sql("""update arms set folder = string_split(a.path, '/')[2] from adapters a
           where a.tuning = arms.tuning and a.arm = arms.arm and a.seed = arms.seed""")
    # One that was not finished has no adapter yet: its folder was named by a rule.
    sql("""update arms set folder = rtrim(left(trim(regexp_replace(
               lower(t.name), '[^a-z0-9]+', '-', 'g'), '-'), 48), '-')
             || '-' || replace(arms.arm, ':', '-') || '-' || arms.seed || '-' || t.id
           from tunings t where t.id = arms.tuning and arms.arm <> 'base'
             and arms.folder is null""")
    # What a folder's name says of the adapter it holds; a copy of one is told by its hash.
    sql(f"""create temporary table known as {ADAPTER_HASHES}""")
    sql("""update runs set adapter = a.id from adapters a
           where a.tuning is not null and list_contains(
             string_split((runs.settings->'model'->>'adapter'), '/'),
             string_split(a.path, '/')[2])""")
    sql("""update runs set adapter = k.id from known k
           where adapter is null and (runs.settings->'model'->>'adapter') is not null
             and k.sha256 = (runs.facts->>'adapter_sha256')""")
    sql("""update runs set merged = k.id from known k
           where k.sha256 = (runs.facts->>'merged_sha256')""")
    sql("drop table known")


# The hash of each adapter that a tuning made, and of those of all countries together
# (models.adapters.adapters_sha256).
ADAPTER_HASHES = """
    select id, sha256, created from adapters where tuning is not null
    union all
    select min(id), sha256(string_agg(iso3 || ':' || sha256 || chr(10), '' order by iso3)),
           max(created)
    from adapters where tuning is not null and iso3 <> '' and deleted is null
    group by tuning, arm, seed"""

MIGRATIONS = [
    m001_initial, m002_tuning, m003_translations, m004_results, m005_time_worked, m006_origins,
]  # fmt: skip
