"""Who is a teacher by login, if the server has one."""

import pytest
import streamlit as st

from app.server import visitors
from app.server.visitors import has_teacher, network, visitor

MAIL = "Miss@School.org"


@pytest.fixture
def user(monkeypatch):
    """Change who is logged in, on a server with a login whose teacher is miss@school.org."""
    monkeypatch.setattr(visitors, "has_login", lambda: True)
    monkeypatch.setenv("MIXNN_TEACHERS", "head@school.org, miss@school.org")
    known: dict = {}
    monkeypatch.setattr(st, "user", known)
    monkeypatch.setattr(st, "session_state", {})

    return known


def test_a_verified_address_of_the_list_is_a_teacher(user):
    user.update(is_logged_in=True, email=MAIL, email_verified=True)
    assert visitor().teacher
    assert has_teacher()


@pytest.mark.parametrize(
    "more",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"is_logged_in": False},
        {"email": "pupil@school.org"},
        {"email": ""},
    ],
)
def test_no_one_else_is(user, more):
    user.update({"is_logged_in": True, "email": MAIL, "email_verified": True} | more)
    assert not visitor().teacher


def test_without_a_list_or_a_login_nothing_changes(user, monkeypatch):
    user.update(is_logged_in=True, email=MAIL, email_verified=True)
    monkeypatch.setattr(visitors, "has_login", lambda: False)
    assert not visitor().teacher
    assert not has_teacher()
    monkeypatch.setattr(visitors, "has_login", lambda: True)
    monkeypatch.setenv("MIXNN_TEACHERS", " , ")
    assert not visitor().teacher


def test_no_secrets_file_means_no_login():
    assert not visitors.has_login()


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", ""),
        ("127.0.0.1", ""),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_limits_by_address_count_the_64_of_ipv6(address, counted):
    assert network(address) == counted


def test_a_visitor_has_the_network(monkeypatch):
    monkeypatch.setattr(type(st.context), "ip_address", "2001:db8::7")
    assert visitor().address == "2001:db8::/64"
