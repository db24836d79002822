-- +goose Up

-- consents holds requests (decision = 0) and decisions (1), each once per scope.
-- An empty room is any room.
CREATE TABLE consents (
    requester TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    room      TEXT    NOT NULL,
    decision  INTEGER NOT NULL,
    state     INTEGER NOT NULL,
    serial    INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    out       BLOB, -- NULL: the other provider has it, or need not have it
    error     TEXT    NOT NULL,
    PRIMARY KEY (requester, target, room, decision)
) STRICT, WITHOUT ROWID;
CREATE INDEX consents_target ON consents (target);
CREATE INDEX consents_unsent ON consents (at) WHERE out IS NOT NULL;

-- granted_packages are KeyPackages of other providers' users, each for one use; a spent
-- one is kept without its body, so that a repeat does not bring it back.
CREATE TABLE granted_packages (
    ref       BLOB    NOT NULL PRIMARY KEY,
    requester TEXT    NOT NULL,
    target    TEXT    NOT NULL,
    room      TEXT    NOT NULL,
    client    TEXT    NOT NULL,
    not_after INTEGER NOT NULL,
    body      BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX granted_packages_pair ON granted_packages (requester, target);
