"""Takes changes of accounts, gives an event when a credit limit goes over the configured one."""

from decimal import Decimal

from sluicegate import Reject, config, consumer, log, outbox, state, token


@consumer
def handle(event, delivery):
    account = event.record()
    limit = account.decimal("creditlimit")
    if limit is None:
        return
    if limit <= Decimal(config.get("limit")):
        log.info(f"{account.id} is within the limit")
        return
    if event.environment is None:
        raise Reject("the source names no environment")
    key = f"{event.environment}/{delivery.partition_key}"
    seen = state.get_json(key, {"raised": 0})
    seen["raised"] += 1
    state.put_json(key, seen)
    outbox.emit(
        f"d365.custom.{token(event.environment)}.business.{{name}}.raised",
        "d365.custom.{{name}}.raised",
        {"name": account.text("name"), "limit": limit, "times": seen["raised"]},
        about=event.subject,
    )
