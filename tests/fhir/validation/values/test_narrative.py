"""The narrative's XHTML: what formatting is, and what is not."""

from __future__ import annotations

import pytest

from fhirspace.fhir.validation.values.narrative import NAMESPACE, narrative

RIGHT = [
    "a",
    "<p>a<br/>b</p>",
    "<table border='1'><caption>c</caption><thead><tr><th>a</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table>",
    "<ul><li>a<ul><li>b</li></ul></li></ul>",
    "<dl><dt>a</dt><dd><p>b</p></dd></dl>",
    "<img src='a.png' alt='x'/>",
    "<a name='x'>a</a><a href='#x'>b</a>",
    "<img src='#pic'/>",
    "a &lt; b &amp; c &#160; &#xA0;<!-- c --><![CDATA[ <x> ]]>",
    "<p style='color: red' class='a' id='b' xml:lang='en' title='t'>a</p>",
    "<p xmlns='http://www.w3.org/1999/xhtml'>a</p>",
    "<span><b>a</b></span>",
]
WRONG = [
    "<script>x()</script>a",
    "<form>a</form>",
    "<u>a</u>",
    "<P>a</P>",
    "<p onclick='x()'>a</p>",
    "<td>a</td>",
    "<ul>a</ul>",
    "<ul><p>a</p></ul>",
    "<p><div>a</div></p>",
    "<span><table><tr><td>a</td></tr></table></span>",
    "<a href='javascript:x()'>a</a>",
    "<a href=' JavaScript:x()'>a</a>",
    "<img src=''/>",
    "<a href='#nowhere'>a</a>",
    "a&nbsp;b",
    "a&bogus;b",
    "a & b",
    "a < b",
    "a<b>c",
    "a<b><i>c</b></i>",
    "<p class=x>a</p>",
    "<p xmlns='http://other'>a</p>",
    "a\x01b",
    "\ud800",
]


@pytest.mark.parametrize("inner", RIGHT)
def test_formatting(inner: str) -> None:
    assert narrative(f'<div xmlns="{NAMESPACE}">{inner}</div>', {"pic"}) == []


@pytest.mark.parametrize("inner", WRONG)
def test_what_is_no_formatting(inner: str) -> None:
    assert [fault.key for fault in narrative(f'<div xmlns="{NAMESPACE}">{inner}</div>')] == ["txt-1"]


def test_a_no_break_space_is_something_to_see() -> None:
    for space in ("\u00a0", "&#160;"):
        assert narrative(f'<div xmlns="{NAMESPACE}"><p>{space}</p></div>') == []


@pytest.mark.parametrize("inner", ["", " \n ", "<p> </p>", "<!-- a -->", "<br/>"])
def test_nothing_to_see(inner: str) -> None:
    assert [fault.key for fault in narrative(f'<div xmlns="{NAMESPACE}">{inner}</div>')] == ["txt-2"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "<div>a</div>",
        '<div xmlns="http://other">a</div>',
        f'<DIV xmlns="{NAMESPACE}">a</DIV>',
        f'<p xmlns="{NAMESPACE}">a</p>',
        f'<div xmlns="{NAMESPACE}">a',
        f'<div xmlns="{NAMESPACE}">a</div><div>b</div>',
        f'<?xml version="1.0"?><div xmlns="{NAMESPACE}">a</div>',
        f'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><div xmlns="{NAMESPACE}">&b;</div>',
    ],
)
def test_no_narrative(text: str) -> None:
    assert [fault.key for fault in narrative(text)] == ["txt-1"]
