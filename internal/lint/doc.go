// Package lint holds the rules of this repository as Go tests: which package
// may import which, what may not be called where, how long a file may grow,
// what has to be documented, and that the documents about the code still point
// at code that exists.
//
// A rule is a function from parsed sources to findings. Each finding says what
// to do instead, and each rule is also run on a small bad example, so that a
// rule that stopped finding anything is noticed.
package lint
