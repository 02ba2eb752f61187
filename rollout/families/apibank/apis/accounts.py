"""Accounts: tokens, passwords and registration; bank accounts and stock prices."""

from __future__ import annotations

import string
from typing import Any

from rollout.families.apibank.apis.base import World, api, day, filled, found

_STATUS = ("status", "str", "success or failed")
_TOKEN = "The token of the user."
VERIFICATION_CODE = 970420
"""The code of every record."""


@api(
    "GetUserToken",
    ("token", "str", "The token of the user."),
    "Account",
    username="The name of the user.",
    password="The password of the user.",
)
def get_user_token(world: World, username: str, password: str) -> dict[str, str]:
    """Gets the token of a user."""
    account = found(world["Account"], username, "username")
    if account["password"] != password:
        raise ValueError("The password is incorrect.")
    return {"token": account["token"]}


@api(
    "RegisterUser",
    ("token", "str", "The token of the new user."),
    "Account",
    username="The name of the user.",
    password="The password of the user.",
    email="The email address of the user.",
)
def register_user(world: World, username: str, password: str, email: str) -> dict[str, str]:
    """Registers a user."""
    if username in world["Account"]:
        raise ValueError("The username already exists.")
    token = world.make_id(string.ascii_lowercase + string.digits, 32, "user", username, password, email)
    if isinstance(world.recorded, dict):
        token = world.recorded["token"]
    world["Account"][username] = {"password": password, "token": token, "email": email}
    return {"token": token}


@api(
    "ModifyPassword",
    _STATUS,
    "Account",
    token=_TOKEN,
    old_password="The present password.",
    new_password="The new password.",
)
def modify_password(world: World, token: str, old_password: str, new_password: str) -> dict[str, str]:
    """Changes the password of a user."""
    account = world["Account"][world.user_of(token)]
    if account["password"] != old_password:
        raise ValueError("The old password is incorrect.")
    account["password"] = new_password
    return {"status": "success"}


@api(
    "ForgotPassword",
    ("status", "str", "The verification code, or success."),
    "Account",
    status="'Forgot Password' to get a verification code by email, 'Verification Code' to set the new password.",
    username="The name of the user; for the status 'Forgot Password'.",
    email="The email address of the user; for the status 'Forgot Password'.",
    verification_code="The code that the user received; for the status 'Verification Code'.",
    new_password="The new password; for the status 'Verification Code'.",
)
def forgot_password(
    world: World,
    status: str,
    username: str | None = None,
    email: str | None = None,
    verification_code: int | None = None,
    new_password: str | None = None,
) -> Any:
    """Sends a verification code to a user who forgot the password, then sets a new password. Called twice."""
    if status == "Forgot Password":
        account = found(world["Account"], username or "", "username")
        if account["email"] != email:
            raise ValueError("The email is incorrect.")
        world.resetting = username
        return VERIFICATION_CODE
    if status != "Verification Code":
        raise ValueError("The status is neither 'Forgot Password' nor 'Verification Code'.")
    if world.resetting is None or verification_code != VERIFICATION_CODE:
        raise ValueError("The verification code is incorrect.")
    if username not in (None, world.resetting):
        raise ValueError("The verification code is that of another user.")
    world["Account"][world.resetting]["password"] = filled("new password", new_password or "")
    return "success"


@api("DeleteAccount", _STATUS, "Account", token=_TOKEN)
def delete_account(world: World, token: str) -> dict[str, str]:
    """Deletes the account of a user."""
    del world["Account"][world.user_of(token)]
    return {"status": "success"}


@api(
    "OpenBankAccount",
    _STATUS,
    "Bank",
    account="The name of the bank account.",
    password="The password of the bank account.",
    name="The name of its owner.",
)
def open_bank_account(world: World, account: str, password: str, name: str) -> str:
    """Opens a bank account. One of this name that exists keeps its balance, as in the records."""
    account = filled("account", account)
    filled("password", password)
    filled("name", name)
    world["Bank"].setdefault(account, {"balance": 0.0})
    return "success"


@api("QueryBalance", ("balance", "float", "The balance of the user."), "Account Bank", token=_TOKEN)
def query_balance(world: World, token: str) -> Any:
    """Queries the bank balance of a user."""
    return found(world["Bank"], world.user_of(token), "bank account")["balance"]


@api(
    "QueryStock",
    ("stock_price", "float", "The price of the stock."),
    "Stock",
    stock_code="The code of the stock.",
    date="The date of the price. Format: %Y-%m-%d",
)
def query_stock(world: World, stock_code: str, date: str) -> Any:
    """Queries the price of a stock on a date."""
    return found(found(world["Stock"], stock_code.strip(), "stock code"), day(date), "date")
