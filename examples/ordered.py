"""Steps of three orders, delivered side by side, but each order's steps in order."""

from py_agent import Agent, listen_for

agent = Agent(":memory:")


def orders(handler):
    steps = ("placed", "paid", "packed", "sent")
    handler.publish_many(
        ("order.step", f"{order}/{number}", {"order": order, "step": step})
        for number, step in enumerate(steps)
        for order in ("A", "B", "C")
    )


@listen_for({"event_type": ("==", "order.step")}, ordered_by="data.order", concurrency=3)
def follow(event):
    print(event.data["order"], event.data["step"])


agent.add_job(orders, every="1 day")
agent.add_listener(follow)
agent.go()
