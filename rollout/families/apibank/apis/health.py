"""Appointments at a hospital, health data, and what symptoms may mean."""

from __future__ import annotations

import string
from typing import Any

from rollout.families.apibank.apis.base import World, api, day, filled, found, moment

_STATUS = ("status", "str", "success or failed")
_TIME = "Format: %Y-%m-%d %H:%M:%S"


@api(
    "AppointmentRegistration",
    ("appointment_id", "str", "The id of the appointment."),
    "Appointments",
    patient_name="The name of the patient.",
    date="The date of the appointment. Format: %Y-%m-%d",
    doctor_name="The name of the doctor.",
)
def register_appointment(world: World, patient_name: str, date: str, doctor_name: str) -> str:
    """Registers an appointment at a hospital."""
    patient, doctor = filled("patient name", patient_name), filled("doctor name", doctor_name)
    key = world.recorded if isinstance(world.recorded, str) else None
    key = key or world.make_id(string.digits, 8, "appointment", patient, day(date), doctor)
    world["Appointments"][key] = {"patient_name": patient, "date": day(date), "doctor_name": doctor}
    return key


@api(
    "QueryRegistration",
    ("appointments", "list", "The appointments by id, each with patient, date and doctor."),
    "Appointments",
    patient_name="The name of the patient.",
    date="The date of the appointment. Format: %Y-%m-%d",
)
def query_registration(world: World, patient_name: str, date: str) -> Any:
    """Queries the appointments of a patient on a date."""
    wanted = (filled("patient name", patient_name), day(date))
    items = world["Appointments"].items()
    chosen = {key: item for key, item in items if (item["patient_name"], item["date"]) == wanted}
    if not chosen:
        raise ValueError("No appointments found.")
    return chosen


@api(
    "ModifyRegistration",
    _STATUS,
    "Appointments",
    appointment_id="The id of the appointment.",
    new_appointment_date="The new date. Format: %Y-%m-%d",
    new_appointment_doctor="The new doctor.",
)
def modify_registration(
    world: World,
    appointment_id: str,
    new_appointment_date: str | None = None,
    new_appointment_doctor: str | None = None,
) -> str:
    """Changes date and doctor of an appointment."""
    item = found(world["Appointments"], appointment_id.strip(), "appointment ID")
    changes = {}
    if new_appointment_date is not None:
        changes["date"] = day(new_appointment_date)
    if new_appointment_doctor is not None:
        changes["doctor_name"] = filled("doctor name", new_appointment_doctor)
    if all(item[name] == value for name, value in changes.items()):
        raise ValueError("No modification is made.")
    item.update(changes)
    return "success"


@api("CancelRegistration", _STATUS, "Appointments", appointment_id="The id of the appointment.")
def cancel_registration(world: World, appointment_id: str) -> str:
    """Cancels an appointment."""
    found(world["Appointments"], appointment_id.strip(), "appointment ID")
    del world["Appointments"][appointment_id.strip()]
    return "success"


@api(
    "RecordHealthData",
    _STATUS,
    "HealthData",
    user_id="The id of the user; upper and lower case are the same.",
    time=f"The time of the data. {_TIME}",
    health_data="The data, such as [{'name': 'blood_pressure', 'value': '120/80'}, {'name': 'heart_rate', "
    "'value': '80'}]",
)
def record_health_data(world: World, user_id: str, time: str, health_data: list[dict[str, Any]]) -> str:
    """Records health data of a user at a time."""
    user, when = filled("user id", user_id).upper(), moment(time)
    if not health_data or not all(isinstance(one, dict) and {"name", "value"} <= set(one) for one in health_data):
        raise ValueError("The health data has an invalid format.")
    names = [one["name"] for one in health_data]
    if len(set(map(str, names))) < len(names):
        raise ValueError("The health data cannot contain duplicate items.")
    records = world["HealthData"].setdefault(user, [])
    entry = next((one for one in records if one["time"] == when), None)
    if entry is None:
        records.append(entry := {"time": when})
    entry.update((str(one["name"]), one["value"]) for one in health_data)
    return "success"


@api(
    "QueryHealthData",
    ("health_data", "list", "The health data of the user in this time."),
    "HealthData",
    user_id="The id of the user; upper and lower case are the same.",
    start_time=f"The start of the time. {_TIME}",
    end_time=f"The end of the time. {_TIME}",
)
def query_health_data(world: World, user_id: str, start_time: str, end_time: str) -> Any:
    """Queries the recorded health data of a user between two times."""
    records = found(world["HealthData"], filled("user id", user_id).upper(), "user id")
    start, end = moment(start_time), moment(end_time)
    return [one for one in records if start <= one["time"] <= end]


@api(
    "SymptomSearch",
    ("results", "list", "The possible diseases, each with name and description."),
    "Symptom",
    symptom="The symptom.",
)
def search_symptom(world: World, symptom: str) -> Any:
    """Searches for the diseases that a symptom may mean."""
    return _diseases(world, symptom, "description")


@api(
    "EmergencyKnowledge",
    ("results", "list", "The possible diseases, each with name and first aid."),
    "Symptom",
    symptom="The symptom.",
)
def search_first_aid(world: World, symptom: str) -> Any:
    """Searches for first aid against a symptom."""
    return _diseases(world, symptom, "aid")


def _diseases(world: World, symptom: str, shown: str) -> list[dict[str, str]]:
    items = found(world["Symptom"], filled("symptom", symptom).lower(), "symptom")
    return [{"name": item["name"], shown: item[shown]} for item in items]
