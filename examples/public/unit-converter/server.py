"""An MCP server over standard input and output, without a library."""

import json
import sys

TOOLS = [
    {
        "name": "to_celsius",
        "description": "Converts degrees Fahrenheit to degrees Celsius.",
        "inputSchema": {
            "type": "object",
            "properties": {"fahrenheit": {"type": "number", "description": "Degrees Fahrenheit."}},
            "required": ["fahrenheit"],
        },
    }
]


def answer(method, given):
    if method == "initialize":
        information = {"name": "unit-converter", "version": "1.0.0"}
        return {"protocolVersion": given["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": information}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call" and given["name"] == "to_celsius":
        celsius = round((given["arguments"]["fahrenheit"] - 32) * 5 / 9, 2)
        return {"content": [{"type": "text", "text": str(celsius)}], "structuredContent": {"celsius": celsius}}
    raise ValueError(f"unknown method {method}")


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        reply["result"] = answer(message["method"], message.get("params", {}))
    except (KeyError, TypeError, ValueError) as error:
        reply["error"] = {"code": -32602, "message": str(error)}
    print(json.dumps(reply), flush=True)
