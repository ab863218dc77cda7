-- number is assigned by the server; it keeps the hot tables narrow.
CREATE TABLE devices (
    number INTEGER PRIMARY KEY,
    mac TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    notes TEXT NOT NULL,
    vendor TEXT NOT NULL,
    hostname TEXT NOT NULL,
    ip4 TEXT,
    ip6 TEXT,
    grace_us BIGINT,
    alert_down BIGINT NOT NULL,
    may_sleep BIGINT NOT NULL,
    archived BIGINT NOT NULL,
    is_new BIGINT NOT NULL,
    -- down: the device left while it was to be alerted about, and has not returned.
    down BIGINT NOT NULL,
    first_seen_at BIGINT,
    created_at BIGINT NOT NULL,
    -- Sessions of earlier events were deleted by hand: no replay brings them back.
    sessions_from_seq BIGINT NOT NULL,
    sessions_from_at BIGINT NOT NULL
);

-- When each device was last seen; rewritten every minute for whole networks, so kept narrow.
CREATE TABLE device_seen (
    device INTEGER PRIMARY KEY REFERENCES devices (number) ON DELETE CASCADE,
    seen_at BIGINT NOT NULL
);

CREATE TABLE device_addresses (
    device INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    ip TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    PRIMARY KEY (device, ip)
);

CREATE INDEX device_addresses_ip ON device_addresses (ip);

-- settings: JSON object {interface?, cidr?, path?, format?}. last_seq: the last batch that a pusher numbered.
CREATE TABLE sources (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    settings TEXT NOT NULL,
    interval_us BIGINT NOT NULL,
    grace_us BIGINT NOT NULL,
    enabled BIGINT NOT NULL,
    automatic BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT,
    scope TEXT NOT NULL,
    health TEXT NOT NULL,
    health_since BIGINT NOT NULL,
    health_message TEXT NOT NULL,
    last_started_at BIGINT,
    last_finished_at BIGINT,
    last_seen_count BIGINT,
    complete_at BIGINT,
    previous_complete_at BIGINT,
    alive_at BIGINT,
    last_seq BIGINT NOT NULL
);

-- A removed source keeps its row for the gaps it left; its name is free again.
CREATE UNIQUE INDEX sources_name ON sources (name) WHERE removed_at IS NULL;

-- Which source knows which device; decides who must miss it before it is absent.
CREATE TABLE device_sources (
    device INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    source TEXT NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    seen_at BIGINT NOT NULL,
    held_until BIGINT,
    PRIMARY KEY (device, source)
);

-- Stretches in which a source could not see. Shown as gaps, never as departures.
-- before_at: when the last but one complete scan before the gap started.
CREATE TABLE source_gaps (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
    from_at BIGINT NOT NULL,
    until_at BIGINT,
    before_at BIGINT,
    reason TEXT NOT NULL,
    message TEXT NOT NULL
);

CREATE INDEX source_gaps_source ON source_gaps (source, from_at);
CREATE INDEX source_gaps_until ON source_gaps (until_at, from_at);

-- certain = 0: the event was noticed at `at`, and happened some time before.
CREATE TABLE presence_events (
    seq BIGINT PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    recorded_at BIGINT NOT NULL,
    type TEXT NOT NULL,
    ip TEXT,
    info TEXT NOT NULL,
    certain BIGINT NOT NULL
);

CREATE INDEX presence_events_at ON presence_events (at, seq);
CREATE INDEX presence_events_device ON presence_events (device, at, seq);
CREATE INDEX presence_events_type ON presence_events (type, at, seq);

-- start_type, end_type: the events' names; end_type is NULL while open.
-- started_at, ended_at: NULL where the boundary is missing (or, for ended_at, while open).
-- from_at, until_at: where the session lies for ordering and overlap; never missing. An open
-- session's until_at is the largest BIGINT.
CREATE TABLE presence_sessions (
    id TEXT PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES devices (number) ON DELETE CASCADE,
    started_at BIGINT,
    ended_at BIGINT,
    from_at BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    start_type TEXT NOT NULL,
    end_type TEXT,
    ip TEXT,
    info TEXT NOT NULL,
    open BIGINT NOT NULL,
    manual BIGINT NOT NULL,
    -- The events that made its boundaries.
    opening_seq BIGINT,
    closing_seq BIGINT
);

CREATE UNIQUE INDEX presence_sessions_open ON presence_sessions (device) WHERE open = 1;
CREATE INDEX presence_sessions_from ON presence_sessions (from_at, id);
CREATE INDEX presence_sessions_until ON presence_sessions (until_at, from_at, id);
CREATE INDEX presence_sessions_device ON presence_sessions (device, from_at, id);
CREATE INDEX presence_sessions_device_until ON presence_sessions (device, until_at, from_at);
CREATE INDEX presence_sessions_missing ON presence_sessions (from_at, id)
WHERE started_at IS NULL OR (ended_at IS NULL AND open = 0);
CREATE INDEX presence_sessions_device_missing ON presence_sessions (device, from_at, id)
WHERE started_at IS NULL OR (ended_at IS NULL AND open = 0);

-- How many devices were in which state; one row a minute at most.
CREATE TABLE presence_counts (
    at BIGINT PRIMARY KEY,
    online BIGINT NOT NULL,
    sleeping BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    down BIGINT NOT NULL,
    offline BIGINT NOT NULL
);
