-- Jobs of this renter. `state` is the versioned JSON of a job record.
CREATE TABLE jobs (
    id BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL
);

-- Leases, from the side of the renter, the provider, or both when a node rents from itself.
CREATE TABLE leases (
    role TEXT NOT NULL CHECK (role IN ('renter', 'provider')),
    id BLOB NOT NULL,
    state TEXT NOT NULL,
    over INTEGER NOT NULL,
    PRIMARY KEY (role, id)
);
CREATE INDEX open_leases ON leases (role) WHERE NOT over;

-- Signed transactions, in the order of their signing. Kept for ever: they prove what was sent.
CREATE TABLE transactions (
    hash BLOB PRIMARY KEY NOT NULL,
    entry TEXT NOT NULL
);

-- Small facts such as the offer's sequence number and remembered peers.
CREATE TABLE facts (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
