-- What each side signed of the end of a lease. `state` is the versioned JSON of a record; kept for ever. `open` while
-- something is still to be done for it.
CREATE TABLE closing_records (
    role TEXT NOT NULL CHECK (role IN ('renter', 'provider')),
    lease BLOB NOT NULL,
    state TEXT NOT NULL,
    open INTEGER NOT NULL,
    PRIMARY KEY (role, lease)
);
CREATE INDEX open_records ON closing_records (role) WHERE open;
