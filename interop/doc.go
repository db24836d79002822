// Package interop plays MLS groups in which this repository's library and
// other implementations meet. README.md says how to run it and what was found.
package interop
