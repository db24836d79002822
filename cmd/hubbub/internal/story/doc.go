// Package story plays the seed of this project with real clients against real
// providers and checks, at each step, that what must hold does hold.
//
// The story is a list of steps. A step acts, waits for what must follow, and
// records comparisons: what was compared, the value each side gave, whether
// they are equal. A report is therefore data; the transcript that people read
// and the JSON document are two prints of it, and neither can claim anything
// that was not compared.
package story
