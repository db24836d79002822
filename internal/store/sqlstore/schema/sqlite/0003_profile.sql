-- +goose Up

-- profile_fields are what users say of themselves. source is the wire's number:
-- 1 the handle, 7 an OpenID Connect claim, 8 a vCard property.
CREATE TABLE profile_fields (
    user_uri   TEXT    NOT NULL REFERENCES users (uri),
    source     INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    searchable INTEGER NOT NULL, -- 0 off, 1 exact, 2 partial
    PRIMARY KEY (user_uri, source, name)
) STRICT, WITHOUT ROWID;
