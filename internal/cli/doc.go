// Package cli is the command: one file a subcommand, the configuration that
// they share, and all that a person reads.
//
// It promises that bad input ends in one clear line on stderr and the exit
// code of its kind (exit.go), before anything was changed; that a value
// comes from the flag, else the environment, else the configuration file,
// else what was stored by login, else the default; that no credential is
// taken from the command line, where other users could read it; and that one
// process at a time works on a profile (profile.go).
//
// A mount is a session (session.go): it owns what the process opened, and
// closes it in the opposite order. Its only lock is that of the control
// socket, held over no call to another package.
//
// Limitations: Linux alone. A profile is bound to one service, for its names
// lead to that service's entities; another service needs another profile.
package cli
