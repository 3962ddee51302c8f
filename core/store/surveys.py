"""Surveys in the store: items, countries, people's shares."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import PluriscopeError
from core.store.database import Database, insert_rows, utc_now
from core.survey.survey import BUNDLED_SURVEY, WRITTEN_SURVEY, Culture, Item, Option, Shares, Survey


class SurveyRecords(Database):
    """What a store does with surveys."""

    def add_survey(self, survey: Survey, source: str = "", tuning: str | None = None) -> bool:
        """Keep a survey; False where this very version is there already.

        It then is back on the shelf, under the name it is given now. tuning: that it was written
        for.
        """
        with self._writing() as cursor:
            known = cursor.execute(
                """update surveys set deleted = null, name = ?, citation = ?
                   where id = ? and version = ? returning id""",
                [survey.name, survey.citation, survey.id, survey.version],
            ).fetchall()
            if known:
                self._surveys[survey.id, survey.version] = survey
                return False
            key = [survey.id, survey.version]
            cursor.execute(
                "insert into surveys values (?, ?, ?, ?, ?, ?, ?, null, ?)",
                [*key, survey.name, survey.citation, list(survey.core_ids), source, utc_now(),
                 tuning],
            )  # fmt: skip
            insert_rows(cursor, "items", _item_rows(survey))
            insert_rows(cursor, "cultures", _culture_rows(survey))
            insert_rows(cursor, "shares", _share_rows(survey))
        self._surveys[survey.id, survey.version] = survey
        return True

    def surveys(self, *, deleted: bool = False) -> pd.DataFrame:
        """id, version, name, citation, source, added, items, countries, runs; newest first.

        Those that a model wrote for a tuning (source WRITTEN_SURVEY) are the tuning's own affair.
        """
        return self.query(
            f"""select s.id, s.version, s.name, s.citation, s.source, s.added,
                 (select count(*) from items i where i.survey = s.id and i.version = s.version)
                   as items,
                 (select count(*) from cultures c where c.survey = s.id and c.version = s.version)
                   as countries,
                 (select count(*) from runs r where r.deleted is null
                   and r.survey = s.id and r.survey_version = s.version) as runs
               from surveys s where s.deleted is {"not null" if deleted else "null"}
                 and s.source <> ?
               order by s.added desc""",
            [WRITTEN_SURVEY],
        )

    def survey(self, survey_id: str = BUNDLED_SURVEY, version: str | None = None) -> Survey:
        """A survey by id, and version where a run names one; the newest on the shelf otherwise.

        An older version may also be named in one word, "id@version".
        """
        survey_id, _, named = survey_id.partition("@")
        version = version or named or None
        if version is None:
            found = self.rows(
                """select version from surveys where id = ? and deleted is null
                   order by added desc limit 1""",
                [survey_id],
            )
            if not found:
                raise PluriscopeError(f"There is no survey {survey_id!r} in the store.")
            version = found[0][0]
        if (survey_id, version) not in self._surveys:
            self._surveys[survey_id, version] = self._read_survey(survey_id, version)
        return self._surveys[survey_id, version]

    def _read_survey(self, survey_id: str, version: str) -> Survey:
        key = [survey_id, version]
        head = self.rows(
            "select name, citation, core_ids from surveys where id = ? and version = ?", key
        )
        if not head:
            raise PluriscopeError(f"There is no survey {survey_id!r}, version {version}.")
        name, citation, core_ids = head[0]
        items = tuple(
            Item(
                id=item,
                position=position,
                topic=topic,
                label=label,
                question=question,
                options=tuple(Option(c, o) for c, o in zip(codes, options, strict=True)),
                scale=scale,
                low=low,
                high=high,
                off_scale=tuple(off_scale),
                note=note,
            )
            for item, position, topic, label, question, scale, low, high, note, codes, options,
            off_scale in self.rows(
                """select item, position, topic, label, question, scale, low, high, note, codes,
                     options, off_scale
                   from items where survey = ? and version = ? order by position""",
                key,
            )
        )  # fmt: skip
        cultures = tuple(
            Culture(*row[:-1], languages=tuple(row[-1]))
            for row in self.rows(
                """select iso3, name, demonym, article, continent, region, year, n, in_culturespa,
                     languages
                   from cultures where survey = ? and version = ? order by iso3""",
                key,
            )
        )
        shares = {
            (iso3, item): Shares(np.array(values), n_valid, basis)
            for iso3, item, values, n_valid, basis in self.rows(
                """select iso3, item, shares, n_valid, basis
                   from shares where survey = ? and version = ?""",
                key,
            )
        }
        return Survey(survey_id, name, version, items, cultures, shares, tuple(core_ids), citation)

    def delete_survey(self, survey_id: str, version: str) -> None:
        """Take a survey off the shelf. Runs that used it keep pointing to it."""
        if survey_id == BUNDLED_SURVEY:
            raise PluriscopeError("The bundled survey comes with Pluriscope and stays.")
        with self._writing() as cursor:
            cursor.execute(
                "update surveys set deleted = ? where id = ? and version = ?",
                [utc_now(), survey_id, version],
            )

    def restore_survey(self, survey_id: str, version: str) -> None:
        """Put a survey back on the shelf."""
        with self._writing() as cursor:
            cursor.execute(
                "update surveys set deleted = null where id = ? and version = ?",
                [survey_id, version],
            )

    def forget_surveys(self) -> int:
        """Remove deleted surveys that nothing points to for good; says how many.

        Of those that a run or a tuning points to, what was kept of single people goes.
        """
        with self._writing() as cursor:
            gone = cursor.execute(
                """delete from surveys s where deleted is not null
                     and not exists (select 1 from runs r
                       where r.survey = s.id and r.survey_version = s.version)
                     and not exists (select 1 from tunings t
                       where t.survey = s.id and t.survey_version = s.version)
                   returning id, version"""
            ).fetchall()
            for key in gone:
                for table in ("items", "cultures", "shares"):
                    cursor.execute(f"delete from {table} where survey = ? and version = ?", key)
                self._surveys.pop(key, None)
            kept = cursor.execute(
                "select id, version from surveys where deleted is not null"
            ).fetchall()
        for survey_id, version in gone:
            shutil.rmtree(self.survey_folder(survey_id, version), ignore_errors=True)
            self.survey_folder(survey_id, version).with_suffix(".json").unlink(missing_ok=True)
        for survey_id, version in kept:
            people = self.survey_folder(survey_id, version) / "respondents.parquet"
            people.unlink(missing_ok=True)
        return len(gone)

    def survey_folder(self, survey_id: str, version: str) -> Path:
        """Where the further tables of an imported survey lie."""
        return self.home / "surveys" / f"{survey_id}-{version}"


def _item_rows(survey: Survey) -> list[dict]:
    return [
        {
            "survey": survey.id,
            "version": survey.version,
            "item": item.id,
            "position": item.position,
            "topic": item.topic,
            "label": item.label,
            "question": item.question,
            "scale": item.scale,
            "low": item.low,
            "high": item.high,
            "note": item.note,
            "codes": list(item.codes),
            "options": [option.label for option in item.options],
            "off_scale": list(item.off_scale),
        }
        for item in survey.items
    ]


def _culture_rows(survey: Survey) -> list[dict]:
    return [
        {
            "survey": survey.id,
            "version": survey.version,
            **asdict(culture),
            "languages": list(culture.languages),
        }
        for culture in survey.cultures
    ]


def _share_rows(survey: Survey) -> list[dict]:
    return [
        {
            "survey": survey.id,
            "version": survey.version,
            "iso3": iso3,
            "item": item,
            "shares": shares.values.tolist(),
            "n_valid": shares.n_valid,
            "basis": shares.basis,
        }
        for (iso3, item), shares in survey.shares.items()
    ]
