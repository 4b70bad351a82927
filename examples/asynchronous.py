"""A job and a listener written with async def; both run on the agent's one loop thread."""

import asyncio

from py_agent import Agent, listen_for

agent = Agent(":memory:")


async def ask(handler):
    await asyncio.sleep(0)
    handler.publish("question.asked", "q-1", {"text": "What time is it?"})


@listen_for({"event_type": ("==", "question.asked")}, timeout=5)
async def answer(event):
    await asyncio.sleep(0)
    print(f"{event.data['text']} Time for tea.")


agent.add_job(ask, every="1 hour")
agent.add_listener(answer)
agent.go()
