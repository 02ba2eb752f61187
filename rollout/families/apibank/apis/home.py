"""Scenes and timed switches of a house, music, hotel rooms and email."""

from __future__ import annotations

import re
from typing import Any

from rollout.families.apibank.apis.base import World, api, day, filled, found, moment, next_key

_STATUS = ("status", "str", "success or failed")
_SWITCH_TIME = "The time of the switch. Format: %Y-%m-%d %H:%M:%S"
DEVICES = {"10000025": "range hood"}
"""Number of a device in the records → its name in the database."""
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@api(
    "QueryScene",
    ("devices", "list", "The smart devices of the scene, each with name and description."),
    "Scenes",
    name="The name of the scene.",
)
def query_scene(world: World, name: str) -> Any:
    """Queries the smart devices of a scene."""
    return found(world["Scenes"], filled("name", name).lower(), "scene")


@api("DeleteScene", _STATUS, "Scenes", name="The name of the scene.")
def delete_scene(world: World, name: str) -> str:
    """Deletes a scene."""
    found(world["Scenes"], filled("name", name).lower(), "scene")
    del world["Scenes"][name.strip().lower()]
    return "success"


@api(
    "TimedSwitch",
    _STATUS,
    "TimeSwitch",
    device_id="The id of the smart device.",
    time=_SWITCH_TIME,
    on="Whether the device is switched on or off.",
)
def set_timed_switch(world: World, device_id: str, time: str, on: bool) -> str:
    """Switches a smart device on or off at a time."""
    switches = world["TimeSwitch"].setdefault(_device(device_id), [])
    switches[:] = [one for one in switches if one["time"] != moment(time)]
    switches.append({"time": moment(time), "on": on})
    return "success"


@api("CancelTimedSwitch", _STATUS, "TimeSwitch", device_id="The id of the smart device.", time=_SWITCH_TIME)
def cancel_timed_switch(world: World, device_id: str, time: str) -> str:
    """Cancels a timed switch of a smart device."""
    switches = found(world["TimeSwitch"], _device(device_id), "device")
    kept = [one for one in switches if one["time"] != moment(time)]
    if len(kept) == len(switches):
        raise ValueError("The time is not set for this device.")
    switches[:] = kept
    return "success"


def _device(device_id: str) -> str:
    name = filled("device id", device_id).lower()
    return DEVICES.get(name, name)


@api("PlayMusic", ("url", "str", "The address of the music."), music_name="The name of the music.")
def play_music(world: World, music_name: str) -> str:
    """Plays music."""
    return f"music://{filled('music name', music_name).lower()}"


@api(
    "BookHotel",
    ("order_id", "str", "The id of the order."),
    "Hotel",
    hotel_name="The name of the hotel.",
    check_in_time="The day of arrival. Format: %Y-%m-%d",
    check_out_time="The day of departure. Format: %Y-%m-%d",
    room_count="The number of rooms.",
    adult_count="The number of adults.",
    child_count="The number of children.",
)
def book_hotel(
    world: World,
    hotel_name: str,
    check_in_time: str,
    check_out_time: str,
    room_count: int,
    adult_count: int,
    child_count: int,
) -> str:
    """Orders hotel rooms; more than two adults need two rooms."""
    arrival, departure = day(check_in_time), day(check_out_time)
    if arrival >= departure:
        raise ValueError("The check-in time is not before the check-out time.")
    if room_count < 1 or adult_count < 1 or child_count < 0 or (adult_count > 2 and room_count < 2):
        raise ValueError("The numbers of rooms, adults and children do not fit.")
    key = next_key(world["Hotel"])
    world["Hotel"][key] = {
        "hotel_name": filled("hotel name", hotel_name),
        "check_in_time": arrival,
        "check_out_time": departure,
        "room_count": room_count,
        "adult_count": adult_count,
        "child_count": child_count,
    }
    return key


@api(
    "SendEmail",
    _STATUS,
    receiver="The email address of the receiver.",
    subject="The subject of the email.",
    content="The content of the email.",
)
def send_email(world: World, receiver: str, subject: str, content: str) -> str:
    """Sends an email."""
    if not _EMAIL.fullmatch(receiver.strip()):
        raise ValueError("The email address of the receiver is invalid.")
    filled("subject", subject)
    filled("content", content)
    return "success"
