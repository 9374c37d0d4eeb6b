"""What version 2 of the tables adds to a SQLite file of version 1; no server had that one."""

from __future__ import annotations

from typing import Final

VERSION_2: Final = (
    """CREATE TABLE refused (
        writer TEXT NOT NULL,
        ticket BIGINT NOT NULL,
        code TEXT NOT NULL,
        text TEXT NOT NULL,
        time BIGINT NOT NULL,
        PRIMARY KEY (writer, ticket)
    )""",
    """CREATE TABLE sessions (
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        epoch BIGINT NOT NULL,
        owner TEXT NOT NULL,
        state TEXT NOT NULL,
        opening BIGINT NOT NULL,
        record BLOB NOT NULL,
        pending BIGINT NOT NULL,
        turns BIGINT NOT NULL,
        messages BIGINT NOT NULL,
        created BIGINT NOT NULL,
        active BIGINT NOT NULL,
        parent TEXT,
        code TEXT,
        PRIMARY KEY (number),
        UNIQUE (id)
    )""",
    "CREATE INDEX sessions_by_code ON sessions (code)",
    "CREATE INDEX sessions_by_parent ON sessions (parent)",
    "CREATE INDEX sessions_by_state ON sessions (state, active)",
    "CREATE INDEX sessions_with_turns ON sessions (number) WHERE pending > 0",
    """CREATE TABLE entries (
        session TEXT NOT NULL,
        number BIGINT NOT NULL,
        crc BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (session, number)
    )""",
    """CREATE TABLE snapshots (
        session TEXT NOT NULL,
        upto BIGINT NOT NULL,
        crc BIGINT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (session)
    )""",
    """CREATE TABLE turns (
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        session TEXT NOT NULL,
        state TEXT NOT NULL,
        request BLOB NOT NULL,
        outcome BLOB,
        trace TEXT NOT NULL,
        created BIGINT NOT NULL,
        ended BIGINT,
        PRIMARY KEY (number),
        UNIQUE (session, id)
    )""",
    "CREATE INDEX turns_by_end ON turns (ended)",
    "CREATE INDEX turns_by_session ON turns (session, number)",
    """CREATE TABLE approvals (
        number INTEGER NOT NULL,
        id TEXT NOT NULL,
        session TEXT NOT NULL,
        turn TEXT NOT NULL,
        call TEXT NOT NULL,
        tool TEXT NOT NULL,
        arguments BLOB NOT NULL,
        reason TEXT NOT NULL,
        state TEXT NOT NULL,
        created BIGINT NOT NULL,
        expires BIGINT,
        answered BIGINT,
        "by" TEXT NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (number),
        UNIQUE (id)
    )""",
    "CREATE INDEX approvals_by_answer ON approvals (answered)",
    "CREATE INDEX approvals_by_session ON approvals (session, number)",
    "CREATE INDEX approvals_by_state ON approvals (state, expires)",
    """CREATE TABLE blobs (
        hash TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (hash)
    )""",
    """CREATE TABLE blob_uses (
        session TEXT NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (session, hash)
    )""",
    "CREATE INDEX uses_by_hash ON blob_uses (hash)",
    """CREATE TABLE code (
        hash TEXT NOT NULL,
        body BLOB NOT NULL,
        time BIGINT NOT NULL,
        PRIMARY KEY (hash)
    )""",
    "ALTER TABLE damaged ADD COLUMN session TEXT",
)
