// Package killtest holds tests that end processes with SIGKILL at every step
// between two durable states, while clients post, and then read all logs: what
// was acknowledged is there once, at the place that was told, everywhere alike.
//
// The providers are real processes of the real binary, built with the tag
// failpoints (see package failpoint). `go test` runs some of the places, each
// provider dying several times; `make kill` runs all of them, more often.
//
// Beside them stands a test of the hub alone: the log that concurrent writers
// see, with lost outcomes and two hubs on one store, must be linearizable.
package killtest
