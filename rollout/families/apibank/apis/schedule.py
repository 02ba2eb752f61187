"""Agenda items, alarms, meetings and reminders of a user, who is named by a token.

An item is found by its text or by its time, whichever an item of the user has, in the order of the database: the
agenda holds dates where calls name a time of day.
"""

from __future__ import annotations

from typing import Any

from rollout.families.apibank.apis.base import World, api, filled, moment, next_key

_STATUS = ("status", "str", "success or failed")
_TOKEN = "The token of the user."
_TIME = "Format: %Y-%m-%d %H:%M:%S"
_AGENDA = {"token": _TOKEN, "content": "What the agenda item is about.", "location": "Where it takes place."}
_REMINDER = {"token": _TOKEN, "content": "What the user is reminded of.", "time": f"When. {_TIME}"}
_MEETING = {
    "token": _TOKEN,
    "meeting_topic": "The topic of the meeting, at most 50 characters.",
    "start_time": f"The start of the meeting. {_TIME}",
    "end_time": f"The end of the meeting. {_TIME}",
    "location": "The place of the meeting, at most 100 characters.",
    "attendees": "Those who attend: names, positions and other information.",
}


def _find(world: World, database: str, token: str, **wanted: str) -> tuple[str, dict[str, Any]]:
    """Key and item of the first item of the user that has one of the values. Raises ValueError when there is none."""
    user = world.user_of(token)
    for key, item in world[database].items():
        if item["username"] == user and any(item[name] == value for name, value in wanted.items()):
            return key, item
    described = " or ".join(f"{name} {value}" for name, value in wanted.items())
    raise ValueError(f"You have no {database.lower()} with {described}.")


def _add(world: World, database: str, token: str, **item: Any) -> str:
    user = world.user_of(token)
    world[database][next_key(world[database])] = {**item, "username": user}
    return "success"


@api("AddAgenda", _STATUS, "Account Agenda", time=f"The time of the agenda item. {_TIME}", **_AGENDA)
def add_agenda(world: World, token: str, content: str, time: str, location: str) -> str:
    """Adds an item to the agenda of a user."""
    return _add(world, "Agenda", token, content=filled("content", content), time=moment(time), location=location)


@api("ModifyAgenda", _STATUS, "Account Agenda", time=f"The new time of the agenda item. {_TIME}", **_AGENDA)
def modify_agenda(world: World, token: str, content: str, time: str, location: str) -> str:
    """Changes an item of the agenda of a user."""
    _, item = _find(world, "Agenda", token, content=content, time=moment(time))
    item.update(content=content, time=moment(time), location=location)
    return "success"


@api("DeleteAgenda", _STATUS, "Account Agenda", time=f"The time of the agenda item. {_TIME}", **_AGENDA)
def delete_agenda(world: World, token: str, content: str, time: str, location: str) -> str:
    """Deletes an item of the agenda of a user."""
    del world["Agenda"][_find(world, "Agenda", token, content=content, time=moment(time))[0]]
    return "success"


@api(
    "QueryAgenda",
    ("info", "json", "The item, with the name of the user and the time."),
    "Account Agenda",
    time=f"The time of the agenda item. {_TIME}",
    **_AGENDA,
)
def query_agenda(world: World, token: str, content: str, time: str, location: str) -> Any:
    """Queries an item of the agenda of a user."""
    return _find(world, "Agenda", token, content=content, time=moment(time))[1]


@api("AddAlarm", _STATUS, "Account Alarm", token=_TOKEN, time=f"The time of the alarm. {_TIME}")
def add_alarm(world: World, token: str, time: str) -> str:
    """Sets an alarm of a user."""
    return _add(world, "Alarm", token, time=moment(time))


@api(
    "ModifyAlarm",
    _STATUS,
    "Account Alarm",
    token=_TOKEN,
    from_time=f"The present time of the alarm. {_TIME}",
    to_time=f"The new time of the alarm. {_TIME}",
)
def modify_alarm(world: World, token: str, from_time: str, to_time: str) -> str:
    """Changes the time of an alarm of a user."""
    _find(world, "Alarm", token, time=moment(from_time))[1]["time"] = moment(to_time)
    return "success"


