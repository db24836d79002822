// Package mlspeer drives MLS clients by JSON objects, one a line: a request in,
// an answer out. Drivers around other implementations speak the same, so one
// script can play groups in which several implementations meet.
//
// A request has id, cmd and the fields of its command; an answer has id, ok, ms
// and either results or error. Byte strings are base64. Messages are whole
// MLSMessages, KeyPackages included; Welcome, GroupInfo and KeyPackage are also
// taken bare. One process holds any number of named clients, each with any
// number of groups, named by their base64 group id.
//
// The caller plays a Delivery Service that never refuses: commits take effect
// at once, and nothing is stored. The package is a test instrument: it accepts
// every credential, and KeyPackages of any total lifetime.
package mlspeer
