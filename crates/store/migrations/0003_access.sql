-- A target that may be opened. name_key is the name as it is compared: lower case.
-- tags: JSON array. policy: JSON object. secret: the credential, encrypted under the master key.
-- host_key: the pinned public key in OpenSSH's text form, or its SHA256: fingerprint.
CREATE TABLE connections (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    protocol TEXT NOT NULL,
    host TEXT NOT NULL,
    port BIGINT NOT NULL,
    username TEXT NOT NULL,
    auth TEXT NOT NULL,
    secret TEXT,
    host_key TEXT,
    host_key_at BIGINT,
    host_key_by TEXT,
    owner_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    folder TEXT NOT NULL,
    tags TEXT NOT NULL,
    notes TEXT NOT NULL,
    policy TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX connections_folder ON connections (folder, name_key);
CREATE INDEX connections_owner ON connections (owner_id);

-- grantee_kind: user or role; grantee: the user's id or the role's name.
CREATE TABLE connection_grants (
    connection_id TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    grantee_kind TEXT NOT NULL,
    grantee TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (connection_id, grantee_kind, grantee)
);

CREATE INDEX connection_grants_grantee ON connection_grants (grantee_kind, grantee);

-- Public keys with which users log in over SSH. public_key: OpenSSH's text form without the comment.
CREATE TABLE public_keys (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (user_id, fingerprint)
);

CREATE INDEX public_keys_fingerprint ON public_keys (fingerprint);

-- A running server. url: where other nodes reach its HTTP API.
CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    stopped_at BIGINT
);

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    until_at BIGINT NOT NULL
);

-- One WebSocket admission. hash: SHA-256 of the secret, in hex. session_id: to watch or rejoin.
CREATE TABLE tickets (
    hash TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose TEXT NOT NULL,
    connection_id TEXT,
    session_id TEXT,
    expires_at BIGINT NOT NULL
);

-- Names are kept as they were: users and connections may go, the history stays.
-- sha_in, sha_out: SHA-256 of what was sent to and came from a target without a terminal, in hex.
CREATE TABLE access_sessions (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    connection_name TEXT NOT NULL,
    protocol TEXT NOT NULL,
    purpose TEXT NOT NULL,
    command TEXT NOT NULL,
    target TEXT NOT NULL,
    client_kind TEXT NOT NULL,
    client_address TEXT NOT NULL,
    node TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    end_reason TEXT,
    end_detail TEXT NOT NULL,
    exit_status BIGINT,
    exit_signal TEXT,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    sha_in TEXT,
    sha_out TEXT,
    recording TEXT NOT NULL,
    recording_bytes BIGINT NOT NULL,
    command_count BIGINT NOT NULL,
    legal_hold BIGINT NOT NULL
);

CREATE INDEX access_sessions_started ON access_sessions (started_at, id);
CREATE INDEX access_sessions_user ON access_sessions (user_id, started_at, id);
CREATE INDEX access_sessions_connection ON access_sessions (connection_id, started_at, id);
CREATE INDEX access_sessions_protocol ON access_sessions (protocol, started_at, id);
CREATE INDEX access_sessions_open ON access_sessions (node, started_at, id) WHERE ended_at IS NULL;
CREATE INDEX access_sessions_open_connection ON access_sessions (connection_id, user_id) WHERE ended_at IS NULL;

-- How many rows access_sessions has, so that no list has to count them.
CREATE TABLE access_session_counts (
    user_id TEXT NOT NULL,
    protocol TEXT NOT NULL,
    sessions BIGINT NOT NULL,
    PRIMARY KEY (user_id, protocol)
);

-- elapsed_ms: since the session's start, pointing into the recording. until_ms: when it was over.
CREATE TABLE commands (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES access_sessions (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    elapsed_ms BIGINT NOT NULL,
    until_ms BIGINT,
    command TEXT NOT NULL,
    output_preview TEXT NOT NULL,
    source TEXT NOT NULL,
    confidence TEXT NOT NULL,
    kind TEXT NOT NULL,
    exit_code BIGINT
);

CREATE INDEX commands_session ON commands (session_id, elapsed_ms, id);
