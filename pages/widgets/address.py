"""What a page shows stands in its address, so that it can be shared."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from urllib.parse import urlencode

import streamlit as st

from pages.widgets.text import plain


def linked(
    label: str,
    names: Mapping[str, str],
    *,
    name: str,
    page: str,
    default: str,
    widget: Callable = st.selectbox,
    read: Callable[[str], str] = str,
    **look: object,
) -> str:
    """A choice between ids that also stands in the address, as ?name=id.

    names: id -> words. What the address holds comes first, then what was last chosen on any page,
    then `default`; an id that is not known falls back, and unknown_in_address() says so. The id ""
    stands for no choice and leaves the address clean. read: from what the address may hold to an
    id. Streamlit's own binding (bind="query-params") would put the words into the link.
    """
    key, seen = f"{page}_{name}", f"{page}_{name}_seen"
    here = st.query_params.get(name)
    if key not in st.session_state:  # just come to this page
        wanted = read(here) if here is not None else st.session_state.get(f"last_{name}")
    elif here != st.session_state.get(seen):  # Back, Forward, or a link to this page
        wanted = read(here) if here is not None else default
    else:
        wanted = st.session_state[key]
    value = wanted if wanted in names else default
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    st.session_state[seen] = here
    if here is not None and wanted in names:
        st.session_state[f"last_{name}"] = wanted
    if widget is st.segmented_control:
        look = {"required": True, **look}
    return widget(
        label,
        list(names),
        format_func=lambda one: names.get(one, one),
        key=key,
        on_change=_linked_changed,
        args=(page, name),
        **look,
    )


def _linked_changed(page: str, name: str) -> None:
    link_to(page, name, st.session_state[f"{page}_{name}"])


def link_to(page: str, name: str, value: str) -> None:
    """Set what linked() shows, from a callback: previous, next, a click on a map."""
    st.session_state[f"{page}_{name}"] = value
    st.session_state[f"last_{name}"] = value
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)
    st.session_state[f"{page}_{name}_seen"] = value or None


def linked_many(
    label: str,
    names: Mapping[str, str],
    *,
    name: str,
    page: str,
    default: Sequence[str],
    **look: object,
) -> list[str]:
    """Several ids that also stand in the address, as ?name=id,id. Unknown ids are left out.

    What was last chosen on this page comes back with it, unless the address says something else.
    """
    key, seen = f"{page}_{name}", f"{page}_{name}_seen"
    here = st.query_params.get(name)
    open_to_all = bool(look.get("accept_new_options"))
    if key not in st.session_state or here != st.session_state.get(seen):
        wanted = (here or "").split(",")
        if key not in st.session_state and here is None:  # just come to this page
            wanted = st.session_state.get(f"last_{key}", ())
        known = [one for one in wanted if one in names or (one and open_to_all)]
        st.session_state[key] = known[: look.get("max_selections")] or list(default)
        st.session_state[f"last_{key}"] = known
        st.session_state[seen] = here
    elif not open_to_all and any(one not in names for one in st.session_state[key]):
        # names of another survey
        st.session_state[key] = [one for one in st.session_state[key] if one in names]
    return st.multiselect(
        label,
        list(names),
        format_func=lambda one: names.get(one, one),
        key=key,
        on_change=lambda: link_many_to(page, name, st.session_state[key], default),
        **look,
    )


def link_many_to(page: str, name: str, values: Sequence[str], default: Sequence[str] = ()) -> None:
    """Set what linked_many() shows; what it shows without a link leaves the address clean."""
    st.session_state[f"{page}_{name}"] = st.session_state[f"last_{page}_{name}"] = list(values)
    if values and list(values) != list(default):
        st.query_params[name] = ",".join(values)
    else:
        st.query_params.pop(name, None)
    st.session_state[f"{page}_{name}_seen"] = st.query_params.get(name)


def unknown_in_address(name: str, known: Container[str], what: str) -> None:
    """Say so where a link names something that is not there (any more)."""
    asked = st.query_params.get(name)
    if asked and asked not in known:
        st.caption(
            f":material/link_off: The link asks for the {what} “{plain(asked[:40])}”, which is not "
            "here; it may have been deleted. This is shown instead."
        )


def share(page: str, **ids: str | Sequence[str]) -> None:
    """A button with the full link to what is shown. `ids` that are empty are left out; of several
    values each stands there."""
    with st.popover("Link", icon=":material/link:", type="tertiary", key=f"{page}_share"):
        asked = urlencode(
            {name: value for name, value in ids.items() if value}, doseq=True, safe=":,"
        )
        st.caption("Opens exactly this, on this machine.")
        st.code(f"{st.context.url}?{asked}", language=None, wrap_lines=True)
