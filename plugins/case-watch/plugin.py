"""Takes messages about cases, gives each change a number and says from what to what it went."""

from sluicegate import Reject, config, consumer, log, outbox, state, token

# What is followed: the column, and how it is called in the event.
FOLLOWED = {"prioritycode": "priority", "statuscode": "status"}


@consumer
def handle(event, delivery):
    case = event.record()
    if case.id is None:
        raise Reject("the case has no id: PrimaryEntityId and Target.Id are missing or zero")
    if event.environment is None:
        raise Reject(f"no environment in the source {event.source}")
    # Environments that were copied from one another share their records' ids.
    key = f"{event.environment}/case/{case.id.lower()}"
    known = state.get_json(key, {"changes": 0})
    before = {name: known.get(name) for name in FOLLOWED.values()}
    after = dict(before)
    for column, name in FOLLOWED.items():
        if case.changed(column):
            after[name] = case.choice(column)
    change = known["changes"] + 1
    if case.message == "Delete":
        state.delete(key)
    else:
        state.put_json(key, {"changes": change, **after})
    is_urgent = str(after["priority"]) in config.get("urgent").replace(" ", "").split(",")
    if is_urgent and after["priority"] != before["priority"]:
        log.warn(f"case {case.id} is urgent now")
    outbox.emit(
        f"d365.custom.{token(event.environment)}.business.case.changed",
        "d365.custom.case.changed",
        {
            "case": case.id,
            "change": change,
            "message": case.message,
            "before": before,
            "after": after,
            "urgent": is_urgent,
        },
        about=f"case/{case.id.lower()}",
    )