@api("DeleteAlarm", _STATUS, "Account Alarm", token=_TOKEN, time=f"The time of the alarm. {_TIME}")
def delete_alarm(world: World, token: str, time: str) -> str:
    """Removes an alarm of a user."""
    del world["Alarm"][_find(world, "Alarm", token, time=moment(time))[0]]
    return "success"


@api(
    "QueryAlarm",
    ("info", "json", "The alarm, with the name of the user and the time."),
    "Account Alarm",
    token=_TOKEN,
    time=f"The time of the alarm. {_TIME}",
)
def query_alarm(world: World, token: str, time: str) -> Any:
    """Queries an alarm of a user."""
    return _find(world, "Alarm", token, time=moment(time))[1]


@api("AddMeeting", _STATUS, "Account Meeting", **_MEETING)
def add_meeting(
    world: World, token: str, meeting_topic: str, start_time: str, end_time: str, location: str, attendees: list[str]
) -> str:
    """Reserves a meeting for a user."""
    start, end = moment(start_time), moment(end_time)
    if start >= end:
        raise ValueError("The start time is not before the end time.")
    topic = filled("meeting topic", meeting_topic)
    return _add(
        world, "Meeting", token,
        meeting_topic=topic, start_time=start, end_time=end, location=location, attendees=attendees,
    )  # fmt: skip


@api("ModifyMeeting", _STATUS, "Account Meeting", **_MEETING)
def modify_meeting(
    world: World, token: str, meeting_topic: str, start_time: str, end_time: str, location: str, attendees: list[str]
) -> str:
    """Changes a meeting of a user."""
    start, end = moment(start_time), moment(end_time)
    _, item = _find(world, "Meeting", token, meeting_topic=meeting_topic, start_time=start)
    item.update(meeting_topic=meeting_topic, start_time=start, end_time=end, location=location, attendees=attendees)
    return "success"


@api("DeleteMeeting", _STATUS, "Account Meeting", **_MEETING)
def delete_meeting(
    world: World, token: str, meeting_topic: str, start_time: str, end_time: str, location: str, attendees: list[str]
) -> str:
    """Deletes a meeting of a user."""
    moment(end_time)
    found = _find(world, "Meeting", token, meeting_topic=meeting_topic, start_time=moment(start_time))
    del world["Meeting"][found[0]]
    return "success"


_MEETING_INFO = ("meeting_info", "json", "The meeting.")


@api("QueryMeeting", _MEETING_INFO, "Account Meeting", **_MEETING)
def query_meeting(
    world: World, token: str, meeting_topic: str, start_time: str, end_time: str, location: str, attendees: list[str]
) -> Any:
    """Queries a meeting of a user."""
    moment(end_time)
    return _find(world, "Meeting", token, meeting_topic=meeting_topic, start_time=moment(start_time))[1]


@api("AddReminder", _STATUS, "Account Reminder", **_REMINDER)
def add_reminder(world: World, token: str, content: str, time: str) -> str:
    """Adds a reminder of a user."""
    return _add(world, "Reminder", token, content=filled("content", content), time=moment(time))


@api("ModifyReminder", _STATUS, "Account Reminder", **_REMINDER)
def modify_reminder(world: World, token: str, content: str, time: str) -> str:
    """Changes the text or the time of a reminder of a user."""
    _, item = _find(world, "Reminder", token, content=filled("content", content), time=moment(time))
    item.update(content=content, time=moment(time))
    return "success"


@api("DeleteReminder", _STATUS, "Account Reminder", **_REMINDER)
def delete_reminder(world: World, token: str, content: str, time: str) -> str:
    """Deletes a reminder of a user."""
    del world["Reminder"][_find(world, "Reminder", token, content=content, time=moment(time))[0]]
    return "success"


@api("QueryReminder", ("info", "json", "The reminder, with the name of the user."), "Account Reminder", **_REMINDER)
def query_reminder(world: World, token: str, content: str, time: str) -> Any:
    """Queries a reminder of a user."""
    return _find(world, "Reminder", token, content=content, time=moment(time))[1]
