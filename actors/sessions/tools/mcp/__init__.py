"""Tools that an MCP server offers: the server as declared, its connection, and what its words become."""
