// Package devenv runs a whole federation on one machine: a directory with a
// throw-away CA, one configuration and data directory per provider, a
// supervisor that runs each provider as a child process of this binary, and a
// control socket through which other terminals stop, start and kill them.
//
// A child is started as `hubbub serve --config FILE`, exactly as an operator
// would: nothing in the provider knows that it is part of a development
// environment. What other terminals need to find their way is in one file,
// dev.json, at the top of the directory.
package devenv
