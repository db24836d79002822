// Package provider turns a Config into a running provider. It is the only place
// that wires the roles to each other, to the store and to the network.
//
// New opens the data directory, which locks it, loads the keys and binds the
// listeners, so that everything an operator can get wrong is an error before
// anything is served. Run serves until its context ends. There is one way up and
// one way down: after a kill the next start does nothing that it does not do after
// an orderly stop.
package provider
