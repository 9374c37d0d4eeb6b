"""OpenAI's own client asks a model of the runtime, and a session, through the gateway."""

import asyncio

from openai import AsyncOpenAI

from llmgine.runtime import Runtime

GATEWAY = {"enabled": True, "port": 0}


async def main() -> None:
    async with Runtime.in_process({"gateway": GATEWAY}) as runtime:
        url = await runtime.gateway.url()
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none is needed on this machine") as client:
            answer = await client.chat.completions.create(
                model="scripted/echo", messages=[{"role": "user", "content": "Hello"}]
            )
            print(answer.choices[0].message.content)
            for prompt in ("one", "two"):
                await client.chat.completions.create(
                    model="scripted/echo",
                    messages=[{"role": "user", "content": prompt}],
                    extra_headers={"x-llmgine-session": "shop-7"},
                )
        kept = await runtime.sessions.history("shop-7")
        print([message.text for message in kept])


if __name__ == "__main__":
    asyncio.run(main())
