-- What a protocol needs beyond host and port, as a JSON object.
ALTER TABLE connections ADD COLUMN options TEXT NOT NULL DEFAULT '{}';

-- A user moving files on a connection. Names are kept as they were, as in access_sessions.
-- access_session_id: the access session whose channel carried it. bytes_up: to the target; bytes_down: from it.
CREATE TABLE file_sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    connection_name TEXT NOT NULL,
    protocol TEXT NOT NULL,
    target TEXT NOT NULL,
    client_kind TEXT NOT NULL,
    client_address TEXT NOT NULL,
    node TEXT NOT NULL,
    access_session_id TEXT,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    end_reason TEXT,
    end_detail TEXT NOT NULL,
    event_count BIGINT NOT NULL,
    failed_count BIGINT NOT NULL,
    bytes_up BIGINT NOT NULL,
    bytes_down BIGINT NOT NULL,
    legal_hold BIGINT NOT NULL
);

CREATE INDEX file_sessions_started ON file_sessions (started_at, id);
CREATE INDEX file_sessions_user ON file_sessions (user_id, started_at, id);
CREATE INDEX file_sessions_connection ON file_sessions (connection_id, started_at, id);
CREATE INDEX file_sessions_protocol ON file_sessions (protocol, started_at, id);
CREATE INDEX file_sessions_open ON file_sessions (node, started_at, id) WHERE ended_at IS NULL;
CREATE INDEX file_sessions_access ON file_sessions (access_session_id) WHERE access_session_id IS NOT NULL;

-- How many rows file_sessions has, so that no list has to count them.
CREATE TABLE file_session_counts (
    user_id TEXT NOT NULL,
    protocol TEXT NOT NULL,
    sessions BIGINT NOT NULL,
    PRIMARY KEY (user_id, protocol)
);

-- at: when the operation was over, so that a session's events are only ever added at its end.
-- from_byte: where in the file moving began. sha256: of a whole transfer, in hex.
CREATE TABLE file_events (
    session_id TEXT NOT NULL REFERENCES file_sessions (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    id TEXT NOT NULL,
    action TEXT NOT NULL,
    path TEXT NOT NULL,
    new_path TEXT,
    bytes BIGINT,
    from_byte BIGINT NOT NULL,
    entries BIGINT,
    sha256 TEXT,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (session_id, at, id)
);

-- A file that a browser sends in pieces, which may take longer than the server runs.
-- path, temporary: base64url of the bytes that the target knows. received: how much of size is there.
-- sha_state: the hash so far, where it can be gone on with. options: JSON object.
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    connection_id TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    file_session_id TEXT NOT NULL,
    tab TEXT NOT NULL,
    path TEXT NOT NULL,
    temporary TEXT NOT NULL,
    size BIGINT NOT NULL,
    received BIGINT NOT NULL,
    sha_state TEXT,
    options TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX uploads_user ON uploads (user_id, connection_id, created_at, id);
CREATE INDEX uploads_updated ON uploads (updated_at, id);
