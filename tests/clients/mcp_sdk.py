"""Drives Lux's /mcp with a stock client, with and without the handshake of older revisions."""

import asyncio
import os

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

GROUP = int(os.environ["LUX_GROUP"])
CHANGING = {"start_repair", "propose_action", "run_agent", "draft_campaign", "send_message", "schedule_meeting"}

# Arguments for each tool that only reads.
READING = {
    "list_errors": {},
    "get_error": {"group_id": GROUP},
    "search_logs": {"text": "pricing"},
    "log_sources": {},
    "health": {},
    "diagnose": {},
    "list_probes": {},
    "repair_runs": {},
    "list_actions": {"group_id": GROUP},
    "contacts_summary": {},
    "find_contacts": {"source": "webinar"},
    "list_segments": {},
    "agent_report": {"agent": "analytics"},
    "project_status": {},
    "recent_calls": {},
    "integration_status": {},
}


class Agent:
    def __init__(self, token, mode):
        self.http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
        url = os.environ["LUX_BASE"] + "/mcp"
        self.client = Client(streamable_http_client(url, http_client=self.http), mode=mode)

    async def __aenter__(self):
        await self.http.__aenter__()
        return await self.client.__aenter__()

    async def __aexit__(self, *error):
        await self.client.__aexit__(*error)
        await self.http.__aexit__(*error)


def words(result):
    return "\n".join(block.text for block in result.content)


async def reading(lux):
    assert lux.server_info.name == "lux", lux.server_info
    assert "never an instruction" in lux.instructions, lux.instructions
    assert lux.server_capabilities.resources is None, lux.server_capabilities
    assert lux.server_capabilities.prompts is None, lux.server_capabilities
    tools = {tool.name: tool for tool in (await lux.list_tools()).tools}
    assert not CHANGING & set(tools), tools.keys()
    for tool in tools.values():
        assert tool.annotations.read_only_hint is True, tool
        assert len(tool.description) > 20 and tool.input_schema["type"] == "object", tool
    left = set(tools) - set(READING) - {"run_probe", "read_log_around"}
    assert not left, f"say here with what to call {left}"
    for name, arguments in READING.items():
        result = await lux.call_tool(name, arguments)
        # Whether there is an action for the cause depends on the cause being known.
        assert not result.is_error or name == "list_actions", (name, result)
        if result.is_error:
            continue
        found = result.structured_content
        assert found["summary"] and found["summary"] in words(result), (name, result)
        if found["items"]:
            assert "<data-" in words(result), (name, result)

    found = await lux.call_tool("search_logs", {"text": "pricing"})
    [item] = found.structured_content["items"]
    assert item["source"] == "app" and item["line"] == 1, item
    assert "KeyError: 'sku' while pricing" in item["text"], item
    # A secret does not leave, and what looks like a program's own marks is no more.
    assert "AKIAIOSFODNN7EXAMPLE" not in words(found) + str(item), found
    assert "<|im_start|>" not in words(found) + str(item), found

    around = await lux.call_tool("read_log_around", {"id": os.environ["LUX_RECORD"]})
    assert around.structured_content["items"], around
    probe = await lux.call_tool("run_probe", {"name": "home"})
    assert "home" in probe.structured_content["summary"], probe

    refused = await lux.call_tool("start_repair", {})
    assert refused.is_error and "operator" in words(refused), refused
    wrong = await lux.call_tool("get_error", {"group_id": "x"})
    assert wrong.is_error and "arguments" in words(wrong), wrong
    nobody = await lux.call_tool("get_error", {"group_id": 987654321})
    assert nobody.is_error, nobody
    try:
        await lux.call_tool("run_shell", {"command": "id"})
        raise AssertionError("there is no such tool")
    except MCPError as error:
        assert error.code == -32602 and "list_errors" in error.message, error


async def changing(lux):
    tools = {tool.name: tool for tool in (await lux.list_tools()).tools}
    assert CHANGING <= set(tools), tools.keys()
    assert all(tools[name].annotations.read_only_hint is False for name in CHANGING), tools
    # Nothing is on the allow-list: an operator's token does not make it longer.
    proposed = await lux.call_tool("propose_action", {"action": "rm", "group_id": GROUP})
    assert proposed.is_error, proposed
    started = await lux.call_tool("start_repair", {"group_ids": [GROUP]})
    assert not started.is_error and started.structured_content["run_id"] > 0, started


async def stranger():
    try:
        async with Agent("lux_" + "A" * 43, "legacy") as lux:
            await lux.list_tools()
    except BaseException as error:
        def leaves(error):
            inner = getattr(error, "exceptions", None)
            return [leaf for one in inner for leaf in leaves(one)] if inner else [error]
        said = " ".join(repr(leaf) for leaf in leaves(error))
        assert "AssertionError" not in said, said
        return
    raise AssertionError("a token that nobody gave was taken")


async def main():
    for mode in ["auto", "legacy"]:
        async with Agent(os.environ["LUX_READ"], mode) as lux:
            await reading(lux)
        async with Agent(os.environ["LUX_OPERATOR"], mode) as lux:
            await changing(lux)
    await stranger()


asyncio.run(main())
