-- What other providers left with this node as their watch-tower. `state` is the versioned JSON of one handover and whose it is.
CREATE TABLE watched_leases (
    lease BLOB NOT NULL PRIMARY KEY,
    state TEXT NOT NULL
);
