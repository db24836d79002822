// Package failpoint names the places between two steps at which a process may
// die, so that tests can have it die exactly there.
//
// Without the build tag "failpoints" Hit is empty and costs nothing. With the
// tag the environment variable HUBBUB_FAILPOINT, of the form name:n, has the
// process kill itself with SIGKILL when it comes to such a place for the nth
// time: nothing is flushed, no deferred call runs, nobody is told. A place is an
// arrow and what it is about, such as "store.durable" or
// "fed.served /v1/notify/…"; a name stands for every place that begins with it,
// and several names are separated by bars.
package failpoint
