// Package simnet runs several providers and their clients in one process and
// lets a seed decide what goes wrong.
//
// Everything that decides is real: hub, follower, fanout, key material, room,
// the SQL store, and clients with MLS groups. What lies between them is not: a
// network on which each request and each answer waits until the simulator picks
// it, a store that refuses, loses or keeps a commit and says it does not know,
// and the clock, which is virtual. Providers crash at any of these points and
// come back on what their store holds.
//
// After every event all replicas are compared with the hub's log, octet for
// octet, and with what an independent replay of it gives. When the faults end,
// everything must come to rest, equal, within a bound. One seed is one run: the
// order of events depends on nothing else.
//
// The simulator consists of test files. How to run it and what it does not
// simulate is in docs/develop.md.
package simnet
